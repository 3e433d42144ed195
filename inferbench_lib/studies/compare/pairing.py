"""Pair the cells and the figures of two runs: values, refusals, and their ratio at any level. No verdict yet."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import TypeVar

from inferbench_lib.findings import Interval, Ratio, Verdict
from inferbench_lib.records import Case, Figure, Measurement, Outcome, Run
from inferbench_lib.stats.comparison import unusable
from inferbench_lib.stats.intervals import highest_level
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.stats.verdict import ratio_of_figures, unpaired_ratio
from inferbench_lib.studies.compare.conditions import LIMITS

DISTURBED_SHARE = 1 / 3
"""A figure that rests on several cells is disturbed when more than this share of the notebook's cells is."""
OWN_DOING = frozenset({"oversubscribed"})
"""Flags about what was asked for, not about what disturbed it."""
CHOSEN = "inputs per call"
"""The unit of figures that are one of the measured batch sizes: they jump, and no interval of a ratio fits them."""

UNJUDGED = Ratio(value=math.nan, low=None, high=None, verdict=Verdict.TOO_FEW)

Key = tuple[str, Case]
Side = TypeVar("Side", Measurement, Run)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One cell or figure, in BASE and in HEAD; None where a run has no value.

    `ratio` is HEAD over BASE: of speeds where the unit is seconds, else of values; above 1 is faster, or higher. Its
    verdict is invalid where the two must not be compared. `deciding` is the wider interval that decided.
    """

    name: str
    unit: str
    base: float | str | None
    head: float | str | None
    is_cell: bool = False
    ratio: Ratio = UNJUDGED
    deciding: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A change before its verdict: `ratio_at` gives its ratio at a level, `disturbed` what struck BASE or HEAD.

    Without `ratio_at` the change has its verdict already: it is refused, or its values carry no interval.
    """

    change: Change
    ratio_at: Callable[[float], Interval] | None = None
    disturbed: Callable[[], str] = str


def pair_cells(base: Run, head: Run, *, same_machine: bool) -> dict[Key, Pair]:
    """Pair the cells that both runs have, in BASE's order."""
    return {key: _pair_of_cells(*cells, same_machine) for key, cells in _matching(base, head).items()}


def pair_figures(base: Run, head: Run, cells: Mapping[Key, Pair]) -> list[Pair]:
    """Pair the figures that both summaries have; one that repeats a cell's time or rate is compared as that cell is."""
    return [_pair_of_figures(name, base, head, cells) for name in base.summary if name in head.summary]


def missing(run: Run, other: Run) -> tuple[str, ...]:
    """List the cells and figures of `run` that `other` does not have."""
    there = _cells(other)
    cells = tuple(str(cell.case) for key, cell in _cells(run).items() if key not in there)
    return cells + tuple(name for name in run.summary if name not in other.summary)


def _matching(base: Run, head: Run) -> dict[Key, tuple[Measurement, Measurement]]:
    others = _cells(head)
    return {key: (cell, others[key]) for key, cell in _cells(base).items() if key in others}


def _cells(run: Run) -> dict[Key, Measurement]:
    """Return the cells that can be told from each other, each by as little as that takes.

    Threads are part of the key only where they must be, since another machine has another number of CPUs. So is the
    part of the notebook that a cell was measured in.
    """
    keys = [
        (("", replace(cell.case, n_threads=1)), ("", cell.case), (cell.notes.get("part", ""), cell.case))
        for cell in run.measurements
    ]
    counts = Counter(key for of in keys for key in set(of))
    unique = [next((key for key in of if counts[key] == 1), None) for of in keys]
    return {key: cell for key, cell in zip(unique, run.measurements, strict=True) if key is not None}


def _refused(change: Change, reason: str) -> Pair:
    return Pair(change=replace(change, ratio=replace(change.ratio, verdict=Verdict.INVALID, reason=reason)))


def _pair_of_cells(base: Measurement, head: Measurement, same_machine: bool) -> Pair:
    """Compare the seconds per call, by rounds; refuse wrong, failed or missing samples, other sizes or threads."""
    centres = [median(cell.samples_s) if cell.samples_s else None for cell in (base, head)]
    change = Change(name=str(base.case), unit="s", base=centres[0], head=centres[1], is_cell=True)
    for role, cell in (("BASE", base), ("HEAD", head)):
        if why := unusable(cell):
            return _refused(change, f"{role} {why}")
    if base.inputs_per_call != head.inputs_per_call:
        sizes = f"{base.inputs_per_call:,} inputs per call in BASE, {head.inputs_per_call:,} in HEAD"
        return _refused(change, f"another size: {sizes}")
    if same_machine and base.case.n_threads != head.case.n_threads:
        return _refused(change, f"threads: {base.case.n_threads} in BASE, {head.case.n_threads} in HEAD")
    return Pair(
        change=change,
        ratio_at=partial(_ratio_of_rounds, _round_medians(base), _round_medians(head)),
        disturbed=partial(_of_either, _disturbance, base, head),
    )


