"""Exact intervals that assume no distribution: the signed-rank interval for a centre, order statistics for a tail.

The signed-rank interval is the engine of every comparison and of every cell's central time. Its values are one a
*round*, never one a call. It was taken before the t interval because from twelve rounds on one disturbed round cannot
drag an end away (with fewer it widens the interval, so that a verdict is withheld, never turned), at 95 % of the t
interval's efficiency for normal values (Hodges & Lehmann 1956); before the sign-test interval because that jumps
from 93 % to 99 % at eight rounds; and before a bootstrap because resampling six to twelve values covers too seldom.
It asks that the values lie symmetrically about their centre, which per-round log ratios of two interleaved cells do
by construction: with the cells' order drawn at random, a disturbance strikes either alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import stats

from inferbench_lib.records import Interval, Percentile

Floats = npt.NDArray[np.float64]


@lru_cache
def critical_rank_sum(n: int, level: float = 0.95) -> int | None:
    """Largest rank sum w with 2 P(W ≤ w) ≤ 1 − level for n values; None when even w = 0 is too likely.

    W is the signed-rank statistic under the null: the sum of a random subset of 1..n. Its exact distribution is
    the product of (1 + x^i) / 2 (Wilcoxon 1945; Hollander, Wolfe & Chicken 2014, section 3.1).
    """
    chances = np.ones(1)
    for rank in range(1, n + 1):
        chances = np.concatenate([chances, np.zeros(rank)]) / 2 + np.concatenate([np.zeros(rank), chances]) / 2
    acceptable = np.flatnonzero(2 * np.cumsum(chances) <= 1 - level + 1e-12)
    return int(acceptable[-1]) if acceptable.size else None


@lru_cache
def values_needed(level: float = 0.95) -> int:
    """The fewest values that carry a signed-rank interval at this level: 6 at 95 % (which then attains 96.9 %)."""
    n = 1
    while critical_rank_sum(n, level) is None:
        n += 1
    return n


def signed_rank_bounds(values: npt.ArrayLike, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Estimate, low and high along the last axis of `values` (shape (..., n), n at least `values_needed(level)`).

    The estimate is the median of the Walsh averages (x_i + x_j) / 2, i ≤ j; the ends are those of them that the
    signed-rank test would just not reject (Hodges & Lehmann 1963; Tukey 1949). Raises ValueError for fewer values.
    """
    array = np.asarray(values, dtype=float)
    n = array.shape[-1]
    critical = critical_rank_sum(n, level)
    if critical is None:
        raise ValueError(
            f"signed_rank_bounds: expected at least {values_needed(level)} values for a {level:.0%} interval, got {n}; "
            "measure more rounds"
        )
    walsh = np.sort(_walsh_averages(array), axis=-1)
    return np.median(walsh, axis=-1), walsh[..., critical], walsh[..., -1 - critical]


def signed_rank_interval(values: Sequence[float] | Floats, level: float = 0.95) -> Interval:
    """Hodges–Lehmann centre of `values` with its exact interval, withheld below `values_needed(level)` values.

    Raises ValueError when there is no value, or one that is not finite.
    """
    array = np.asarray(values, dtype=float)
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"signed_rank_interval: expected one or more finite values, got {array.tolist()}")
    if critical_rank_sum(array.size, level) is None:
        reason = f"needs {values_needed(level)} rounds, has {array.size}"
        return Interval(value=float(np.median(_walsh_averages(array))), level=level, reason=reason)
    estimate, low, high = signed_rank_bounds(array, level)
    return Interval(value=float(estimate), low=float(low), high=float(high), level=level)


def _walsh_averages(array: Floats) -> Floats:
    first, second = np.triu_indices(array.shape[-1])
    return (array[..., first] + array[..., second]) / 2


def samples_needed(p: float) -> int:
    """Samples after which the largest exceeds the percentile `p` with 95 % confidence: p90 29, p95 59, p99 299."""
    return math.ceil(math.log(0.05) / math.log(p))


def percentile(samples_s: Sequence[float], p: float, *, n_effective: float = math.inf) -> Percentile:
    """The percentile `p` (0 < p < 1) of single calls with its 95 % order-statistic interval, or withheld.

    The interval runs between the order statistics whose ranks leave 2.5 % of the binomial on either side (David &
    Nagaraja 2003, section 7.1). Calls that follow each other are alike: `n_effective` is the number of independent
    calls that they are worth, and the ranks widen accordingly (Korn & Graubard 1998). An end that lies beyond the
    samples is None.
    """
    n, needs = len(samples_s), samples_needed(p)
    if n < needs:
        return Percentile(p=p, value=None, needs=needs, reason=f"needs {needs} single-call samples, has {n}")
    ordered = np.sort(np.asarray(samples_s, dtype=float))
    worth = max(1, math.floor(min(n, n_effective)))
    below = int(stats.binom.ppf(0.025, worth, p))
    above = int(stats.binom.ppf(0.975, worth, p)) + 1
    low = float(ordered[math.ceil(below * n / worth) - 1]) if below >= 1 else None
    high = float(ordered[math.ceil(above * n / worth) - 1]) if above <= worth else None
    reason = "" if low is not None and high is not None else "one end of the interval lies beyond the samples"
    return Percentile(p=p, value=float(np.quantile(ordered, p)), low=low, high=high, needs=needs, reason=reason)
