"""Take turns: time every probe once per round, in an order drawn anew per round, so that drift reaches all alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeVar

from inferbench_lib.timing.clock import Clock, WallClock
from inferbench_lib.timing.loop import Check, after, collect

MINIMUM_ROUNDS = 2

Name = TypeVar("Name")


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
