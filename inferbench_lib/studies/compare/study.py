"""Judge what changed from one stored run, BASE, to each of the others, HEAD: cells and figures with their verdicts.

`stats.verdict` has the rule. Two things are added here, since two runs were made at different times:

- the comparisons of a notebook share the 5 % chance of an error between them (Bonferroni) as far as the rounds carry
  that: the 95 % interval is shown, and one of this higher level decides;
- a difference that is found in spite of that is withheld where one of the runs was disturbed, or drifted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median

from inferbench_lib.findings import Interval, Verdict
from inferbench_lib.records import Figure, Run, from_plain
from inferbench_lib.stats.verdict import Tolerance, between_runs, judge, shared_level, unpaired_ratio
from inferbench_lib.studies.compare.conditions import Difference, differences, is_same_machine, refusal
from inferbench_lib.studies.compare.pairing import Change, Pair, missing, pair_cells, pair_figures

SAME = "no significant difference"
TIMES = between_runs("s")


@dataclass(frozen=True, kw_only=True)
class NotebookComparison:
    """One notebook of two runs: `refused` and why, or what changed in it, and what only one of the runs has.

    `control` is the speed of the fixed work, HEAD over BASE; `tolerance` is that of times and rates.
    """

    notebook: str
    refused: str = ""
    control: Interval | None = None
    tolerance: Tolerance = TIMES
    level: float = 0.95
    changes: tuple[Change, ...] = ()
    only_base: tuple[str, ...] = ()
    only_head: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """One HEAD compared with BASE."""

    head: str
    same_machine: bool
    differences: tuple[Difference, ...]
    notebooks: tuple[NotebookComparison, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """All cells and figures, of all notebooks."""
        return tuple(change for one in self.notebooks for change in one.changes)


@dataclass(frozen=True, kw_only=True)
class CompareStudy:
    """BASE compared with each head. `names` are the runs' ids, BASE first."""

    run: Run
    names: tuple[str, ...]
    pairs: tuple[RunComparison, ...]


def study(run: Run) -> CompareStudy:
    """Compare the runs that a `compare` record holds with its first."""
    runs = [
        (str(of["name"]), {name: from_plain(values) for name, values in of["notebooks"].items()})
        for of in run.tables["runs"]
    ]
    return CompareStudy(
        run=run,
        names=tuple(name for name, _ in runs),
        pairs=tuple(compare_runs(runs[0][1], head, name) for name, head in runs[1:]),
    )


def figures(said: CompareStudy) -> dict[str, Figure]:
    """Return the entries of `summary.json`: the ratio HEAD over BASE of whatever could be judged."""
    return {
        f"{notebook.notebook}/{change.name}{f' [{pair.head}]' if len(said.pairs) > 1 else ''}": Figure(
            value=change.ratio.value, low=change.ratio.low, high=change.ratio.high, unit="×", verdict=verdict(change)
        )
        for pair in said.pairs
        for notebook in pair.notebooks
        for change in notebook.changes
        if change.ratio.is_judged
    }


def verdict(change: Change) -> str:
    """Return a change's verdict in words: times and rates are faster or slower, all else higher or lower."""
    is_time = change.unit == "s" or change.unit.endswith("/s")
    return {
        Verdict.FASTER: "faster" if is_time else "higher",
        Verdict.SLOWER: "slower" if is_time else "lower",
        Verdict.INDISTINGUISHABLE: SAME,
        Verdict.UNSTABLE: "unstable",
        Verdict.TOO_FEW: "no verdict",
        Verdict.INVALID: "not comparable",
    }[change.ratio.verdict]


def compare_runs(base: Mapping[str, Run], head: Mapping[str, Run], head_name: str) -> RunComparison:
    """Compare two runs, notebook by notebook."""
    machines = [next(iter(runs.values())).machine for runs in (base, head) if runs]
    same = len(machines) == 2 and is_same_machine(*machines)
    return RunComparison(
        head=head_name,
        same_machine=same,
        differences=differences(base, head),
        notebooks=tuple(
            _compare_notebook(name, base.get(name), head.get(name), same) for name in dict.fromkeys([*base, *head])
        ),
    )


def _compare_notebook(name: str, base: Run | None, head: Run | None, same_machine: bool) -> NotebookComparison:
    if base is None or head is None:
        return NotebookComparison(notebook=name, refused=f"{'BASE' if base is None else 'HEAD'} does not hold it")
    if why := refusal(base, head):
        return NotebookComparison(notebook=name, refused=why)
    control = _control(base, head)
    allowed = control if same_machine else None
    cells = pair_cells(base, head, same_machine=same_machine)
    pairs = [*cells.values(), *pair_figures(base, head, cells)]
    level = shared_level(_n_questions(pairs))
    return NotebookComparison(
        notebook=name,
        control=control,
        tolerance=between_runs("s", allowed),
        level=level,
        changes=tuple(_judged(pair, between_runs(pair.change.unit, allowed), level) for pair in pairs),
        only_base=missing(base, head),
        only_head=missing(head, base),
    )


def _n_questions(pairs: Iterable[Pair]) -> int:
    """Count the different comparisons: an efficiency is a speedup over a constant, and asks nothing new."""
    asked = [pair.ratio_at(0.95) for pair in pairs if pair.ratio_at]
    return len({tuple(f"{end:.9g}" for end in (one.value, one.low or 0.0, one.high or 0.0)) for one in asked})


def _control(base: Run, head: Run) -> Interval | None:
    """Return how much faster the fixed work was in HEAD, by round medians; None where a run did not take it."""
    first, second = _control_medians(base), _control_medians(head)
    return unpaired_ratio(first, second) if first and second else None


def _control_medians(run: Run) -> list[float]:
    schedules = run.tables.get("schedules", {}).values()
    return [median(values) for schedule in schedules for values in schedule["control_s"] if values]


def _judged(pair: Pair, tolerance: Tolerance, level: float) -> Change:
    if pair.ratio_at is None:
        return pair.change
    deciding = pair.ratio_at(level)
    ratio = judge(pair.ratio_at(0.95), tolerance, deciding)
    if ratio.is_difference and (why := pair.disturbed()):
        ratio = replace(ratio, verdict=Verdict.UNSTABLE, reason=why)
    return replace(pair.change, ratio=ratio, deciding=deciding)
