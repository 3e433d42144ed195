"""Choose the simplest way of using several CPUs that no more complicated one is worth leaving."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inferbench_lib.findings import Ratio, Verdict
from inferbench_lib.stats.comparison import compare
from inferbench_lib.studies.cpu_multiprocess.ways import BASELINE, THREADS, Way

SIMPLEST_FIRST = (BASELINE, THREADS, "process_pool", "loky", "naive_pool", "shared_pool", "dask")
"""Executors by what they ask of their user: a parameter, another call, processes of our own, a cluster."""
WORTH = 1.1
"""A more complicated way is recommended where its whole interval over the simpler one lies above."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The recommended way, and how the others compare with it.

    `simpler` is the way that it was preferred to, with its gain over that. `faster` are more complicated ways whose
    gain is too small, the largest first; without any way but one process, `closest` is the one with most speedup.
    """

    way: Way
    simpler: tuple[Way, Ratio] | None
    faster: tuple[tuple[Way, Ratio], ...]
    tied: tuple[Way, ...]
    closest: tuple[Way, Ratio] | None

    @property
    def is_one_process(self) -> bool:
        """Return whether one process is recommended."""
        return self.way.ratio is None


def choose(ways: Iterable[Way]) -> Choice | None:
    """Return the choice among warm ways; None where one process was not measured."""
    order = sorted((way for way in ways if way.summary.is_measured), key=_complexity)
    if not order or order[0].cell.case.executor != BASELINE:
        return None
    best, simpler = order[0], None
    for way in order[1:]:
        gain = compare(best.cell, way.cell)
        if gain.verdict is Verdict.FASTER and ((gain.low or 0.0) > WORTH or _is_parameter(way, best)):
            best, simpler = way, (best, gain)
    others = [(way, compare(best.cell, way.cell)) for way in order if way is not best]
    others.sort(key=lambda other: -other[1].value)
    return Choice(
        way=best,
        simpler=simpler,
        faster=tuple((way, gain) for way, gain in others if gain.verdict is Verdict.FASTER),
        tied=tuple(way for way, gain in others if gain.verdict is Verdict.INDISTINGUISHABLE),
        closest=others[0] if others else None,
    )


def _complexity(way: Way) -> int:
    name = way.cell.case.executor
    return SIMPLEST_FIRST.index(name) if name in SIMPLEST_FIRST else len(SIMPLEST_FIRST)


def _is_parameter(way: Way, simpler: Way) -> bool:
    """Return whether a way is the same call as a simpler one with another number of threads, which costs no code."""
    return way.cell.case.executor == THREADS and simpler.cell.case.executor in (BASELINE, THREADS)
