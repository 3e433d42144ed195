"""The data profile: how time grows with the size of the input, and what goes in."""

from __future__ import annotations

import pandas as pd

from inferbench_lib.report.display import Table, View
from inferbench_lib.report.words import capital, digits, interval, seconds, share, size, times
from inferbench_lib.studies.hardware_analysis import figures as hardware_figures
from inferbench_lib.studies.hardware_analysis.data_profile import Growth
from inferbench_lib.studies.hardware_analysis.page_standing import workload
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy

MISFIT = 0.15
"""Above this a power law does not describe the times."""
UNITS = {
    "image side": "pixels of an image's side",
    "features": "features of a row",
    "trees": "trees",
    "depth": "levels that trees may reach",
}


def growth(said: HardwareStudy) -> View:
    """How does time grow with the size of the input?"""
    found = said.standing.growths
    rows = [
        {
            "label": f"{_named(one)}: power {digits(one.exponent.value)}",
            "x": point.value / one.points[0].value,
            "y": point.seconds.value / one.points[0].seconds.value,
            "low": None if point.seconds.low is None else point.seconds.low / one.points[0].seconds.value,
            "high": None if point.seconds.high is None else point.seconds.high / one.points[0].seconds.value,
            "fit": one.seconds_at(point.value) / one.points[0].seconds.value,
        }
        for one in found
        for point in one.points
    ]
    columns = ["label", "x", "y", "low", "high", "fit"]
    frame = pd.DataFrame(rows, columns=columns).astype({"low": float, "high": float})
    frame.attrs = {"x": "size, the smallest measured being 1", "y": "time, that of the smallest being 1"}
    reading = " ".join(map(_reading, found)) or "Growth with the size of the input was not measured in this run."
    return View(name="growth", frame=frame, draw=hardware_figures.growth,
                alt=f"Time by the size of the input, each over its smallest, with the fitted lines. {reading}",
                reading=reading, size_inches=(7.4, 4.6))  # fmt: skip


def _named(one: Growth) -> str:
    return f"{one.input} ({workload(one.workload).removeprefix('the ')})"


def _reading(one: Growth) -> str:
    first, last = one.points[0], one.points[-1]
    grown = last.seconds.value / first.seconds.value
    text = (
        f"{capital(workload(one.workload))}: from {first.value} to {last.value} {UNITS[one.input]} its time grows "
        f"{times(grown)}, as the size to the power {digits(one.exponent.value)} "
        f"({interval(one.exponent.low, one.exponent.high)})"
    )
    if one.misfit > MISFIT:
        return f"{text}; points lie up to {share(one.misfit)} off that line, so that it is no plain power of the size."
    return f"{text}; every point lies within {share(one.misfit)} of that line."


def growth_table(said: HardwareStudy) -> Table:
    """Every input size: bytes, dtype, time."""
    rows = [
        {
            "input": _named(one),
            "value": str(point.value),
            "bytes in": size(point.bytes),
            "dtype": point.dtype,
            "time": seconds(point.seconds.value),
            "95 %": "–" if point.seconds.low is None else interval(point.seconds.low, point.seconds.high, seconds),
            "fitted": seconds(one.seconds_at(point.value)),
        }
        for one in said.standing.growths
        for point in one.points
    ]
    return Table(frame=pd.DataFrame(rows))
