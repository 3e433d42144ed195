"""Read a `compare` record: the runs that it holds, and what changed from the first to each of the others."""

from __future__ import annotations

from dataclasses import dataclass

from inferbench_lib.records import Figure, Run, Verdict, from_plain
from inferbench_lib.studies.compare.changes import Change, PairStudy, compare_runs

SAME = "no significant difference"


@dataclass(frozen=True, kw_only=True)
class CompareStudy:
    """BASE against each head. `names` are the runs' ids, BASE first."""

    run: Run
    names: tuple[str, ...]
    pairs: tuple[PairStudy, ...]


def study(run: Run) -> CompareStudy:
    """The runs that a record holds, held against its first."""
    runs = [
        (str(of["name"]), {name: from_plain(values) for name, values in of["notebooks"].items()})
        for of in run.tables["runs"]
    ]
    return CompareStudy(
        run=run,
        names=tuple(name for name, _ in runs),
        pairs=tuple(compare_runs(*runs[0], *head) for head in runs[1:]),
    )


def figures(said: CompareStudy) -> dict[str, Figure]:
    """The entries of `summary.json`: the ratio HEAD over BASE of whatever could be judged."""
    return {
        f"{notebook.notebook}/{change.name}{f' [{pair.head}]' if len(said.pairs) > 1 else ''}": Figure(
            value=change.ratio.value, low=change.ratio.low, high=change.ratio.high, unit="×", verdict=verdict(change)
        )
        for pair in said.pairs
        for notebook in pair.notebooks
        for change in notebook.changes
        if change.is_judged
    }


def verdict(change: Change) -> str:
    """A change's verdict in words: times and rates are faster or slower, all else higher or lower."""
    is_time = change.unit == "s" or change.unit.endswith("/s")
    return {
        Verdict.FASTER: "faster" if is_time else "higher",
        Verdict.SLOWER: "slower" if is_time else "lower",
        Verdict.INDISTINGUISHABLE: SAME,
        Verdict.UNSTABLE: "unstable",
        Verdict.TOO_FEW: "no verdict",
        Verdict.INVALID: "not comparable",
    }[change.ratio.verdict]
