"""Reconcile the cells that several notebooks of a run measured: one of them speaks for a series on the front page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isclose

from inferbench_lib.findings import Interval, Ratio
from inferbench_lib.records import Case, Figure, Measurement, Run
from inferbench_lib.stats.comparison import input_s, unusable
from inferbench_lib.stats.processes import has_scatter, widened
from inferbench_lib.stats.series import round_medians
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.stats.verdict import between_runs, judge, unpaired_ratio

Runs = Mapping[str, Run]


@dataclass(frozen=True, kw_only=True)
class Again:
    """Cell that a second notebook measured too: both throughputs, and the speed of `other` over `used`.

    The `used` notebook measured most batch sizes of the series; of several such, the first of the report.
    """

    case: Case
    used: str
    other: str
    used_per_s: Interval
    other_per_s: Interval
    ratio: Ratio


def series_of(case: Case) -> Case:
    """Return what cells that differ in batch size alone have in common."""
    return replace(case, batch_size=0)


def speakers(runs: Runs) -> dict[Case, str]:
    """Return the notebook whose figure is used for each cell that several notebooks measured."""
    cells = {name: _usable(run) for name, run in runs.items()}
    sizes = Counter((name, series_of(case)) for name, of in cells.items() for case in of)
    found: dict[Case, str] = {}
    for case in dict.fromkeys(case for of in cells.values() for case in of):
        names = [name for name in runs if case in cells[name]]
        if len(names) > 1:
            found[case] = max(names, key=lambda name: sizes[name, series_of(case)])
    return found


def speaks_for(name: str, runs: Runs) -> list[str]:
    """List the notebooks whose figures are used for cells of this notebook."""
    spoken = speakers(runs)
    return sorted({spoken.get(case, name) for case in _usable(runs[name])} - {name})


def measured_again(runs: Runs) -> tuple[Again, ...]:
    """Compare each cell that several notebooks measured with the one that is used.

    The processes are others, at another time, so the rule is that of two runs.
    """
    cells = {name: _usable(run) for name, run in runs.items()}
    return tuple(
        _again(cells[used][case], cell, used, other)
        for case, used in speakers(runs).items()
        for other in runs
        if other != used and (cell := cells[other].get(case))
    )


def _usable(run: Run) -> dict[Case, Measurement]:
    """Return the cells with a result whose sample is one call, not a pass over many batches; of one case the first."""
    found: dict[Case, Measurement] = {}
    for cell in run.measurements:
        if cell.inputs_per_call == cell.case.batch_size and not unusable(cell):
            found.setdefault(cell.case, cell)
    return found


def _again(used_cell: Measurement, other_cell: Measurement, used: str, other: str) -> Again:
    pair = (used_cell, other_cell)
    first, second = (round_medians(cell.rounds()) for cell in pair)
    ratio = widened(unpaired_ratio(first, second), *pair)
    tolerance = between_runs("s", is_replicated=all(map(has_scatter, pair)))
    used_per_s, other_per_s = (summarize(cell).throughput_per_s for cell in pair)
    return Again(
        case=used_cell.case,
        used=used,
        other=other,
        used_per_s=used_per_s,
        other_per_s=other_per_s,
        ratio=judge(ratio, tolerance),
    )


def without_others(name: str, run: Run, runs: Runs) -> Run:
    """Return a notebook's run without the cells for which another notebook's figure is used."""
    spoken = speakers(runs)
    kept = tuple(cell for cell in run.measurements if spoken.get(cell.case, name) == name)
    return replace(run, measurements=kept)


def spoken_rate(name: str, figure: Figure, runs: Runs) -> Interval | None:
    """Return the throughput to show for a figure that repeats a cell for which another notebook's figure is used.

    It is that notebook's highest of the series; None for every other figure.
    """
    spoken, value = speakers(runs), figure.value
    if not isinstance(value, float | int) or not figure.unit.endswith("/s"):
        return None
    for case, cell in _usable(runs[name]).items():
        used = spoken.get(case, name)
        if used != name and isclose(value, 1 / input_s(cell), rel_tol=1e-9):
            alike = [one for at, one in _usable(runs[used]).items() if series_of(at) == series_of(case)]
            return max((summarize(one).throughput_per_s for one in alike), key=lambda rate: rate.value)
    return None
