"""What the ways of using several processes are called, and the published result that they are held against."""

from __future__ import annotations

from typing import TypeGuard

from inferbench_lib.executors import listed
from inferbench_lib.records import Breakdown, Ratio, Verdict
from inferbench_lib.report.words import times
from inferbench_lib.studies.cpu_multiprocess.breakdown import USEFUL

NAMES = {name: kind.title for name, kind in listed().items()}
REFERENCE = {"single_s": 4.607, "multi_s": 6.245, "speedup": 0.738, "efficiency": 0.184}
"""A Windows laptop, 8 physical and 16 logical cores, 15.79 GB, Python 3.12.2, 4 processes: the published result."""


def spread(value: Ratio) -> str:
    """The interval of a speedup, or that there is none yet."""
    if value.low is None or value.high is None:
        return "no interval yet"
    unsure = ", unstable" if value.verdict is Verdict.UNSTABLE else ""
    return f"{times(value.low)} to {times(value.high)}{unsure}"


def is_known(value: Ratio | None) -> TypeGuard[Ratio]:
    """Whether there is a figure to show: both were measured, in rounds that they share."""
    return value is not None and value.value == value.value


def lost(breakdown: Breakdown) -> float:
    """Seconds above an equal split of one process's work."""
    return sum(part.seconds for part in breakdown.parts if part.name != USEFUL) + breakdown.unexplained_s
