"""Figures and tables of where time goes: a network's layers, a forest's rows, what would change it, how it grows."""

from __future__ import annotations

import math
from collections import Counter

import pandas as pd

from inferbench_lib.report.display import Table, View
from inferbench_lib.report.words import capital, digits, interval, joined, ratio, seconds, share, size, times
from inferbench_lib.stats.entries import columns
from inferbench_lib.studies.hardware_analysis import figures as drawing
from inferbench_lib.studies.hardware_analysis.bounds import LayerProfile
from inferbench_lib.studies.hardware_analysis.page_bounds import WORDS, named, short, shown_profiles, spread, workload
from inferbench_lib.studies.hardware_analysis.study import Growth, HardwareStudy
from inferbench_lib.studies.hardware_analysis.whatif import TOLERANCE, Check, WhatIf

NO_LAYERS = "The layers were not measured in this run."
UNBROKEN = "\N{NO-BREAK SPACE}"
MISFIT = 0.15
"""Above this a power law does not describe the times."""
UNITS = {
    "image side": "pixels of an image's side",
    "features": "features per row",
    "trees": "trees",
    "depth": "levels of a tree",
}


def layer_times(said: HardwareStudy) -> View:
    """Draw the time of each layer of a network beside the least that the hardware allows."""
    profiles = shown_profiles(said)[:1]
    frame = pd.DataFrame(
        {
            "label": layer.name,
            **columns(layer.seconds, 1e-3),
            "roof": 1e3 * layer.roof.seconds,
            "bound": WORDS[layer.bound].limit,
        }
        for profile in profiles
        for layer in profile.layers
    )
    frame.attrs = {"x": "milliseconds per layer, run by itself; black: the least that the hardware allows"}
    return View(name="layer_times", frame=frame, draw=drawing.times_and_roofs,
                alt="Time of each layer beside the least that the hardware allows.",
                reading=" ".join(map(_layer_reading, profiles)) or NO_LAYERS, size_inches=(7.4, 4.8))  # fmt: skip


def _layer_reading(profile: LayerProfile) -> str:
    longest = max(profile.layers, key=lambda layer: layer.seconds.value)
    lost = max(profile.layers, key=lambda layer: layer.seconds.value - layer.roof.seconds)
    lost_s = max(0.0, lost.seconds.value - lost.roof.seconds)
    too_low = f" The limits of {joined(profile.above_roof)} were measured too low, on a busier machine: measure again."
    return (
        f"{capital(named(profile))}: {longest.name} takes the longest, {seconds(longest.seconds.value)}. The most time "
        f"is lost in {lost.name}: {seconds(lost_s)} above the hardware's limit. The layers, each by itself, add up to "
        f"{times(profile.sum_s / profile.whole.value)} the time of the whole network. At their limits they would take "
        f"{seconds(profile.roof_s)} instead of {seconds(profile.sum_s)}." + (too_low if profile.above_roof else "")
    )


def layer_table(said: HardwareStudy) -> Table:
    """Return every layer of every network at its largest batch on most threads; the page's data hold the others."""
    largest = {p.name: p for p in sorted(said.profiles, key=lambda p: (p.case.batch_size, p.case.n_threads))}
    rows = [
        {
            "network": f"{short(profile.name)}, b{profile.case.batch_size},t{profile.case.n_threads}",
            "layer": layer.name,
            "output": "×".join(map(str, layer.shape)),
            "time": seconds(taken_s),
            "95 %": spread(layer.seconds),
            "of the sum": share(taken_s / profile.sum_s),
            "MFLOP": digits(layer.work.flops / 1e6),
            "bytes": size(layer.work.bytes),
            "GFLOP/s": digits(layer.work.flops / taken_s / 1e9) if layer.work.flops else "–",
            "GB/s": digits(layer.work.bytes / taken_s / 1e9),
            "of attainable": share(layer.share),
            "bound": layer.bound,
        }
        for profile in largest.values()
        for layer in profile.layers
        if (taken_s := layer.seconds.value)
    ]
    sums = [f"{capital(named(p))}: sum {seconds(p.sum_s)}, whole {seconds(p.whole.value)}." for p in said.profiles]
    return Table(frame=pd.DataFrame(rows), reading=" ".join(sums) or NO_LAYERS, notes=said.not_measured)


def forest_table(said: HardwareStudy) -> Table:
    """Return every configuration of the forest with each limit's share of its time."""
    rows = [
        {
            "rows": f"{point.case.batch_size:,}",
            "threads": str(point.case.n_threads),
            "time": seconds(point.seconds),
            "node visits": f"{point.work.flops:,.0f}",
            "bytes touched": size(point.work.bytes),
            "nodes in": point.roof.level,
            **{words.limit: share(floors_s[kind] / point.seconds) for kind, words in WORDS.items() if kind in floors_s},
            "bound": point.bound,
        }
        for point in said.forests
        if (floors_s := point.roof.floors_s)
    ]
    reading = " ".join(
        f"{capital(workload(name))}: a row visits {digits(cost.visits)} nodes of {digits(cost.node_bytes)} bytes; "
        f"a tree takes {size(cost.tree_bytes)}. A call costs {seconds(cost.call_s)} plus {seconds(cost.row_s)} per row "
        f"on one thread, {seconds(cost.visit_s)} per visit."
        for name, cost in said.forest_costs.items()
    )
    return Table(frame=pd.DataFrame(rows).fillna("–"),
                 reading=reading or "The forest's node visits were not measured in this run.")  # fmt: skip


