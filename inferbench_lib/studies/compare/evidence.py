"""What two runs hold on one cell or one figure, before any verdict: values, refusals, and how to compare them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import TypeVar

from inferbench_lib.records import Case, Figure, Interval, Measurement, Outcome, Run
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.stats.unpaired import highest_level, ratio_interval, ratio_of_intervals
from inferbench_lib.studies.compare.differences import LIMITS

DISTURBED_SHARE = 1 / 3
"""A figure that rests on several cells counts as disturbed when more than this share of the notebook's cells was."""
OWN_DOING = frozenset({"oversubscribed"})
"""Flags about what was asked for, not about what disturbed it."""
CHOSEN = "inputs per call"
"""The unit of figures that are one of the measured batch sizes: they jump, and no interval of a ratio fits them."""

Key = tuple[str, Case]
Cells = tuple[Measurement, Measurement]
Side = TypeVar("Side", Measurement, Run)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One cell or figure, in BASE and in HEAD; None where a run has no value.

    `estimate` gives the interval of the ratio HEAD over BASE at a level: of speeds where the unit is seconds, else of
    values; there is none where it is `refused`, or where values carry no interval. `disturbed` says what struck either.
    """

    name: str
    unit: str
    base: float | str | None
    head: float | str | None
    refused: str = ""
    estimate: Callable[[float], Interval] | None = None
    disturbed: Callable[[], str] = str
    is_cell: bool = False


def pairs(base: Run, head: Run) -> dict[Key, Cells]:
    """The cells that both runs have, in BASE's order."""
    others = _cells(head)
    return {key: (cell, others[key]) for key, cell in _cells(base).items() if key in others}


def missing(run: Run, other: Run) -> tuple[str, ...]:
    """The cells and figures of `run` that `other` has not."""
    there = _cells(other)
    cells = tuple(str(cell.case) for key, cell in _cells(run).items() if key not in there)
    return cells + tuple(name for name in run.summary if name not in other.summary)


def _cells(run: Run) -> dict[Key, Measurement]:
    """The cells that can be told apart, each by the least that tells it from the others of its run.

    Threads are told only where they must be, since another machine has another number of CPUs; so is the part of the
    notebook that it was measured in.
    """
    keys = [
        (("", replace(cell.case, n_threads=1)), ("", cell.case), (cell.notes.get("part", ""), cell.case))
        for cell in run.measurements
    ]
    counts = Counter(key for of in keys for key in set(of))
    told = [next((key for key in of if counts[key] == 1), None) for of in keys]
    return {key: cell for key, cell in zip(told, run.measurements, strict=True) if key is not None}


def of_cells(base: Measurement, head: Measurement, same_machine: bool) -> Evidence:
    """The seconds of a call, by rounds. Refused: wrong, failed or missing samples, other sizes, other threads."""
    centres = [median(cell.samples_s) if cell.samples_s else None for cell in (base, head)]
    evidence = Evidence(name=str(base.case), unit="s", base=centres[0], head=centres[1], is_cell=True)
    for role, cell in (("BASE", base), ("HEAD", head)):
        if why := unusable(cell):
            return replace(evidence, refused=f"{role} {why}")
    if base.inputs_per_call != head.inputs_per_call:
        sizes = f"{base.inputs_per_call:,} inputs a call in BASE, {head.inputs_per_call:,} in HEAD"
        return replace(evidence, refused=f"another size: {sizes}")
    if same_machine and base.case.n_threads != head.case.n_threads:
        return replace(evidence, refused=f"threads: {base.case.n_threads} in BASE, {head.case.n_threads} in HEAD")
    return replace(
        evidence,
        estimate=partial(_by_rounds, _round_medians(base), _round_medians(head)),
        disturbed=partial(_either, disturbance, base, head),
    )


