"""Predicted changes beside measured ones, and the growth of time with the size of the input."""

from __future__ import annotations

import pandas as pd

from inferbench_lib.report.display import Table, View
from inferbench_lib.report.words import capital, digits, interval, joined, ratio, seconds, share, size, times
from inferbench_lib.studies.hardware_analysis import figures as drawing
from inferbench_lib.studies.hardware_analysis.growth import Growth
from inferbench_lib.studies.hardware_analysis.page_bounds import short, workload
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy
from inferbench_lib.studies.hardware_analysis.whatif import WITHIN, WhatIf, worst

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
    rows = [
        {
            "label": f"{short(one.workload)}, {one.before}: {one.change.replace(' ', UNBROKEN)}",
            "predicted": one.predicted,
            "value": one.measured.value,
            "low": one.measured.low,
            "high": one.measured.high,
        }
        for one in said.what_ifs
        if one.is_checked and one.measured
    ]
    columns = ["label", "predicted", "value", "low", "high"]
    frame = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[1:], float))
    frame.attrs = {"x": "gain in inputs per second (×)", "within": WITHIN}
    return View(name="what_ifs", frame=frame, draw=drawing.predictions, alt="Predicted gains beside measured ones.",
                reading=_what_if_reading(said), size_inches=(7.4, 2.0 + 0.44 * max(4, len(rows))))  # fmt: skip


def _what_if_reading(said: HardwareStudy) -> str:
    checked = [one for one in said.what_ifs if one.is_checked]
    if not checked:
        return "No prediction could be checked in this run."
    n_right, n_open = sum(one.is_within for one in checked), sum(one.is_inconclusive for one in checked)
    text = f"{n_right} of {len(checked)} checked predictions are within {100 * WITHIN:.0f} % of the measured gain"
    text += f"; {n_open} inconclusive: the measured interval is too wide." if n_open else "."
    if furthest := worst(checked):
        assert furthest.measured is not None
        missed = joined(f"{_named(one)} ({_error(one)})" for one in checked if one.is_missed)
        text += (
            f" Missed: {missed}. The furthest off predicted {times(furthest.predicted)}; "
            f"{ratio(furthest.measured)} was measured. There the share of the limit changed, which the model keeps "
            "constant: trust the measured gain."
        )
    others = [one for one in said.what_ifs if not one.is_checked]
    if others:
        most = max(others, key=lambda one: one.predicted)
        text += f" The largest gain that this machine cannot try: {_named(most)}, {times(most.predicted)} (MODEL)."
    return text


def what_if_table(said: HardwareStudy) -> Table:
    """Return every change with its predicted gain, the measured one and the model's error."""
    rows = [
        {
            "workload": f"{short(one.workload)}, {one.before}",
            "change": one.change,
            "predicted gain": times(one.predicted),
            "measured gain": ratio(one.measured) if one.measured and one.is_checked else "–",
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
    rows = [
        {
            "label": f"{_input(one)}: power {digits(one.exponent.value)}",
            "x": point.value / first.value,
            "y": point.seconds.value / first.seconds.value,
            "low": None if point.seconds.low is None else point.seconds.low / first.seconds.value,
            "high": None if point.seconds.high is None else point.seconds.high / first.seconds.value,
            "fit": one.seconds_at(point.value) / first.seconds.value,
        }
        for one in said.growths
        for first in one.points[:1]
        for point in one.points
    ]
    columns = ["label", "x", "y", "low", "high", "fit"]
    frame = pd.DataFrame(rows, columns=columns).astype({"low": float, "high": float})
    frame.attrs = {"x": "size over the smallest", "y": "time over that of the smallest"}
    reading = " ".join(map(_growth_reading, said.growths))
    return View(name="growth", frame=frame, draw=drawing.growth,
                alt="Time by the size of the input, each over its smallest, with the fitted lines.",
                reading=reading or "Growth with the size of the input was not measured in this run.",
                size_inches=(7.4, 4.6))  # fmt: skip


def _input(one: Growth) -> str:
    return f"{one.input} ({short(one.workload)})"


def _growth_reading(one: Growth) -> str:
    first, last, power = one.points[0], one.points[-1], one.exponent
    fits = f"points are up to {share(one.misfit)} off, so no single power describes them"
    return (
        f"{capital(workload(one.workload))}, {first.value} to {last.value} {UNITS[one.input]}: time grows "
        f"{times(last.seconds.value / first.seconds.value)}, as the size to the power {digits(power.value)} "
        f"({interval(power.low, power.high)}); "
        + (fits if one.misfit > MISFIT else f"every point is within {share(one.misfit)} of that line")
        + "."
    )


def growth_table(said: HardwareStudy) -> Table:
    """Return every input size with its bytes, type and time."""
    rows = [
        {
            "input": _input(one),
            "value": str(point.value),
            "bytes in": size(point.bytes),
            "dtype": point.dtype,
            "time": seconds(point.seconds.value),
            "95 %": "–" if point.seconds.low is None else interval(point.seconds.low, point.seconds.high, seconds),
            "fitted": seconds(one.seconds_at(point.value)),
        }
        for one in said.growths
        for point in one.points
    ]
    return Table(frame=pd.DataFrame(rows))
