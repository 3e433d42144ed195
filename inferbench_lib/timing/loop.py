"""The one timing loop, the rules that end it, and turns: rounds in an order drawn anew, so drift reaches all alike.

Warm-up, turns and blocks are this loop with other arguments.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, TypeVar

from inferbench_lib.timing.clock import Clock, WallClock

MINIMUM_ROUNDS = 2
CLOCK_COST_S = 1e-7
MOST_CALLS = 200
"""The most calls in a block that `in_rounds` sizes."""

Enough = Callable[[list[float]], bool]
Check = Callable[[Any, Any], None]
Name = TypeVar("Name")


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


def block_size(timer_cost_s: float, call_s: float, share: float = 1e-4) -> int:
    """Return the number of calls per sample that is needed for the timer's own cost to stay below `share` of it."""
    if call_s <= 0:
        return 1
    return max(1, -int(-timer_cost_s // (share * call_s)))


class Budget:
    """Seconds to spend, counted from its making."""

    def __init__(self, seconds: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s, self._end_s = now_s, now_s() + seconds

    @property
    def left_s(self) -> float:
        """Seconds that are left; negative once the budget is overspent."""
        return self._end_s - self._now_s()


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One thing to time: `prepare`, one untimed call if `is_warmed`, then a block of `block_size` timed calls."""

    key: Hashable
    call: Callable[[Any], Any]
    prepare: Callable[[], None] = lambda: None
    block_size: int = 1
    is_warmed: bool = True
    check: Check = lambda batch, output: None


def take_turns(names: Sequence[Name], seed: int = 0) -> Iterator[tuple[Name, ...]]:
    """Yield all names per round, without end, in an order drawn anew per round."""
    shuffler = random.Random(seed)
    while True:
        yield tuple(shuffler.sample(names, len(names)))


def interleave(
    probes: Sequence[Probe],
    *,
    budget_s: float,
    minimum_rounds: int = MINIMUM_ROUNDS,
    seed: int = 0,
    clock: Clock | None = None,
    now_s: Callable[[], float] = time.monotonic,
) -> dict[Hashable, list[float]]:
    """Return seconds per call of every probe, one value per round, from as many rounds as fit into `budget_s`.

    At least `minimum_rounds` run, whatever the budget. With 0, the first round keeps the given order, and probes that
    the budget does not reach have no entry.
    """
    clock = clock or WallClock()
    seconds: dict[Hashable, list[float]] = {probe.key: [] for probe in probes}
    budget, longest_round_s = Budget(budget_s, now_s), 0.0
    for n_rounds, order in enumerate(take_turns(probes, seed)):
        if not probes or (n_rounds >= max(1, minimum_rounds) and longest_round_s > budget.left_s):
            break
        round_started_s = now_s()
        for probe in order if minimum_rounds or n_rounds else probes:
            if not minimum_rounds and budget.left_s <= 0:
                return {key: values for key, values in seconds.items() if values}
            probe.prepare()
            if probe.is_warmed:
                probe.call(None)
            seconds[probe.key] += collect(
                probe.call,
                repeat(None),
                clock=clock,
                enough=after(1),
                check=probe.check,
                block_size=probe.block_size,
            )
        longest_round_s = max(longest_round_s, now_s() - round_started_s)
    return seconds


def in_rounds(
    probes: Sequence[Probe], *, n_rounds: int, seed: int = 0, clock: Clock | None = None
) -> dict[Hashable, list[float]]:
    """Return seconds per call of every probe, one value per round, after two untimed calls that size its block."""
    return interleave([*map(_sized, probes)], budget_s=0.0, minimum_rounds=n_rounds, seed=seed, clock=clock)


def _sized(probe: Probe) -> Probe:
    probe.call(None)
    started_s = time.perf_counter()
    probe.call(None)
    size = min(MOST_CALLS, block_size(CLOCK_COST_S, time.perf_counter() - started_s, share=5e-4))
    return replace(probe, block_size=size, is_warmed=False)
