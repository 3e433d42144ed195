"""Measure a set of calls in a pass of its own, beside the rounds of whole workloads."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from inferbench_lib.timing.clock import Clock
from inferbench_lib.timing.loop import Probe, interleave

SHORTEST_BLOCK_S = 2e-4
"""A block of calls takes at least this long, so that the clock's own cost, about 100 ns, stays below 0.1 %."""
MOST_CALLS = 200


def in_rounds(
    calls: Mapping[str, Callable[[], Any]], *, n_rounds: int, seed: int = 0, clock: Clock | None = None
) -> dict[str, list[float]]:
    """Return seconds per call of every call, one value per round, after two untimed calls that size its block."""
    probes = [_probe(name, call) for name, call in calls.items()]
    seconds = interleave(probes, budget_s=0.0, minimum_rounds=n_rounds, seed=seed, clock=clock)
    return {name: seconds[name] for name in calls}


def _probe(name: str, call: Callable[[], Any]) -> Probe:
    return Probe(key=name, call=lambda _: call(), block_size=_block_size(call), is_warmed=False)


def _block_size(call: Callable[[], Any]) -> int:
    call()
    started_s = time.perf_counter()
    call()
    return block_size_for(time.perf_counter() - started_s)


def block_size_for(call_s: float) -> int:
    """Return how many calls a block needs to last `SHORTEST_BLOCK_S`; at most `MOST_CALLS`."""
    return max(1, min(MOST_CALLS, math.ceil(SHORTEST_BLOCK_S / max(call_s, 1e-9))))
