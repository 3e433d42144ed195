"""How two independent runs differ: a ratio with an interval, from rounds that have nothing in common.

Rounds of two runs are no pairs: the runs were made at different times. They are two independent samples, and the
interval of their ratio is the one that belongs to the Mann–Whitney test, on the logarithms of the round medians:
exact at any number of rounds, and untouched by the size of an outlying one. It asks that both samples have the same
shape; with about as many rounds on either side it stands a difference in spread (Fagerland & Sandvik 2009).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import stats

from inferbench_lib.records import Interval

MIN_EFFECT = 0.03
"""Between two runs nothing cancels: a difference whose interval reaches below this share is none."""


@lru_cache
def critical_count(m: int, n: int, level: float = 0.95) -> int | None:
    """Largest u with 2 P(U ≤ u) ≤ 1 − level for samples of m and n values; None when even u = 0 is too likely.

    U counts the pairs in which the first sample's value is the smaller. Of all ways to choose which ranks the
    first sample takes, those with U = u are the coefficients of the Gaussian binomial (Mann & Whitney 1947).
    """
    counts = [1]
    for i in range(1, m + 1):
        counts = _times_one_minus(counts, n + i)
        counts = _over_one_minus(counts, i)
    acceptable = (1 - level) / 2 * math.comb(m + n, m) * (1 + 1e-12)
    below, critical = 0, -1
    for u, count in enumerate(counts):
        below += count
        if below > acceptable:
            break
        critical = u
    return critical if critical >= 0 else None


def _times_one_minus(counts: list[int], power: int) -> list[int]:
    """The polynomial times (1 − q^power)."""
    longer = counts + [0] * power
    return [count - (longer[u - power] if u >= power else 0) for u, count in enumerate(longer)]


def _over_one_minus(counts: list[int], power: int) -> list[int]:
    """The polynomial over (1 − q^power), which divides it."""
    quotient: list[int] = []
    for u, count in enumerate(counts[: len(counts) - power]):
        quotient.append(count + (quotient[u - power] if u >= power else 0))
    return quotient


def highest_level(m: int, n: int) -> float:
    """The highest level that samples of m and n values can carry: 1 − 2 / C(m + n, m)."""
    return 1 - 2 / math.comb(m + n, m) if m and n else 0.0


def ratio_interval(numerator: Sequence[float], denominator: Sequence[float], level: float = 0.95) -> Interval:
    """The ratio of the centres of two independent samples (above 0), with its Mann–Whitney interval.

    The value is the median of all ratios of a value of the one to a value of the other, the ends are those of them that
    the test would just not reject (Hodges & Lehmann 1963; Hollander, Wolfe & Chicken 2014, sections 4.2 and 4.3).
    Withheld where the samples cannot carry the level. Raises ValueError for an empty sample or a value not above 0.
    """
    if not numerator or not denominator or not min(*numerator, *denominator) > 0:
        raise ValueError(
            f"ratio_interval: expected two samples of values above 0, got {list(numerator)} and {list(denominator)}"
        )
    m, n = len(numerator), len(denominator)
    shifts = np.sort(np.subtract.outer(np.log(numerator), np.log(denominator)), axis=None)
    value = math.exp(float(np.median(shifts)))
    critical = critical_count(m, n, level)
    if critical is None:
        reason = f"{m} against {n} rounds carry no {100 * level:.3g} % interval; 4 against 4 are the fewest that do"
        return Interval(value=value, level=level, reason=reason)
    low, high = float(shifts[critical]), float(shifts[-1 - critical])
    return Interval(value=value, low=math.exp(low), high=math.exp(high), level=level)


def ratio_of_intervals(numerator: Interval, denominator: Interval, level: float = 0.95) -> Interval:
    """The ratio of two independent estimates (above 0), each known with a 95 % interval that holds it.

    The ends lie as far from the ratio as the squares of both intervals' arms, on the logarithmic scale, add up to: the
    method of variance estimates recovery (Zou & Donner 2008, "Construction of confidence limits about effect
    measures: a general approach"). For another level the arms are stretched as those of a normal estimate.
    Withheld where an interval is missing or reaches 0. Raises ValueError for a value not above 0.
    """
    if not min(numerator.value, denominator.value) > 0:
        raise ValueError(f"ratio_of_intervals: expected values above 0, got {numerator.value} and {denominator.value}")
    centre = math.log(numerator.value / denominator.value)
    arms = [_log_arms(one) for one in (numerator, denominator)]
    if arms[0] is None or arms[1] is None:
        return Interval(value=math.exp(centre), level=level, reason="one of the runs gives it no interval")
    stretch = float(stats.norm.ppf((1 + level) / 2) / stats.norm.ppf(0.975))
    down = stretch * math.hypot(arms[0][0], arms[1][1])
    up = stretch * math.hypot(arms[0][1], arms[1][0])
    return Interval(value=math.exp(centre), low=math.exp(centre - down), high=math.exp(centre + up), level=level)


def _log_arms(one: Interval) -> tuple[float, float] | None:
    """How far an estimate's ends lie below and above it, on the logarithmic scale; None without them."""
    if one.low is None or one.high is None or not 0 < one.low <= one.value <= one.high:
        return None
    return math.log(one.value / one.low), math.log(one.high / one.value)
