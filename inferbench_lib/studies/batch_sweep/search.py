"""Choose batch sizes near a limit on latency, and how often each is called."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from inferbench_lib.stats.intervals import samples_needed

TOLERANCE = 0.05
"""The throughput below the best one's that a batch may have at the knee; less is not worth another batch size."""
TURN_S = 0.1
"""Seconds of a turn that holds more calls than its percentile needs."""
MOST_CALLS = 40
NEAR = 1.25
"""A batch is called often enough for its percentile up to this multiple of the limit on latency."""
N_KEPT = 2
"""Batch sizes that are kept of those tried near the limit: the largest, and one in case of a slow tail."""
AFFORDABLE = 0.25
"""The share of the time limit that the calls of one batch may take for its percentile."""


def tried(
    batch_sizes: Sequence[int], limit_s: float | None, seconds_of: Callable[[int], float | None]
) -> dict[int, float]:
    """Try ascending batch sizes and, with a limit on latency, others near it; return the seconds per call of each.

    Sizes beyond the first slow one need no trial: they are called once per turn anyway. Of the others near the limit
    the `N_KEPT` largest within it are kept.
    """
    seconds: dict[int, float] = {}
    for size in batch_sizes:
        of_call = seconds_of(size)
        if of_call is None:
            break
        seconds[size] = of_call
        if of_call > max(TURN_S, limit_s or 0.0):
            break
    if limit_s is None:
        return seconds
    others = bisected(seconds, limit_s, seconds_of)
    kept = sorted(size for size, of_call in others.items() if of_call <= limit_s)[-N_KEPT:]
    return seconds | {size: others[size] for size in kept}


def bisected(
    seconds: Mapping[int, float], limit_s: float, seconds_of: Callable[[int], float | None]
) -> dict[int, float]:
    """Try batch sizes between the largest within the limit and the next larger one; return their seconds per call.

    Bisect on the logarithmic scale, to two digits, until the larger one's throughput is hardly higher. `seconds` per
    call are known of some sizes; `seconds_of` tries another one and returns None where that fails.
    """
    tried: dict[int, float] = {}
    while True:
        known = {**seconds, **tried}
        low = max((size for size, of_call in known.items() if of_call <= limit_s), default=0)
        high = min((size for size in known if size > low), default=0)
        if not low or not high or high / known[high] <= (1 + TOLERANCE) * low / known[low]:
            return tried
        size = int(float(f"{math.sqrt(low * high):.2g}"))
        of_call = seconds_of(size) if low < size < high else None
        if of_call is None:
            return tried
        tried[size] = of_call


def calls_a_turn(
    seconds: float | None, *, limit_s: float | None, percentile: float, min_rounds: int, time_limit_s: float
) -> int:
    """Return the calls of one turn, for a batch whose seconds per call are known or not.

    Fast calls fill `TURN_S`. A batch near or within the limit on latency has at least those that its percentile needs
    over `min_rounds`, as far as they take no more than their share of the time limit.
    """
    if seconds is None:
        return 1
    filling = max(1, min(MOST_CALLS, int(TURN_S / seconds)))
    needed = math.ceil(samples_needed(percentile) / min_rounds)
    is_near = limit_s is not None and seconds <= NEAR * limit_s
    is_affordable = needed * min_rounds * seconds <= AFFORDABLE * time_limit_s
    return max(filling, needed) if is_near and is_affordable else filling