def _round_medians(cell: Measurement) -> list[float]:
    return [median(samples) for samples in cell.rounds() if samples]


def _ratio_of_rounds(base_s: list[float], head_s: list[float], level: float) -> Interval:
    """Return the ratio of speeds, at this level or at the highest that the rounds carry."""
    return unpaired_ratio(base_s, head_s, max(0.95, min(level, highest_level(len(base_s), len(head_s)))))


def _pair_of_figures(name: str, base: Run, head: Run, cells: Mapping[Key, Pair]) -> Pair:
    first, second = base.summary[name], head.summary[name]
    change = Change(name=name, unit=first.unit, base=first.value, head=second.value)
    if first.unit != second.unit:
        return _refused(change, f"in {first.unit} in BASE, in {second.unit} in HEAD")
    for role, figure in (("BASE", first), ("HEAD", second)):
        if figure.value is None:
            return _refused(change, f"{role} does not give it: {figure.verdict or 'no reason told'}")
    limits = [limit for limit in sorted(LIMITS) if base.params.get(limit) != head.params.get(limit)]
    if name.startswith("best_") and limits:
        return _refused(change, f"under other limits: {' and '.join(limits)}")
    for key, (cell, other) in _matching(base, head).items():
        if _repeats(first, cell) and _repeats(second, other):
            return replace(cells[key], change=replace(change, ratio=cells[key].change.ratio))
    if not (_has_interval(first) and _has_interval(second)) or first.unit == CHOSEN:
        return Pair(change=replace(change, ratio=_without_interval(first.value, second.value)))
    if not min(float(figure.value or 0.0) for figure in (first, second)) > 0:
        return _refused(change, "a value that is not above 0 has no ratio")
    return Pair(
        change=change,
        ratio_at=partial(ratio_of_figures, first, second),
        disturbed=partial(_of_either, _mostly_disturbed, base, head),
    )


def _repeats(figure: Figure, cell: Measurement) -> bool:
    """Return whether a figure only repeats what a cell says: its median seconds, or its inputs per second."""
    if not isinstance(figure.value, float | int) or not cell.samples_s:
        return False
    centre = median(cell.samples_s)
    value = centre if figure.unit == "s" else cell.inputs_per_call / centre if figure.unit.endswith("/s") else math.nan
    return math.isclose(figure.value, value, rel_tol=1e-9)


def _has_interval(figure: Figure) -> bool:
    return isinstance(figure.value, float | int) and figure.low is not None and figure.high is not None


def _without_interval(base: float | str | None, head: float | str | None) -> Ratio:
    """Return the ratio of values that carry no interval: only that they are equal can be told."""
    if base == head:
        return Ratio(value=1.0, low=None, high=None, verdict=Verdict.INDISTINGUISHABLE, reason="the same in both runs")
    are_numbers = isinstance(base, float | int) and isinstance(head, float | int) and base > 0 and head > 0
    value = float(head) / float(base) if are_numbers else math.nan  # type: ignore[arg-type]
    return Ratio(value=value, low=None, high=None, verdict=Verdict.TOO_FEW, reason="it carries no interval")


def _disturbance(cell: Measurement) -> str:
    """Return what struck a cell from outside, or that it drifted; empty when nothing was seen."""
    flags = [flag.text for flag in cell.flags if flag.name not in OWN_DOING]
    if flags:
        return flags[0]
    summary = summarize(cell)
    return summary.reason if summary.outcome is Outcome.UNSTABLE else ""


def _mostly_disturbed(run: Run) -> str:
    """Return what disturbed more than `DISTURBED_SHARE` of a run's cells; empty when nothing did."""
    usable = [cell for cell in run.measurements if not unusable(cell)]
    struck = [why for cell in usable if (why := _disturbance(cell))]
    if len(struck) <= DISTURBED_SHARE * len(usable):
        return ""
    return f"{len(struck)} of {len(usable)} cells were disturbed; one of them: {struck[0]}"


def _of_either(told: Callable[[Side], str], base: Side, head: Side) -> str:
    return next((f"{role}: {why}" for role, side in (("BASE", base), ("HEAD", head)) if (why := told(side))), "")
