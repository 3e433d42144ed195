"""What the clock and the loop cost themselves, and work whose true time is known to hold them against.

Everything takes the counter it reads, so that all of it runs on a fake one with exact expected values.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, repeat
from statistics import median

from inferbench_lib.timing.clock import WallClock
from inferbench_lib.timing.loop import after, collect

ReadNs = Callable[[], int]

EDGE_SPIN_NS = 1000
"""Spins of this length tell what a spin takes beyond what it says: shorter than any that is timed against the truth."""


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """What one look at the harness saw, in nanoseconds.

    `timer_pair_ns` is what two readings of the counter take, `timer_step_ns` its smallest step. `clock_ns` is what
    the clock reads around nothing at all, `loop_ns` what the loop adds to that in every sample of one call,
    `between_ns` what passes between two samples and is in none. `spin_edge_ns` is what a spin takes beyond what it
    says of itself.
    """

    timer_pair_ns: float
    timer_step_ns: int
    clock_ns: float
    loop_ns: float
    between_ns: float
    spin_edge_ns: float


def overhead(read_ns: ReadNs = time.perf_counter_ns, n: int = 2000) -> Overhead:
    """Look at the harness once, with `n` repetitions of each thing. A few milliseconds."""
    clock = WallClock(read_ns)
    clock_ns = median(_around_nothing_ns(clock) for _ in range(n))
    started_ns = read_ns()
    samples_s = collect(_nothing, repeat(0), clock=clock, enough=after(n), check=_ignore)
    whole_ns = read_ns() - started_ns
    return Overhead(
        timer_pair_ns=timer_pair_ns(read_ns, n),
        timer_step_ns=min((step for step in _steps(read_ns, n) if step > 0), default=0),
        clock_ns=clock_ns,
        loop_ns=1e9 * median(samples_s) - clock_ns,
        between_ns=(whole_ns - 1e9 * sum(samples_s)) / n,
        spin_edge_ns=_spin_edge_ns(read_ns, n),
    )


def timer_pair_ns(read_ns: ReadNs = time.perf_counter_ns, n: int = 2000) -> float:
    """Nanoseconds that two readings of the counter take together: what a sample pays for being timed."""
    started_ns = read_ns()
    for _ in range(n):
        read_ns()
        read_ns()
    return (read_ns() - started_ns) / n


class DeadlineSpin:
    """Work that ends when the counter passes a deadline, and knows how far past: its true time is known."""

    def __init__(self, read_ns: ReadNs = time.perf_counter_ns) -> None:
        self._read_ns = read_ns
        self._said_ns = 0

    def spin(self, duration_ns: int) -> None:
        """Be busy until `duration_ns` after the first reading of the counter."""
        read_ns = self._read_ns
        started_ns = read_ns()
        deadline_ns = started_ns + duration_ns
        while (reached_ns := read_ns()) < deadline_ns:
            pass
        self._said_ns += reached_ns - started_ns

    def take_ns(self) -> int:
        """Nanoseconds between the first and the last reading of every spin since this was last asked."""
        said_ns, self._said_ns = self._said_ns, 0
        return said_ns


def spin_samples(
    duration_ns: int, *, n_samples: int, calls_per_sample: int, read_ns: ReadNs = time.perf_counter_ns
) -> tuple[list[float], list[float]]:
    """Seconds per spin by the loop and the wall clock, one value a sample, and what the spins said of themselves."""
    work = DeadlineSpin(read_ns)
    said_s: list[float] = []
    samples_s = collect(
        work.spin,
        repeat(duration_ns),
        clock=WallClock(read_ns),
        enough=after(n_samples),
        check=lambda *_: said_s.append(work.take_ns() / calls_per_sample / 1e9),
        block_size=calls_per_sample,
    )
    return samples_s, said_s


def _spin_edge_ns(read_ns: ReadNs, n: int) -> float:
    """Short spins in a plain loop, not the one under test: their time less what they say of it and less empty calls.

    Not spins of no length at all: a processor leaves a loop that it did not enter without the branch it mispredicts.
    """
    work = DeadlineSpin(read_ns)
    whole_ns = _plain_loop_ns(work.spin, read_ns, n)
    return (whole_ns - work.take_ns() - _plain_loop_ns(_nothing, read_ns, n)) / n


def _plain_loop_ns(call: Callable[[int], None], read_ns: ReadNs, n: int) -> int:
    started_ns = read_ns()
    for _ in range(n):
        call(EDGE_SPIN_NS)
    return read_ns() - started_ns


def _steps(read_ns: ReadNs, n: int) -> list[int]:
    readings = [read_ns() for _ in range(n)]
    return [later - earlier for earlier, later in pairwise(readings)]


def _around_nothing_ns(clock: WallClock) -> float:
    clock.start()
    return 1e9 * clock.stop()


def _nothing(_: int) -> None:
    return None


def _ignore(_: int, output: None) -> None:
    return None
