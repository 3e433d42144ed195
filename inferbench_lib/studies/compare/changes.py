"""What changed from one stored run, BASE, to another, HEAD: each cell and each figure, with an interval and a verdict.

Within a run, cells take turns and what disturbs the machine cancels. Between runs nothing cancels, so more is asked:

- a difference whose interval reaches below `MIN_EFFECT` is none;
- neither is one that is itself below `may_differ`: a run has one process a variant, processes of the very same program
  differ among themselves, and no number of rounds within them shows by how much (Kalibera & Jones 2013, "Rigorous
  benchmarking in reasonable time");
- on one machine, neither is a difference that the fixed control workload, the same in both runs, shows too, or one of
  up to `MIN_EFFECT` beyond that;
- the comparisons of a notebook share the 5 % chance of an error between them (Bonferroni) as far as the rounds can
  carry that: the 95 % interval is shown, and one of this higher level decides;
- a difference that is found in spite of that is withheld where one of the runs was disturbed, or drifted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from inferbench_lib.records import Interval, Ratio, Run, Verdict
from inferbench_lib.stats.unpaired import MIN_EFFECT, ratio_interval
from inferbench_lib.studies.compare.differences import Difference, differences, is_same_machine, refusal
from inferbench_lib.studies.compare.evidence import Evidence, missing, of_cells, of_figures, pairs

PROCESS_SCATTER = 0.02
"""Standard deviation between processes of one program, as a share: not measured here, but more than most show."""
Zone = tuple[float, float]
NO_DIFFERENCE: Zone = (1 / (1 + MIN_EFFECT), 1 + MIN_EFFECT)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One cell or figure, in BASE and in HEAD; None where a run has no value.

    `ratio` is HEAD over BASE: of speeds where the unit is seconds, else of values; above 1 is faster, or higher. Its
    verdict is invalid where the two must not be compared. `guarded` is the wider interval that decided.
    """

    name: str
    unit: str
    base: float | str | None
    head: float | str | None
    ratio: Ratio
    guarded: Interval | None = None
    is_cell: bool = False

    @property
    def is_judged(self) -> bool:
        """Whether a difference could be looked for at all."""
        return self.ratio.verdict not in (Verdict.INVALID, Verdict.TOO_FEW)

    @property
    def is_claimed(self) -> bool:
        """Whether a difference is claimed."""
        return self.ratio.verdict in (Verdict.FASTER, Verdict.SLOWER)