def of_figures(name: str, base: Run, head: Run, cells: Mapping[Key, Evidence]) -> Evidence:
    """One entry of the summaries. What only says a cell's time or rate again is compared as that cell is."""
    first, second = base.summary[name], head.summary[name]
    evidence = Evidence(name=name, unit=first.unit, base=first.value, head=second.value)
    if first.unit != second.unit:
        return replace(evidence, refused=f"in {first.unit} in BASE, in {second.unit} in HEAD")
    for role, figure in (("BASE", first), ("HEAD", second)):
        if figure.value is None:
            return replace(evidence, refused=f"{role} does not give it: {figure.verdict or 'no reason told'}")
    limits = [limit for limit in sorted(LIMITS) if base.params.get(limit) != head.params.get(limit)]
    if name.startswith("best_") and limits:
        return replace(evidence, refused=f"under other limits: {' and '.join(limits)}")
    for key, (cell, other) in pairs(base, head).items():
        if key in cells and _says(first, cell) and _says(second, other):
            return replace(cells[key], name=name, unit=first.unit, base=first.value, head=second.value, is_cell=False)
    numerator, denominator = map(_interval, (first, second) if first.unit == "s" else (second, first))
    if numerator is None or denominator is None or first.unit == CHOSEN:
        return evidence
    if not min(numerator.value, denominator.value) > 0:
        return replace(evidence, refused="a value that is not above 0 has no ratio")
    return replace(
        evidence,
        estimate=partial(ratio_of_intervals, numerator, denominator),
        disturbed=partial(_either, _mostly, base, head),
    )


def _round_medians(cell: Measurement) -> list[float]:
    return [median(samples) for samples in cell.rounds() if samples]


def _by_rounds(base_s: list[float], head_s: list[float], level: float) -> Interval:
    """The ratio of speeds, at this level or at the highest that the rounds carry."""
    return ratio_interval(base_s, head_s, max(0.95, min(level, highest_level(len(base_s), len(head_s)))))


def unusable(cell: Measurement) -> str:
    """Why a cell must not be compared; empty when it may."""
    if cell.verification is not None and not cell.verification.passed:
        return f"has wrong outputs: {cell.verification.detail}"
    if cell.outcome not in (Outcome.OK, Outcome.UNSTABLE):
        return f"is {cell.outcome}: {cell.reason}"
    return "" if cell.samples_s else "has no samples"


def disturbance(cell: Measurement) -> str:
    """What struck a cell from outside, or that it drifted; empty when nothing was seen."""
    flags = [flag.text for flag in cell.flags if flag.name not in OWN_DOING]
    if flags:
        return flags[0]
    summary = summarize(cell)
    return summary.reason if summary.outcome is Outcome.UNSTABLE else ""


def _mostly(run: Run) -> str:
    """What disturbed more than `DISTURBED_SHARE` of a run's cells; empty when nothing did."""
    usable = [cell for cell in run.measurements if not unusable(cell)]
    struck = [why for cell in usable if (why := disturbance(cell))]
    if len(struck) <= DISTURBED_SHARE * len(usable):
        return ""
    return f"{len(struck)} of {len(usable)} cells were disturbed; one of them: {struck[0]}"


def _either(told: Callable[[Side], str], base: Side, head: Side) -> str:
    return next((f"{role}: {why}" for role, side in (("BASE", base), ("HEAD", head)) if (why := told(side))), "")


def _says(figure: Figure, cell: Measurement) -> bool:
    """Whether a figure only says again what a cell says: its median seconds, or its inputs a second."""
    if not isinstance(figure.value, float | int) or not cell.samples_s:
        return False
    centre = median(cell.samples_s)
    value = centre if figure.unit == "s" else cell.inputs_per_call / centre if figure.unit.endswith("/s") else math.nan
    return math.isclose(figure.value, value, rel_tol=1e-9)


def _interval(figure: Figure) -> Interval | None:
    if not isinstance(figure.value, float | int) or figure.low is None or figure.high is None:
        return None
    return Interval(value=figure.value, low=figure.low, high=figure.high)
