"""Choose which cells are measured, from one trial of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from inferbench_lib.records import Case
from inferbench_lib.stats.comparison import WORTH

GIVE_UP = 20.0
"""A cell that was so many times slower than the fastest at one batch size is not tried at larger ones."""

SLOWER = "slower than the fastest in fp32 when tried"
OTHER_THREADS = "slower than with other threads when tried"
HOPELESS = "too slow at a smaller batch size"


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One trial: the seconds per call, or None; the reason why it is not measured, and how many times slower it was."""

    case: Case
    seconds: float | None
    reason: str = ""
    times_slower: float | None = None


def at(case: Case) -> tuple[str, str, int]:
    """Return what cells are compared at: workload, device and batch size."""
    return case.workload, case.device, case.batch_size


def is_hopeless(case: Case, tried: Sequence[Tried]) -> bool:
    """Return whether a cell was `GIVE_UP` times slower than the fastest at a smaller batch size."""
    for smaller in (one for one in tried if replace(one.case, batch_size=case.batch_size) == case):
        beside = [one.seconds for one in tried if at(one.case) == at(smaller.case) and one.seconds is not None]
        if smaller.case.batch_size < case.batch_size and smaller.seconds and smaller.seconds > GIVE_UP * min(beside):
            return True
    return False


def finalists(tried: Sequence[Tried], *, keep_within: float, always: Mapping[str, Collection[str]]) -> list[Tried]:
    """Return what is measured, and give each of the others the reason why it is not.

    At each batch size of a workload these are kept: every engine in `always[workload]` in fp32 with every number of
    threads; and each other engine and precision with the fewest threads that were hardly slower than its fastest,
    where it was at most `keep_within` times slower than the fastest in fp32. The reason of a kept trial is empty.
    """
    found = []
    for one in tried:
        if one.seconds is None or (one.case.engine in always[one.case.workload] and one.case.precision == "fp32"):
            found.append(one)
            continue
        beside = [other for other in tried if at(other.case) == at(one.case) and other.seconds is not None]
        alike = [other for other in beside if replace(other.case, n_threads=one.case.n_threads) == one.case]
        fastest = min((other for other in beside if other.case.precision == "fp32"), key=_seconds, default=one)
        ratio = _seconds(one) / _seconds(fastest)
        close = [other for other in alike if _seconds(other) <= WORTH * _seconds(min(alike, key=_seconds))]
        if one is not min(close, key=lambda other: other.case.n_threads):
            found.append(replace(one, reason=OTHER_THREADS))
        elif ratio > keep_within:
            found.append(replace(one, reason=SLOWER, times_slower=ratio))
        else:
            found.append(one)
    return found


def _seconds(one: Tried) -> float:
    assert one.seconds is not None
    return one.seconds
