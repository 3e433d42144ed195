"""Decide how many rows the next call gets, and how many workers compute at a time, from the measured cost of calls.

Calls are large at first and small at the end, so that all workers end together (factoring: Hummel, Schonberg and Flynn,
Communications of the ACM 35(8), 1992). The smallest call follows from the fixed cost of a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

from inferbench_lib.records import Span

EARLY_SHARE = 0.85
"""Share of a worker's part of the remaining rows; the rest covers the time by which a worker may be late."""
LARGEST_SHARE = 0.65
"""Share of an equal split of all rows in one call. The rest can help a slow worker, and it limits the memory of
unfinished outputs (scikit-learn: about 32 bytes per row)."""
FIRST_CALLS = 32
"""The first call gets one such part of an equal split; it shows what calls cost."""
SMALLEST_IN_FIXED_COSTS = 12
"""Below this multiple of a call's fixed cost, splitting a call costs more than ending together gains."""
LARGEST_BYTES = 64 << 20
"""Input bytes of one call: limits the memory of a worker whose input is larger than memory."""


def refuse_nothing(n_rows: int, batch_size: int | None) -> None:
    """Raise ValueError for no rows or an empty batch."""
    if n_rows < 1 or (batch_size is not None and batch_size < 1):
        raise ValueError(f"map: expected at least 1 row and batches of at least 1, got {n_rows} rows and {batch_size}")


def batches(n_rows: int, batch_size: int) -> list[range]:
    """Return the rows of each batch; the last may be shorter. Raises ValueError for no rows or an empty batch."""
    refuse_nothing(n_rows, batch_size)
    return [range(start, min(start + batch_size, n_rows)) for start in range(0, n_rows, batch_size)]


@dataclass(frozen=True, kw_only=True)
class CallCost:
    """The measured cost of calls: `fixed_s` per call and `row_s` per row."""

    fixed_s: float
    row_s: float

    def call_s(self, rows: int) -> float:
        """Return the predicted seconds of a call of `rows`."""
        return self.fixed_s + rows * self.row_s

    @classmethod
    def seen(cls, calls: Iterable[tuple[float, float]]) -> CallCost | None:
        """Fit (rows, seconds) of calls by least squares of the relative error; None without a call.

        Seconds per row are a line over 1/rows with slope `fixed_s` and intercept `row_s`.
        """
        points = [(1 / rows, seconds / rows) for rows, seconds in calls]
        if not points:
            return None
        mean_u, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
        spread = sum((u - mean_u) ** 2 for u, _ in points)
        slope = sum((u - mean_u) * (y - mean_y) for u, y in points) / spread if spread else 0.0
        fixed_s = min(max(0.0, slope), min(y / u for u, y in points))  # between nothing and the shortest whole call
        return cls(fixed_s=fixed_s, row_s=max(0.0, mean_y - fixed_s * mean_u))


def of_dynamic(
    n_left: int, n_rows: int, busy_s: Sequence[float], largest: int, cost: CallCost | None, limit_s: float | None = None
) -> int:
    """Return the rows of the next call, of `n_left` that remain, while the others stay busy for `busy_s`.

    Few rows without a known `cost`; at most `largest` rows and, as far as the cost is known, `limit_s` seconds.
    """
    share = n_rows / (1 + len(busy_s))
    if cost is None:
        wanted = share / FIRST_CALLS
    else:
        part = _part(n_left, busy_s, cost)
        smallest = SMALLEST_IN_FIXED_COSTS * cost.fixed_s / cost.row_s if cost.row_s else share
        smallest = min(max(smallest, share / 64), share / 4)
        is_last = part < smallest / (1 - EARLY_SHARE)
        wanted = min(max(part, smallest) if is_last else EARLY_SHARE * part, LARGEST_SHARE * share)
        if limit_s is not None and cost.row_s:
            wanted = min(wanted, (limit_s - cost.fixed_s) / cost.row_s)
    rows = min(n_left, largest, max(1, ceil(wanted)))
    return n_left if n_left - rows < rows / 4 and n_left <= largest else rows  # a small rest joins the last call


def _part(n_left: int, busy_s: Sequence[float], cost: CallCost) -> float:
    """Return the rows with which a worker ends at the same time as all others that still get some of `n_left`."""
    if not cost.row_s:
        return n_left / (1 + len(busy_s))
    work_s = n_left * cost.row_s
    ahead = accumulate(sorted(busy_s), initial=0.0)
    return min((work_s + sum_s) / n for n, sum_s in enumerate(ahead, 1)) / cost.row_s


class CpuDemand:
    """The measured CPU use of calls on `n_cpus` CPUs; `n_threads` per call until one was measured."""

    def __init__(self, n_threads: int, n_cpus: int) -> None:
        self._n_threads, self._n_cpus = n_threads, n_cpus
        self._most: float | None = None
        self._have_begun: set[int] = set()

    def note(self, spans: Iterable[Span]) -> None:
        """Learn from the calls of a worker except its first, which may load libraries.

        The highest use counts: competition for the CPUs makes a call use less, never more.
        """
        for span in spans:
            if span.kind == "compute" and span.end_s > span.start_s:
                if span.worker in self._have_begun:
                    used = min(self._n_threads, span.cpu_s / (span.end_s - span.start_s))
                    self._most = max(used, self._most or 0.0)
                self._have_begun.add(span.worker)

    def n_at_once(self, n_workers: int) -> int:
        """Return how many of the workers the CPUs can run at a time, at least one."""
        used = self._n_threads if self._most is None else self._most
        return n_workers if n_workers * used <= self._n_cpus else max(1, round(self._n_cpus / used))
