"""Estimate how often a model is right, and find the variants that no other one beats in latency and accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from inferbench_lib.findings import Interval


def accuracy(n_correct: int, n: int, level: float = 0.95) -> Interval:
    """Return the share of right answers with its Wilson score interval.

    The interval holds the shares that a score test would not reject (Wilson 1927). Unlike the Wald interval it keeps
    its level near 0 and 1 (Brown, Cai & DasGupta 2001). The `n` inputs must be different ones: a repeated input adds
    nothing. Raises ValueError unless 0 ≤ n_correct ≤ n and n ≥ 1.
    """
    if not 0 <= n_correct <= n or n < 1:
        raise ValueError(
            f"accuracy: expected 0 ≤ n_correct ≤ n and n ≥ 1, got {n_correct} of {n}; "
            "compare the classes of at least one input with their truth"
        )
    z, share = NormalDist().inv_cdf((1 + level) / 2), n_correct / n
    centre = share + z**2 / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = ((centre + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    # Rounding must not leave 0 or 1 outside of the interval of "none right" and "all right".
    return Interval(value=share, low=min(share, max(0.0, low)), high=max(share, min(1.0, high)), level=level)


def pareto(points: Sequence[tuple[float, float]]) -> tuple[bool, ...]:
    """Return which points of (latency, accuracy) are on the Pareto front: no other one beats them.

    A point beats another where its latency is no higher and its accuracy no lower, and one of the two is better.
    Equal points are on the front together.
    """
    return tuple(
        not any(s <= latency_s and right >= share and (s, right) != (latency_s, share) for s, right in points)
        for latency_s, share in points
    )
