"""Compare the cells and the figures of one notebook in two runs: the values, ratio and verdict of each.

`stats.verdict` has the rule. Two runs were made at different times, so two things are added:

- The comparisons of a notebook share the 5 % chance of an error (Bonferroni), as far as the rounds carry that: the
  interval that is shown and decides has this higher level.
- A difference is withheld where one of the runs was disturbed or drifted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from inferbench_lib.findings import Interval, Ratio, Verdict
from inferbench_lib.records import Case, Figure, FigureKind, Measurement, Run
from inferbench_lib.stats.comparison import first_fault, unusable
from inferbench_lib.stats.intervals import highest_level
from inferbench_lib.stats.processes import has_scatter, widened
from inferbench_lib.stats.series import round_medians
from inferbench_lib.stats.trust import disturbance, mostly_disturbed
from inferbench_lib.stats.verdict import Tolerance, between_runs, judge, ratio_of_figures, unpaired_ratio

SAME = "no significant difference"
CHOSEN = "inputs per call"
"""The unit of figures that are one of the measured batch sizes: they jump, and no interval of a ratio fits them."""

LIMITS = frozenset({"max_latency_s", "max_memory_bytes"})
"""Parameters that only the best batch depends on."""

NO_INTERVAL: Mapping[FigureKind | None, str] = {
    "range": "its ends are the lowest and the highest repeat, not an interval",
    "model": "it is a model's, not measured",
}

UNJUDGED = Ratio(value=math.nan, verdict=Verdict.TOO_FEW)


@dataclass(frozen=True, kw_only=True)
class Change:
    """Cell or figure in BASE and in HEAD; None where a run has no value.

    `ratio` is HEAD over BASE: of speeds where the unit is seconds, else of values. Above 1 is faster, or higher. Its
    verdict is invalid where the two must not be compared; its interval is the one that decided, at its level.
    """

    name: str
    unit: str
    base: float | str | None
    head: float | str | None
    is_cell: bool = False
    ratio: Ratio = UNJUDGED

    @property
    def label(self) -> str:
        """Return the name, without the precision that most cells have."""
        return self.name.removesuffix(" · fp32")

    @property
    def verdict(self) -> str:
        """Return the verdict in words: times and rates are faster or slower, all else higher or lower."""
        is_time = self.unit == "s" or self.unit.endswith("/s")
        return {
            Verdict.FASTER: "faster" if is_time else "higher",
            Verdict.SLOWER: "slower" if is_time else "lower",
            Verdict.INDISTINGUISHABLE: SAME,
            Verdict.UNSTABLE: "unstable",
            Verdict.TOO_FEW: "no verdict",
            Verdict.INVALID: "not comparable",
        }[self.ratio.verdict]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Conditions of all comparisons of a notebook.

    `control` is the speed of the fixed control work, HEAD over BASE; `level` that of the interval that decides.
    """

    same_machine: bool
    control: Interval | None = None
    level: float = 0.95
    is_replicated: bool = False

    def tolerance(self, unit: str) -> Tolerance:
        """Return the ratios that count as no difference; between machines the control work makes no allowance."""
        control = self.control if self.same_machine else None
        return between_runs(unit, control, is_replicated=self.is_replicated)


def compare_all(base: Run, head: Run, rule: Rule) -> tuple[Change, ...]:
    """Compare the cells, then the figures, that both runs have, in BASE's order."""
    others = _cells(head)
    cells = [
        (cell, others[key], _compare_cells(cell, others[key], rule))
        for key, cell in _cells(base).items()
        if key in others
    ]
    figures = [_compare_figures(name, base, head, cells, rule) for name in base.summary if name in head.summary]
    return (*(change for _, _, change in cells), *figures)


def n_questions(changes: Iterable[Change]) -> int:
    """Count the different comparisons: an efficiency is a speedup over a constant, and asks nothing new."""
    ratios = [change.ratio for change in changes if change.ratio.low is not None]
    return len({tuple(f"{end or 0.0:.9g}" for end in (one.value, one.low, one.high)) for one in ratios})


def missing(run: Run, other: Run) -> tuple[str, ...]:
    """List the cells and figures of `run` that `other` does not have."""
    there = _cells(other)
    cells = tuple(str(cell.case) for key, cell in _cells(run).items() if key not in there)
    return cells + tuple(name for name in run.summary if name not in other.summary)


def _cells(run: Run) -> Mapping[tuple[str, Case], Measurement]:
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


