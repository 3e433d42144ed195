"""How many rows the next call gets: many while much is left, few at the end, never so few that calls cost too much.

Guided self-scheduling (Polychronopoulos and Kuck, IEEE Trans. Computers C-36(12), 1987): a share of what is left, so
that whoever is late has little left to be late with. The smallest call follows from what calls were seen to cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

EARLY_SHARE = 0.85
"""Of an equal share of what is left: the others then have work for as long as a worker may be late with it."""
FIRST_CALLS = 32
"""A worker's part of an equal share in its first call, from which the cost of calls is learnt."""
SMALLEST_IN_FIXED_COSTS = 8
"""Below this multiple of a call's own cost, cutting a call in two costs more than it can win by ending together."""
LARGEST_BYTES = 32 << 20
"""Of one call's input: bounds what a worker holds of an input larger than memory."""


@dataclass(frozen=True, kw_only=True)
class CallCost:
    """What calls were seen to take: `fixed_s` each and `row_s` a row."""

    fixed_s: float
    row_s: float

    @classmethod
    def seen(cls, calls: Iterable[tuple[float, float]]) -> CallCost | None:
        """From the rows and seconds of calls, by least squares of the relative error; None without a call.

        Seconds a row are a line over 1/rows: its slope is `fixed_s`, and what it meets at 0 is `row_s`.
        """
        points = [(1 / rows, seconds / rows) for rows, seconds in calls]
        if not points:
            return None
        mean_u, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
        spread = sum((u - mean_u) ** 2 for u, _ in points)
        slope = sum((u - mean_u) * (y - mean_y) for u, y in points) / spread if spread else 0.0
        fixed_s = min(max(0.0, slope), min(y / u for u, y in points))  # no less than none, no more than a whole call
        return cls(fixed_s=fixed_s, row_s=max(0.0, mean_y - fixed_s * mean_u))


def of_batch(n_left: int, n_workers: int, batch_size: int) -> int:
    """`batch_size` rows; half as many where there are too few left for everybody to get a batch."""
    return min(n_left, batch_size if n_left >= n_workers * batch_size else ceil(batch_size / 2))


def of_dynamic(
    n_left: int, n_rows: int, n_workers: int, largest: int, cost: CallCost | None, limit_s: float | None = None
) -> int:
    """A share of what is left, at most `largest` rows and, as far as is known, `limit_s`; few without a `cost`."""
    share = n_rows / n_workers
    if cost is None:
        wanted = share / FIRST_CALLS
    else:
        smallest = SMALLEST_IN_FIXED_COSTS * cost.fixed_s / cost.row_s if cost.row_s else share
        smallest = min(max(smallest, share / 64), share / 4)
        wanted = max(EARLY_SHARE * n_left / n_workers, smallest)
        if limit_s is not None and cost.row_s:
            wanted = min(wanted, (limit_s - cost.fixed_s) / cost.row_s)
    rows = min(n_left, largest, max(1, ceil(wanted)))
    return n_left if n_left - rows < rows / 4 and n_left <= largest else rows  # a crumb is not worth a call