@dataclass(frozen=True, kw_only=True)
class NotebookPair:
    """One notebook of two runs: `refused` and why, or what changed in it, and what only one of the runs has.

    `control` is the speed of the fixed work, HEAD over BASE; `zone` holds the ratios of times, and of whatever
    else goes with the machine's speed, that are no difference.
    """

    notebook: str
    refused: str = ""
    control: Interval | None = None
    zone: Zone = NO_DIFFERENCE
    level: float = 0.95
    changes: tuple[Change, ...] = ()
    only_base: tuple[str, ...] = ()
    only_head: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PairStudy:
    """Two runs held against each other."""

    base: str
    head: str
    same_machine: bool
    simulated: bool
    differences: tuple[Difference, ...]
    notebooks: tuple[NotebookPair, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """All cells and figures, of all notebooks."""
        return tuple(change for one in self.notebooks for change in one.changes)


def may_differ(unit: str) -> float:
    """By what share a figure of two runs of the same program differs at most, 19 times of 20, because of processes.

    A time or rate rests on one process in each run, a speedup or share on two. Independent scatter adds up as squares.
    """
    n_processes = 2 if _follows_machine(unit) else 4
    return math.exp(1.96 * PROCESS_SCATTER * math.sqrt(n_processes)) - 1


def compare_runs(base_name: str, base: Mapping[str, Run], head_name: str, head: Mapping[str, Run]) -> PairStudy:
    """Hold one run against another, notebook by notebook."""
    machines = [next(iter(runs.values())).machine for runs in (base, head) if runs]
    same = len(machines) == 2 and is_same_machine(*machines)
    return PairStudy(
        base=base_name,
        head=head_name,
        same_machine=same,
        simulated=any(run.simulated for runs in (base, head) for run in runs.values()),
        differences=differences(base, head),
        notebooks=tuple(
            _notebook(name, base.get(name), head.get(name), same) for name in dict.fromkeys([*base, *head])
        ),
    )


def _notebook(name: str, base: Run | None, head: Run | None, same_machine: bool) -> NotebookPair:
    if base is None or head is None:
        return NotebookPair(notebook=name, refused=f"{'BASE' if base is None else 'HEAD'} does not hold it")
    if why := refusal(base, head):
        return NotebookPair(notebook=name, refused=why)
    control = _control(base, head)
    zone = _zone(control) if same_machine and control else NO_DIFFERENCE
    cells = {key: of_cells(*two, same_machine) for key, two in pairs(base, head).items()}
    figures = [of_figures(key, base, head, cells) for key in base.summary if key in head.summary]
    evidence = [*cells.values(), *figures]
    level = 1 - 0.05 / max(1, _n_questions(evidence))
    return NotebookPair(
        notebook=name,
        control=control,
        zone=zone,
        level=level,
        changes=tuple(_judged(one, zone if _follows_machine(one.unit) else NO_DIFFERENCE, level) for one in evidence),
        only_base=missing(base, head),
        only_head=missing(head, base),
    )


def _n_questions(evidence: Sequence[Evidence]) -> int:
    """How many different comparisons there are: an efficiency is a speedup over a constant, and says it again."""
    asked = [one.estimate(0.95) for one in evidence if one.estimate]
    return len({tuple(f"{end:.9g}" for end in (one.value, one.low or 0.0, one.high or 0.0)) for one in asked})


def _control(base: Run, head: Run) -> Interval | None:
    """How much faster the fixed work was in HEAD, by round medians; None where a run did not take it."""
    first, second = _control_medians(base), _control_medians(head)
    return ratio_interval(first, second) if first and second else None


def _control_medians(run: Run) -> list[float]:
    schedules = run.tables.get("schedules", {}).values()
    return [median(values) for schedule in schedules for values in schedule["control_s"] if values]


def _zone(control: Interval) -> Zone:
    """What counts as no difference: `MIN_EFFECT` beyond the control workload's own change, and all that this may be."""
    low = control.value if control.low is None else control.low
    high = control.value if control.high is None else control.high
    return (
        min(low, min(1.0, control.value) * NO_DIFFERENCE[0]),
        max(high, max(1.0, control.value) * NO_DIFFERENCE[1]),
    )


def _follows_machine(unit: str) -> bool:
    """Whether a figure goes with the machine's own speed, as all do but ratios and shares within a run."""
    return unit not in ("", "×") and not unit.startswith("of ")


def _judged(one: Evidence, zone: Zone, level: float) -> Change:
    change = Change(
        name=one.name,
        unit=one.unit,
        base=one.base,
        head=one.head,
        is_cell=one.is_cell,
        ratio=Ratio(value=math.nan, low=None, high=None, verdict=Verdict.INVALID, reason=one.refused),
    )
    if one.refused:
        return change
    if one.estimate is None:
        return replace(change, ratio=_without_interval(one))
    shown, guarded = one.estimate(0.95), one.estimate(level)
    ratio = Ratio(
        value=shown.value, low=shown.low, high=shown.high, verdict=Verdict.INDISTINGUISHABLE, reason=guarded.reason
    )
    if guarded.low is None or guarded.high is None:
        return replace(change, ratio=replace(ratio, verdict=Verdict.TOO_FEW))
    verdict, reason = _verdict(guarded.low, guarded.high, zone)
    scatter = may_differ(one.unit)
    if verdict is not Verdict.INDISTINGUISHABLE and abs(math.log(ratio.value)) <= math.log1p(scatter):
        verdict = Verdict.INDISTINGUISHABLE
        reason = f"two runs of the same program may differ by {100 * scatter:.1f} % because of their processes"
    if verdict is not Verdict.INDISTINGUISHABLE and (why := one.disturbed()):
        verdict, reason = Verdict.UNSTABLE, why
    return replace(change, ratio=replace(ratio, verdict=verdict, reason=reason), guarded=guarded)


def _verdict(low: float, high: float, zone: Zone) -> tuple[Verdict, str]:
    if low > zone[1]:
        return Verdict.FASTER, ""
    if high < zone[0]:
        return Verdict.SLOWER, ""
    if low > NO_DIFFERENCE[1] or high < NO_DIFFERENCE[0]:
        return Verdict.INDISTINGUISHABLE, "the control workload changed as well: it may be the machine's own speed"
    return (
        Verdict.INDISTINGUISHABLE,
        f"the interval reaches into the {100 * MIN_EFFECT:.0f} % that counts as no difference",
    )


def _without_interval(one: Evidence) -> Ratio:
    """Of values that carry no interval only sameness can be told."""
    if one.base == one.head:
        return Ratio(value=1.0, low=None, high=None, verdict=Verdict.INDISTINGUISHABLE, reason="the same in both runs")
    both = (one.base, one.head)
    value = math.nan
    if all(isinstance(side, float | int) and side > 0 for side in both):
        value = float(both[1]) / float(both[0])  # type: ignore[arg-type]
    return Ratio(value=value, low=None, high=None, verdict=Verdict.TOO_FEW, reason="it carries no interval")
