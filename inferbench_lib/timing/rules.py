"""When a series is long enough: rules for the loop's `enough`."""

from __future__ import annotations

import time
from collections.abc import Callable

from inferbench_lib.timing.loop import Enough


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
    """Calls a sample must hold for the timer's own cost to stay below `share` of it."""
    if call_s <= 0:
        return 1
    return max(1, -int(-timer_cost_s // (share * call_s)))
