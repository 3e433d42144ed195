"""Exact intervals that assume no distribution: signed ranks for a centre, rank sums for a shift, order statistics.

Their values are one per *round*, never one per call. The signed-rank interval carries every comparison within a run and
every cell's central time. It asks that the values lie symmetrically about their centre. Per-round log ratios of two
interleaved cells do so by construction: with their order drawn at random, a disturbance strikes both alike.

- Not the t interval: from twelve rounds on, one disturbed round cannot drag an end of the signed-rank interval away.
  With fewer it widens the interval, so that a verdict is withheld, never turned. It has 95 % of the t interval's
  efficiency for normal values (Hodges & Lehmann 1956).
- Not the sign-test interval, which jumps from 93 % to 99 % at eight rounds.
- Not a bootstrap: resampling six to twelve values covers too seldom.

Rounds of two runs are no pairs but two independent samples. The interval of their shift belongs to the Mann–Whitney
test: exact at any number of rounds, and untouched by the size of an outlying one. It asks that both samples have the
same shape; with about as many rounds on either side it stands a difference in spread (Fagerland & Sandvik 2009).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np
import numpy.typing as npt
from scipy import stats

from inferbench_lib.findings import Interval, Percentile

Floats = npt.NDArray[np.float64]


@lru_cache
def critical_rank_sum(n: int, level: float = 0.95) -> int | None:
    """Return the largest rank sum w with 2 P(W ≤ w) ≤ 1 − level for n values; None when even w = 0 is too likely.

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
    """Return the fewest values that carry a signed-rank interval: 6 at 95 % (which then attains 96.9 %)."""
    n = 1
    while critical_rank_sum(n, level) is None:
        n += 1
    return n


def signed_rank_interval(values: Sequence[float] | Floats, level: float = 0.95) -> Interval:
    """Return the Hodges–Lehmann centre of `values` with its exact interval, withheld where there are too few values.

    The centre is the median of the Walsh averages (x_i + x_j) / 2, i ≤ j. The ends are those of them that the
    signed-rank test would just not reject (Hodges & Lehmann 1963; Tukey 1949).
    Raises ValueError when there is no value, or one that is not finite.
    """
    array = np.asarray(values, dtype=float)
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"signed_rank_interval: expected one or more finite values, got {array.tolist()}")
    first, second = np.triu_indices(array.size)
    walsh = np.sort((array[first] + array[second]) / 2)
    value, critical = float(np.median(walsh)), critical_rank_sum(array.size, level)
    if critical is None:
        reason = f"needs {values_needed(level)} rounds, has {array.size}"
        return Interval(value=value, level=level, reason=reason)
    return Interval(value=value, low=float(walsh[critical]), high=float(walsh[-1 - critical]), level=level)


@lru_cache
def critical_u(m: int, n: int, level: float = 0.95) -> int | None:
    """Return the largest u with 2 P(U ≤ u) ≤ 1 − level for samples of m and n values; None when even 0 is too likely.

    U counts the pairs in which the first sample's value is the smaller. Of all ways to choose which ranks the
    first sample takes, those with U = u are the coefficients of the Gaussian binomial (Mann & Whitney 1947).
    """
    counts = [1]
    for i in range(1, m + 1):  # times (1 − q^(n + i)), over (1 − q^i)
        longer = counts + [0] * (n + i)
        product = [count - (longer[u - n - i] if u >= n + i else 0) for u, count in enumerate(longer)]
        counts = []
        for u, count in enumerate(product[: len(product) - i]):
            counts.append(count + (counts[u - i] if u >= i else 0))
    acceptable = (1 - level) / 2 * math.comb(m + n, m) * (1 + 1e-12)
    n_acceptable = sum(below <= acceptable for below in accumulate(counts))
    return n_acceptable - 1 if n_acceptable else None


def highest_level(m: int, n: int) -> float:
    """Return the highest level that samples of m and n values can carry: 1 − 2 / C(m + n, m)."""
    return 1 - 2 / math.comb(m + n, m) if m and n else 0.0


def rank_sum_interval(first: Sequence[float] | Floats, second: Sequence[float] | Floats, level: float) -> Interval:
    """Return how far the first sample lies above the second, with its Mann–Whitney interval.

    The value is the median of all differences between a value of the one and a value of the other. The ends are those
    of them that the test would just not reject (Hodges & Lehmann 1963; Hollander, Wolfe & Chicken 2014, sections 4.2
    and 4.3). Withheld where the samples cannot carry the level.
    """
    shifts = np.sort(np.subtract.outer(first, second), axis=None)
    value, critical = float(np.median(shifts)), critical_u(len(first), len(second), level)
    if critical is None:
        counts = f"{len(first)} against {len(second)} rounds"
        reason = f"{counts} carry no {100 * level:.3g} % interval; 4 against 4 are the fewest that do"
        return Interval(value=value, level=level, reason=reason)
    return Interval(value=value, low=float(shifts[critical]), high=float(shifts[-1 - critical]), level=level)


def samples_needed(p: float) -> int:
    """Return from how many samples on the largest exceeds percentile `p` with 95 % confidence: p95 59, p99 299."""
    return math.ceil(math.log(0.05) / math.log(p))


def percentile(samples_s: Sequence[float], p: float, *, n_effective: float = math.inf) -> Percentile:
    """Return the percentile `p` (0 < p < 1) of single calls with its 95 % order-statistic interval, or withheld.

    The interval runs between the order statistics whose ranks leave 2.5 % of the binomial on either side (David &
    Nagaraja 2003, section 7.1). Calls that follow each other are alike: `n_effective` is the number of independent
    calls that they are worth, and the ranks widen accordingly (Korn & Graubard 1998). An end that lies beyond the
    samples is None.
    """
    n, needs = len(samples_s), samples_needed(p)
    if n < needs:
        return Percentile(p=p, value=None, reason=f"needs {needs} single-call samples, has {n}")
    ordered = np.sort(np.asarray(samples_s, dtype=float))
    worth = max(1, math.floor(min(n, n_effective)))
    below = int(stats.binom.ppf(0.025, worth, p))
    above = int(stats.binom.ppf(0.975, worth, p)) + 1
    low = float(ordered[math.ceil(below * n / worth) - 1]) if below >= 1 else None
    high = float(ordered[math.ceil(above * n / worth) - 1]) if above <= worth else None
    reason = "" if low is not None and high is not None else "one end of the interval lies beyond the samples"
    return Percentile(p=p, value=float(np.quantile(ordered, p)), low=low, high=high, reason=reason)
