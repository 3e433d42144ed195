"""The one timing loop, and the rules that end it. Warm-up, turns and blocks are this loop with other arguments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from inferbench_lib.timing.clock import Clock

Enough = Callable[[list[float]], bool]
Check = Callable[[Any, Any], None]


def collect(
    call: Callable[[Any], Any],
    batches: Iterator[Any],
    *,
    clock: Clock,
    enough: Enough,
    check: Check,
    block_size: int = 1,
) -> list[float]:
    """Time calls until `enough(samples)`; the seconds per call, one value per sample.

    A sample is `block_size` calls, each on the next batch; its seconds are divided by their number.
    `check(batch, output)` sees the last call of every sample, outside the timed region.
    """
    samples: list[float] = []
    while not enough(samples):
        block = [next(batches) for _ in range(block_size)]
        output = None
        clock.start()
        for batch in block:
            output = call(batch)
        seconds = clock.stop()
        samples.append(seconds / block_size)
        check(block[-1], output)
    return samples


def after(n_samples: int) -> Enough:
    """Stop after `n_samples`."""
    return lambda samples: len(samples) >= n_samples


def once_level(
    is_level: Callable[[list[float]], bool],
    *,
    min_samples: int,
    max_samples: int,
    time_limit_s: float,
    read_s: Callable[[], float] = time.monotonic,
) -> Enough:
    """Stop once the series is level: at least `min_samples`, at most `max_samples` or `time_limit_s`."""
    started_s = read_s()

    def enough(samples: list[float]) -> bool:
        if len(samples) < min_samples:
            return False
        return len(samples) >= max_samples or read_s() - started_s >= time_limit_s or is_level(samples)

    return enough


def block_size(timer_cost_s: float, call_s: float, share: float = 1e-4) -> int:
    """Return how many calls a sample must hold for the timer's own cost to stay below `share` of it."""
    if call_s <= 0:
        return 1
    return max(1, -int(-timer_cost_s // (share * call_s)))
