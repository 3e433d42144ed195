"""One measured limit, and how limits are measured: every probe once a round, rounds in random order.

A ceiling is the best of its repeats, because what disturbs a repeat can only slow it down; the worst repeat stands
beside it as the spread. A cost is the median of its repeats between the lowest and the highest.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

from inferbench_lib.timing.clock import Clock, WallClock
from inferbench_lib.timing.loop import Check, collect

MINIMUM_ROUNDS = 2


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What this machine reaches or pays, `low` and `high` over the repeats, and how it was found."""

    value: float
    low: float
    high: float
    unit: str
    method: str
    repeats: int


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One thing to time: `prepare`, one untimed call if `is_warmed`, then a block of `block_size` timed calls."""

    key: Hashable
    call: Callable[[Any], Any]
    prepare: Callable[[], None] = lambda: None
    block_size: int = 1
    is_warmed: bool = True
    check: Check = lambda batch, output: None


def ceiling(seconds: Sequence[float], amount: float, *, unit: str, method: str) -> Limit:
    """The highest rate: `amount` of work over the shortest time."""
    rates = [amount / one for one in seconds]
    return Limit(value=max(rates), low=min(rates), high=max(rates), unit=unit, method=method, repeats=len(rates))


def cost(seconds: Sequence[float], *, method: str) -> Limit:
    """The median time, in seconds."""
    return Limit(
        value=statistics.median(seconds),
        low=min(seconds),
        high=max(seconds),
        unit="s",
        method=method,
        repeats=len(seconds),
    )


def least(seconds: Sequence[float], *, method: str) -> Limit:
    """The shortest time, in seconds: for what the machine can do, where all that disturbs it adds to the time."""
    return replace(cost(seconds, method=method), value=min(seconds))


def interleave(
    probes: Sequence[Probe],
    *,
    budget_s: float,
    minimum_rounds: int = MINIMUM_ROUNDS,
    seed: int = 0,
    clock: Clock | None = None,
    now_s: Callable[[], float] = time.monotonic,
) -> dict[Hashable, list[float]]:
    """Seconds per call of every probe, one value a round, as many rounds as fit into `budget_s`.

    At least `minimum_rounds` are run whatever the budget. With none, the first round runs the probes as they are
    given, the dearest to the reader first, and those that the budget does not reach have no value.
    """
    clock = clock or WallClock()
    order, shuffle = list(probes), random.Random(seed).shuffle
    seconds: dict[Hashable, list[float]] = {probe.key: [] for probe in probes}
    started_s, n_rounds, longest_round_s = now_s(), 0, 0.0
    while probes and (n_rounds < max(1, minimum_rounds) or now_s() - started_s + longest_round_s <= budget_s):
        round_started_s = now_s()
        if minimum_rounds or n_rounds:
            shuffle(order)
        for probe in order:
            if not minimum_rounds and now_s() - started_s >= budget_s:
                return {key: values for key, values in seconds.items() if values}
            probe.prepare()
            if probe.is_warmed:
                probe.call(None)
            seconds[probe.key] += collect(
                probe.call,
                repeat(None),
                clock=clock,
                enough=_one_sample,
                check=probe.check,
                block_size=probe.block_size,
            )
        n_rounds, longest_round_s = n_rounds + 1, max(longest_round_s, now_s() - round_started_s)
    return seconds


def _one_sample(samples: list[float]) -> bool:
    return len(samples) == 1
