"""Benches that measure the harness itself; each runs in a process of its own, as every variant does."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from statistics import median
from typing import TYPE_CHECKING

from inferbench_lib.measure.source import Source
from inferbench_lib.records import Case, Measurement
from inferbench_lib.timing.cell import Cell
from inferbench_lib.timing.clock import WallClock
from inferbench_lib.timing.harness import Overhead, overhead, spin_samples
from inferbench_lib.timing.loop import after, block_size, collect

if TYPE_CHECKING:
    pass

DURATIONS_NS = {"5us": 5_000, "50us": 50_000, "500us": 500_000, "5ms": 5_000_000}
"""True times of the spins, by the name of their bias."""
SPINS_A_TURN = 20
WARM_UP_CALLS = 2
"""Calls before each sample of either timer: as many as torch's timer makes for so few timed calls."""


class HarnessBench:
    """Loop around work of known time: single calls, and blocks as large as the timer's cost asks for."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._overheads = [overhead() for _ in range(3)]
        timer_cost_s = median(seen.timer_pair_ns for seen in self._overheads) / 1e9
        self._rows: dict[tuple[str, int], tuple[list[float], list[float], list[int]]] = {}
        for label, duration_ns in DURATIONS_NS.items():
            for calls in sorted({block_size(timer_cost_s, duration_ns / 1e9), 1}, reverse=True):
                self._rows[label, calls] = ([], [], [])

    def turn(self) -> None:
        """Run one round: measure the overheads, then every duration once, in random order."""
        self._overheads.append(overhead())
        for label, calls in self._random.sample(list(self._rows), len(self._rows)):
            samples_s, said_s = spin_samples(DURATIONS_NS[label], n_samples=SPINS_A_TURN, calls_per_sample=calls)
            row = self._rows[label, calls]
            row[0].extend(samples_s)
            row[1].extend(said_s)
            row[2].append(len(samples_s))

    def finish(self) -> tuple[tuple[Measurement, ...], dict[str, list[float]]]:
        """Return a row for each duration and block size, with `said_s` beside its samples, and all overheads."""
        rows = tuple(
            Measurement(
                case=Case(workload="spin", engine=label, batch_size=1),
                samples_s=tuple(samples_s),
                round_sizes=tuple(sizes),
                calls_per_sample=calls,
                series={"said_s": tuple(said_s)},
                figures={"duration_s": DURATIONS_NS[label] / 1e9},
            )
            for (label, calls), (samples_s, said_s, sizes) in self._rows.items()
        )
        looks = [asdict(seen) for seen in self._overheads]
        return rows, {name: [look[name] for look in looks] for name in Overhead.__dataclass_fields__}


class AgreementBench:
    """The same calls timed by our loop and by `torch.utils.benchmark.Timer`, taking turns in one process.

    A sample of either is the mean over as many calls, after as many untimed ones, on inputs drawn from one stream.
    """

    def __init__(self, source: Source, case: Case, seed: int) -> None:
        from torch.utils.benchmark import Timer

        source.load()
        runner, inputs = source.runner(case), source.inputs(case)
        runner.activate()
        self._cell = Cell(case=case)
        self._call = lambda keyed: runner.run(keyed[1])
        self._check = lambda keyed, output: self._cell.verify(inputs.check(keyed[0], runner.fetch(output)))
        self._batches = ((key, runner.place(batch)) for key, batch in inputs.full)
        self._random = random.Random(seed)
        self._torch_timer = Timer(
            stmt="call(next(batches))", globals={"call": self._call, "batches": self._batches}, num_threads=1
        )
        self._samples: dict[str, list[float]] = {"inferbench": [], "torch": []}

    def turn(self, n_calls: int) -> None:
        """Run one round: a sample of `n_calls` calls by either timer, in random order."""
        for timer in self._random.sample(list(self._samples), 2):
            seconds = self._by_our_loop(n_calls) if timer == "inferbench" else self._torch_timer.timeit(n_calls).mean
            self._samples[timer].append(seconds)

    def finish(self, n_calls: int) -> tuple[Measurement, ...]:
        """Return our row and torch's; wrong outputs make both invalid."""
        seen = self._cell.measurement({}, {})
        return tuple(
            replace(
                seen,
                samples_s=tuple(samples_s),
                round_sizes=(1,) * len(samples_s),
                calls_per_sample=n_calls,
                notes={"timer": timer},
            )
            for timer, samples_s in self._samples.items()
        )

    def _by_our_loop(self, n_calls: int) -> float:
        clock = WallClock()
        for enough, block in ((after(WARM_UP_CALLS), 1), (after(1), n_calls)):
            samples = collect(
                self._call, self._batches, clock=clock, enough=enough, check=self._check, block_size=block
            )
        return samples[0]
