"""Predicted changes beside measured ones, and the growth of time with the size of the input."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from inferbench_lib.report.display import Table, View
from inferbench_lib.report.words import capital, digits, interval, joined, ratio, seconds, share, size, times
from inferbench_lib.stats.entries import columns
from inferbench_lib.studies.hardware_analysis import figures as drawing
from inferbench_lib.studies.hardware_analysis.page_bounds import short, spread, workload
from inferbench_lib.studies.hardware_analysis.study import Growth, HardwareStudy
from inferbench_lib.studies.hardware_analysis.whatif import TOLERANCE, Check, WhatIf, worst

UNBROKEN = "\N{NO-BREAK SPACE}"
MISFIT = 0.15
"""Above this a power law does not describe the times."""
UNITS = {
    "image side": "pixels of an image's side",
    "features": "features per row",
    "trees": "trees",
    "depth": "levels of a tree",
}


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
    furthest = worst(said.what_ifs)
    if furthest and furthest.measured:
        missed = joined(f"{_named(one)} ({_error(one)})" for one in said.what_ifs if one.check is Check.MISSED)
        text += (
            f" Missed: {missed}. The furthest off predicted {times(furthest.predicted)}; "
            f"{ratio(furthest.measured)} was measured. There the share of the limit changed, which the model keeps "
            "constant: trust the measured gain."
        )
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
    new_nodes = "".join(
        f" 16 rows of {workload(name)} touch {round(cost.new_nodes):,} nodes beyond those of the first row. Each "
        f"counts as a load from the whole forest, {size(cost.forest_bytes)}."
        for name, cost in said.forest_costs.items()
        if cost.new_nodes
    )
    legend = "b is the batch (images, or rows of the forest), t the threads. A gain is in inputs per second."
    return Table(frame=pd.DataFrame(rows), reading=legend + new_nodes)


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
        f"points are up to {share(fit.misfit)} off, so no single power describes them"
        if fit.misfit > MISFIT
        else f"every point is within {share(fit.misfit)} of that line"
    )
    return (
        f"{capital(workload(one.workload))}, {one.rows[0]['value']} to {one.rows[-1]['value']} {UNITS[one.input]}: "
        f"time grows {times(one.seconds[-1].value / one.seconds[0].value)}, as the size to the power "
        f"{digits(power.value)} ({interval(power.low, power.high)}); {misfit}."
    )


def growth_table(said: HardwareStudy) -> Table:
    """Return every input size with its bytes, type and time."""
    rows = [
        {
            "input": _input(one),
            "value": str(row["value"]),
            "bytes in": size(row["bytes"]),
            "dtype": row["dtype"],
            "time": seconds(taken.value),
            "95 %": spread(taken),
            "fitted": seconds(one.fit.seconds(row["value"])),
        }
        for one in said.growths
        for row, taken in zip(one.rows, one.seconds, strict=True)
    ]
    return Table(frame=pd.DataFrame(rows))