def _compare_cells(base: Measurement, head: Measurement, rule: Rule) -> Change:
    """Compare the seconds per call, by rounds; refuse wrong, failed or missing samples, other sizes or threads."""
    centres = [median(cell.samples_s) if cell.samples_s else None for cell in (base, head)]
    change = Change(name=str(base.case), unit="s", base=centres[0], head=centres[1], is_cell=True)
    if why := first_fault(unusable, BASE=base, HEAD=head):
        return _refused(change, why)
    if base.inputs_per_call != head.inputs_per_call:
        sizes = f"{base.inputs_per_call:,} inputs per call in BASE, {head.inputs_per_call:,} in HEAD"
        return _refused(change, f"another size: {sizes}")
    if rule.same_machine and base.case.n_threads != head.case.n_threads:
        return _refused(change, f"threads: {base.case.n_threads} in BASE, {head.case.n_threads} in HEAD")
    base_s, head_s = (round_medians(cell.rounds()) for cell in (base, head))
    disturbed = partial(first_fault, disturbance, BASE=base, HEAD=head)
    rule = replace(rule, is_replicated=has_scatter(base) and has_scatter(head))

    def ratio_at(level: float) -> Interval:
        """Return the ratio of speeds, at this level or at the highest that the rounds carry."""
        carried = max(0.95, min(level, highest_level(len(base_s), len(head_s))))
        return widened(unpaired_ratio(base_s, head_s, carried), base, head)

    return _judged(change, ratio_at, disturbed, rule)


def _compare_figures(
    name: str, base: Run, head: Run, cells: Sequence[tuple[Measurement, Measurement, Change]], rule: Rule
) -> Change:
    """Compare a figure; one that repeats a cell's time or rate is compared as that cell is."""
    first, second = base.summary[name], head.summary[name]
    change = Change(name=name, unit=first.unit, base=first.value, head=second.value)
    if first.unit != second.unit:
        return _refused(change, f"in {first.unit} in BASE, in {second.unit} in HEAD")
    if why := first_fault(_unknown, BASE=first, HEAD=second):
        return _refused(change, why)
    limits = [limit for limit in sorted(LIMITS) if base.params.get(limit) != head.params.get(limit)]
    if name.startswith("best_") and limits:
        return _refused(change, f"under other limits: {' and '.join(limits)}")
    for cell, other, of_cell in cells:
        if _repeats(first, cell) and _repeats(second, other):
            return replace(change, ratio=of_cell.ratio)
    if not (first.has_interval and second.has_interval) or first.unit == CHOSEN:
        return replace(change, ratio=_without_interval(first, second))
    if not min(float(figure.value or 0.0) for figure in (first, second)) > 0:
        return _refused(change, "a value that is not above 0 has no ratio")
    disturbed = partial(first_fault, mostly_disturbed, BASE=base, HEAD=head)
    return _judged(change, partial(ratio_of_figures, first, second), disturbed, rule)


def _repeats(figure: Figure, cell: Measurement) -> bool:
    """Return whether a figure only repeats what a cell says: its median seconds, or its inputs per second."""
    if not isinstance(figure.value, float | int) or not cell.samples_s:
        return False
    centre = median(cell.samples_s)
    value = centre if figure.unit == "s" else cell.inputs_per_call / centre if figure.unit.endswith("/s") else math.nan
    return math.isclose(figure.value, value, rel_tol=1e-9)


def _without_interval(first: Figure, second: Figure) -> Ratio:
    """Return the ratio of figures that carry no interval: only that they are equal can be told."""
    base, head = first.value, second.value
    if base == head:
        return Ratio(value=1.0, verdict=Verdict.INDISTINGUISHABLE, reason="the same in both runs")
    are_numbers = isinstance(base, float | int) and isinstance(head, float | int) and base > 0 and head > 0
    value = float(head) / float(base) if are_numbers else math.nan  # type: ignore[arg-type]
    whys = [NO_INTERVAL[of.kind] for of in (first, second) if of.kind in NO_INTERVAL]
    return Ratio(value=value, verdict=Verdict.TOO_FEW, reason=next(iter(whys), "it carries no interval"))


def _refused(change: Change, reason: str) -> Change:
    return replace(change, ratio=replace(change.ratio, verdict=Verdict.INVALID, reason=reason))


def _judged(change: Change, ratio_at: Callable[[float], Interval], disturbed: Callable[[], str], rule: Rule) -> Change:
    """Judge the ratio at the deciding level; withhold a difference where a run was disturbed."""
    ratio = judge(ratio_at(rule.level), rule.tolerance(change.unit))
    if ratio.is_difference and (why := disturbed()):
        ratio = replace(ratio, verdict=Verdict.UNSTABLE, reason=why)
    return replace(change, ratio=ratio)


def _unknown(figure: Figure) -> str:
    return "" if figure.value is not None else f"does not give it: {figure.verdict or 'no reason told'}"
