"""Choose which cells are measured, from one trial of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from inferbench_lib.records import Case

GIVE_UP = 20.0
"""A cell that was so many times slower than the fastest at one batch size is not tried at larger ones."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One trial: the seconds per call, or None and the reason."""

    case: Case
    seconds: float | None
    reason: str = ""


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
    threads; and each other engine and precision with its fastest number of threads, where it is at most `keep_within`
    times slower than the fastest of all. The reason of a kept trial is empty.
    """
    found = []
    for one in tried:
        if one.seconds is None:
            found.append(one)
            continue
        beside = [other for other in tried if at(other.case) == at(one.case) and other.seconds is not None]
        fastest = min(beside, key=_seconds)
        if one.case.engine in always[one.case.workload] and one.case.precision == "fp32":
            found.append(one)
        elif (ratio := _seconds(one) / _seconds(fastest)) > keep_within:
            found.append(replace(one, reason=f"{ratio:.3g} times slower than {fastest.case.engine} when tried"))
        else:
            alike = [other for other in beside if replace(other.case, n_threads=one.case.n_threads) == one.case]
            best = min(alike, key=_seconds)
            n = best.case.n_threads
            reason = "" if one is best else f"slower than on {n} thread{'s' if n > 1 else ''} when tried"
            found.append(replace(one, reason=reason))
    return found


def _seconds(one: Tried) -> float:
    assert one.seconds is not None
    return one.seconds
