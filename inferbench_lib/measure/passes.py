"""Passes of their own, beside the rounds of whole workloads: every call of a set, once a round, in random order."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from itertools import repeat
from typing import Any

from inferbench_lib.timing.clock import Clock, WallClock
from inferbench_lib.timing.loop import after, collect

SHORTEST_BLOCK_S = 2e-4
"""A block of calls takes at least this long, so that the clock's own cost, about 100 ns, stays below 0.1 %."""
MOST_CALLS = 200


def in_rounds(
    calls: Mapping[str, Callable[[], Any]], *, n_rounds: int, seed: int = 0, clock: Clock | None = None
) -> dict[str, list[float]]:
    """Seconds per call of every call, one value a round, after two untimed ones that warm up and size its block."""
    clock = clock or WallClock()
    blocks = {name: _block_size(call) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    shuffler = random.Random(seed)
    for _ in range(n_rounds):
        for name in shuffler.sample(list(calls), len(calls)):
            seconds[name] += collect(
                lambda call: call(),
                repeat(calls[name]),
                clock=clock,
                enough=after(1),
                check=lambda *_: None,
                block_size=blocks[name],
            )
    return seconds


def _block_size(call: Callable[[], Any]) -> int:
    call()
    started_s = time.perf_counter()
    call()
    return block_size_for(time.perf_counter() - started_s)


def block_size_for(call_s: float) -> int:
    """Calls in a block, so that it lasts `SHORTEST_BLOCK_S`; at most `MOST_CALLS`."""
    return max(1, min(MOST_CALLS, math.ceil(SHORTEST_BLOCK_S / max(call_s, 1e-9))))
