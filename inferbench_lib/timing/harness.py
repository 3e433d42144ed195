"""Measure the cost of the clock and the loop themselves, against work whose true time is known.

Every function takes the counter that it reads, so that tests run on a fake one with exact expected values.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, repeat
from statistics import median

from inferbench_lib.timing.clock import ReadNs, WallClock
from inferbench_lib.timing.loop import after, collect

EDGE_SPIN_NS = 1000
"""Length of the spins that measure a spin's own cost: shorter than any spin that is compared with its true time."""


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """The harness's own costs, in nanoseconds.

    `timer_pair_ns` is the cost of two readings of the counter, `timer_step_ns` the counter's smallest step. `clock_ns`
    is the time that the clock reads around nothing. `loop_ns` is what the loop adds to that in every sample of one
    call. `between_ns` passes between two samples and is in neither. `spin_edge_ns` is the time of a spin beyond the
    time that it reports.
    """

    timer_pair_ns: float
    timer_step_ns: int
    clock_ns: float
    loop_ns: float
    between_ns: float
    spin_edge_ns: float


def overhead(read_ns: ReadNs = time.perf_counter_ns, n: int = 2000) -> Overhead:
    """Measure the harness once, with `n` repetitions per figure, in a few milliseconds."""
    clock = WallClock(read_ns)
    around_nothing_s = []
    for _ in range(n):
        clock.start()
        around_nothing_s.append(clock.stop())
    clock_ns = 1e9 * median(around_nothing_s)
    started_ns = read_ns()
    samples_s = collect(_nothing, repeat(0), clock=clock, enough=after(n), check=lambda *_: None)
    whole_ns = read_ns() - started_ns
    readings = [read_ns() for _ in range(n)]
    return Overhead(
        timer_pair_ns=timer_pair_ns(read_ns, n),
        timer_step_ns=min((later - one for one, later in pairwise(readings) if later > one), default=0),
        clock_ns=clock_ns,
        loop_ns=1e9 * median(samples_s) - clock_ns,
        between_ns=(whole_ns - 1e9 * sum(samples_s)) / n,
        spin_edge_ns=_spin_edge_ns(read_ns, n),
    )


def timer_pair_ns(read_ns: ReadNs = time.perf_counter_ns, n: int = 2000) -> float:
    """Return the nanoseconds of two readings of the counter: the cost of timing a sample."""
    started_ns = read_ns()
    for _ in range(n):
        read_ns()
        read_ns()
    return (read_ns() - started_ns) / n


class DeadlineSpin:
    """Work that ends when the counter passes a deadline, and reports its true time."""

    def __init__(self, read_ns: ReadNs = time.perf_counter_ns) -> None:
        self._read_ns = read_ns
        self._said_ns = 0

    def spin(self, duration_ns: int) -> None:
        """Spin until `duration_ns` after the first reading of the counter."""
        read_ns = self._read_ns
        started_ns = read_ns()
        deadline_ns = started_ns + duration_ns
        while (reached_ns := read_ns()) < deadline_ns:
            pass
        self._said_ns += reached_ns - started_ns

    def take_ns(self) -> int:
        """Return the nanoseconds between first and last reading, summed over the spins since the last call."""
        said_ns, self._said_ns = self._said_ns, 0
        return said_ns


def spin_samples(
    duration_ns: int, *, n_samples: int, calls_per_sample: int, read_ns: ReadNs = time.perf_counter_ns
) -> tuple[list[float], list[float]]:
    """Return seconds per spin, one value per sample: by the loop and the wall clock, and as the spins report."""
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
    """Return the time of short spins in a plain loop, less the time that they report and less empty calls.

    Spins of zero length would not do: a CPU that never enters the loop does not mispredict the branch at its end.
    """
    work = DeadlineSpin(read_ns)
    whole_ns = _plain_loop_ns(work.spin, read_ns, n)
    return (whole_ns - work.take_ns() - _plain_loop_ns(_nothing, read_ns, n)) / n


def _plain_loop_ns(call: Callable[[int], None], read_ns: ReadNs, n: int) -> int:
    started_ns = read_ns()
    for _ in range(n):
        call(EDGE_SPIN_NS)
    return read_ns() - started_ns


def _nothing(_: int) -> None:
    return None