def what_ifs(said: HardwareStudy) -> View:
    """Draw the predicted gains beside the measured ones."""
    frame = pd.DataFrame(
        {
            "label": f"{short(one.workload)}, {one.before}: {one.change.replace(' ', UNBROKEN)}",
            "predicted": one.predicted,
            **columns(one.measured),
        }
        for one in said.what_ifs
        if one.measured and one.check is not Check.UNCHECKED
    )
    frame.attrs = {"x": "gain in inputs per second (×)", "within": TOLERANCE}
    return View(name="what_ifs", frame=frame, draw=drawing.predictions, alt="Predicted gains beside measured ones.",
                reading=_what_if_reading(said), size_inches=(7.4, 2.0 + 0.44 * max(4, len(frame))))  # fmt: skip


def _what_if_reading(said: HardwareStudy) -> str:
    counts = Counter(one.check for one in said.what_ifs)
    n_checked = len(said.what_ifs) - counts[Check.UNCHECKED]
    if not n_checked:
        return "No prediction could be checked in this run."
    n_open = counts[Check.INCONCLUSIVE]
    text = f"{counts[Check.WITHIN]} of {n_checked} predictions are within {share(TOLERANCE)} of the measured gain"
    text += f"; {n_open} inconclusive: the measured interval is too wide." if n_open else "."
    if missed := [f"{_named(one)} ({_error(one)})" for one in said.what_ifs if one.check is Check.MISSED]:
        text += f" Missed: {joined(missed)}. There the share of the limit changed, which the model keeps constant: "
        text += "trust the measured gain."
    others = [one for one in said.what_ifs if one.check is Check.UNCHECKED]
    if most := max(others, key=lambda one: one.predicted, default=None):
        text += f" The largest gain that this machine cannot try: {_named(most)}, {times(most.predicted)} (MODEL)."
    return text


def what_if_table(said: HardwareStudy) -> Table:
    """Return every change with its predicted gain, the measured one and the model's error."""
    rows = [
        {
            "workload": f"{short(one.workload)}, {one.before}",
            "change": one.change,
            "predicted gain": times(one.predicted),
            "measured gain": ratio(one.measured) if one.measured and one.error is not None else "–",
            "error of the model": _error(one),
            "verdict": one.verdict,
        }
        for one in said.what_ifs
    ]
    legend = "b is the batch (images, or rows of the forest), t the threads. A gain is in inputs per second."
    return Table(frame=pd.DataFrame(rows), reading=legend)


def _named(one: WhatIf) -> str:
    return f"{short(one.workload)}, {one.before}: {one.change}"


def _error(one: WhatIf) -> str:
    return "–" if one.error is None else f"{'+' if one.error > 0 else ''}{share(one.error)}"


def growth(said: HardwareStudy) -> View:
    """Draw time against the size of the input, with the fitted power of each."""
    frame = pd.DataFrame(
        {
            "label": f"{_input(one)}: power {digits(one.fit.exponent.value)}",
            "x": row["value"] / one.rows[0]["value"],
            **columns(taken, one.seconds[0].value),
            "fit": one.fit.seconds(row["value"]) / one.seconds[0].value,
        }
        for one in said.growths
        for row, taken in zip(one.rows, one.seconds, strict=True)
    )
    frame.attrs = {"x": "size over the smallest", "y": "time over that of the smallest"}
    reading = " ".join(map(_growth_reading, said.growths))
    return View(name="growth", frame=frame, draw=drawing.growth,
                alt="Time by the size of the input, each over its smallest, with the fitted lines.",
                reading=reading or "Growth with the size of the input was not measured in this run.",
                size_inches=(7.4, 4.6))  # fmt: skip


def _input(one: Growth) -> str:
    return f"{one.input} ({short(one.workload)})"


def _growth_reading(one: Growth) -> str:
    fit, power = one.fit, one.fit.exponent
    misfit = (
        f"points are up to {at_most(fit.misfit)} off, so no single power describes them"
        if fit.misfit > MISFIT
        else f"every point is within {at_most(fit.misfit)} of that line"
    )
    return (
        f"{capital(workload(one.workload))}, {one.rows[0]['value']} to {one.rows[-1]['value']} {UNITS[one.input]}: "
        f"time grows {times(one.seconds[-1].value / one.seconds[0].value)}, as the size to the power "
        f"{digits(power.value)} ({interval(power.low, power.high)}); {misfit}."
    )


def at_most(value: float) -> str:
    """Return a share as a bound that it does not exceed: 10.47 % is within 11 %, not 10 %."""
    return f"{math.ceil(100 * value)} %"


def growth_table(said: HardwareStudy) -> Table:
    """Return every input size with its bytes, type and time."""
    rows = [
        {
            "input": _input(one),
            "value": str(row["value"]),
            "bytes in": size(row["bytes"]),
            "time": seconds(taken.value),
            "95 %": spread(taken),
            "fitted": seconds(one.fit.seconds(row["value"])),
        }
        for one in said.growths
        for row, taken in zip(one.rows, one.seconds, strict=True)
    ]
    return Table(frame=pd.DataFrame(rows))
