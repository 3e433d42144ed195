"""What would change a time: predictions, and the model's error wherever this machine could do both sides."""

from __future__ import annotations

import pandas as pd

from inferbench_lib.report.display import Table, View
from inferbench_lib.report.words import joined, ratio, share, size, times
from inferbench_lib.studies.hardware_analysis import figures as hardware_figures
from inferbench_lib.studies.hardware_analysis.forest_limits import ForestCost
from inferbench_lib.studies.hardware_analysis.page_standing import workload
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy
from inferbench_lib.studies.hardware_analysis.whatif import WITHIN, WhatIf, worst

UNBROKEN = "\N{NO-BREAK SPACE}"
MISSED = (
    "the model keeps each layer's share of its roof, and that share changed; take these predictions as rough, and the "
    "measured gains as they are"
)


def what_ifs(said: HardwareStudy) -> View:
    """What would change it, by how much, and how far off is the model?"""
    found = said.standing.what_ifs
    rows = [
        {
            "label": f"{one.workload.removeprefix('cnn-')}, {one.before}: {one.change.replace(' ', UNBROKEN)}",
            "predicted": one.predicted,
            "value": one.measured.value if one.measured and one.is_checked else None,
            "low": one.measured.low if one.measured and one.is_checked else None,
            "high": one.measured.high if one.measured and one.is_checked else None,
        }
        for one in found
        if one.is_checked
    ]
    columns = ["label", "predicted", "value", "low", "high"]
    frame = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[1:], float))
    frame.attrs = {"x": "gain in inputs per second (×)", "within": WITHIN}
    reading = what_if_reading(said)
    return View(name="what_ifs", frame=frame, draw=hardware_figures.predictions,
                alt=f"Predicted gains beside measured ones. {reading}", reading=reading,
                size_inches=(7.4, 2.0 + 0.44 * max(4, len(rows))))  # fmt: skip


def what_if_reading(said: HardwareStudy) -> str:
    """How many checkable predictions came close enough, which did not and by how much, and the largest other gain."""
    checked = [one for one in said.standing.what_ifs if one.is_checked]
    if not checked:
        return "No prediction could be checked in this run."
    right, undecided = [one for one in checked if one.is_within], [one for one in checked if one.is_undecided]
    near = f"within {100 * WITHIN:.0f} % of what was then measured"
    text = f"{len(right)} of {len(checked)} checkable predictions lie {near}"
    if undecided:
        text += f", {len(undecided)} only of an end of its measured interval, which decides nothing"
    text += "."
    if furthest := worst(checked):
        missed = [one for one in checked if not one.is_within and not one.is_undecided]
        assert furthest.measured is not None
        text += (
            f" Not so: {joined(f'{_spoken(one)} ({_error(one)})' for one in missed)}; the furthest off predicted "
            f"{times(furthest.predicted)} where {ratio(furthest.measured)} was measured; {MISSED}."
        )
    others = [one for one in said.standing.what_ifs if not one.is_checked]
    if others:
        most = max(others, key=lambda one: one.predicted)
        text += (
            f" Of what cannot be tried here, the most would come from {_spoken(most)}: MODEL, {times(most.predicted)}."
        )
    return text


def what_if_table(said: HardwareStudy) -> Table:
    """Every change with its predicted gain, the measured one and the model's error."""
    rows = [
        {
            "workload": f"{workload(one.workload).removeprefix('the ')}, {one.before}",
            "change": one.change,
            "predicted gain": times(one.predicted),
            "measured gain": ratio(one.measured) if one.measured and one.is_checked else "–",
            "error of the model": _error(one),
            "verdict": one.verdict,
        }
        for one in said.standing.what_ifs
    ]
    return Table(
        frame=pd.DataFrame(rows),
        reading="b is the batch (images, or rows of the forest), t the threads. A gain is in inputs per second."
        + _new_nodes(said.standing.forest_cost),
    )


def _new_nodes(cost: ForestCost | None) -> str:
    if cost is None or not cost.new_nodes:
        return ""
    return (
        f" 16 rows of the forest touch {round(cost.new_nodes):,} nodes that the first of them did not, and each is "
        f"counted as a load out of the whole forest, {size(cost.forest_bytes)}."
    )


def _spoken(one: WhatIf) -> str:
    return f"{workload(one.workload).removeprefix('the ')}, {one.before}: {one.change}"


def _error(one: WhatIf) -> str:
    return "–" if one.error is None else f"{'+' if one.error > 0 else ''}{share(one.error)}"
