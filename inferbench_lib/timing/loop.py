"""The one timing loop. Warm-up, measured turns and blocks are this loop with other arguments."""

from __future__ import annotations

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
    """Seconds per call, one value a sample, until `enough(samples)`.

    A sample is `block_size` calls, each on the next batch of `batches`; its seconds are divided by
    their number. `check(batch, output)` sees the last call of every sample, outside the timed region.
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
