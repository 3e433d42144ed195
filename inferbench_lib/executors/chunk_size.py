"""How many rows the next call gets: many while much is left, few at the end, never so few that calls cost too much.

Factoring (Hummel, Schonberg and Flynn, Communications of the ACM 35(8), 1992): large calls first, then what lets
everybody end together. When the others will be ready, and the smallest call, follow from what calls were seen to cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

EARLY_SHARE = 0.85
"""Of a worker's part of what is left: the others then have work for as long as a worker may be late with it."""
LARGEST_SHARE = 0.65
"""Of an equal share of all rows: who turns out slow can be helped with the rest, and outputs in the making, which take
some 32 bytes a row in scikit-learn, are at no time those of all rows."""
FIRST_CALLS = 32
"""A worker's part of an equal share in its first call, from which the cost of calls is learnt."""
SMALLEST_IN_FIXED_COSTS = 12
"""Below this multiple of a call's own cost, cutting a call in two costs more than it can win by ending together."""
LARGEST_BYTES = 64 << 20
"""Of one call's input: bounds what a worker holds of an input larger than memory."""


@dataclass(frozen=True, kw_only=True)
class CallCost:
    """What calls were seen to take: `fixed_s` each and `row_s` a row."""

    fixed_s: float
    row_s: float

    def call_s(self, rows: int) -> float:
        """What a call of `rows` takes."""
        return self.fixed_s + rows * self.row_s

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


def of_dynamic(
    n_left: int,
    n_rows: int,
    busy_s: Sequence[float],
    largest: int,
    cost: CallCost | None,
    limit_s: float | None = None,
) -> int:
    """A part of what is left, the others being busy for `busy_s` yet; few without a `cost`.

    At most `largest` rows and, as far as is known, `limit_s`.
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
    return n_left if n_left - rows < rows / 4 and n_left <= largest else rows  # a crumb is not worth a call


def _part(n_left: int, busy_s: Sequence[float], cost: CallCost) -> float:
    """The rows with which a worker ends when all others do that still get some of the `n_left`."""
    if not cost.row_s:
        return n_left / (1 + len(busy_s))
    work_s = n_left * cost.row_s
    ahead = accumulate(sorted(busy_s), initial=0.0)
    return min((work_s + sum_s) / n for n, sum_s in enumerate(ahead, 1)) / cost.row_s
