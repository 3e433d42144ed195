"""Benches that measure the harness itself; each runs in a process of its own, as every variant does."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from statistics import median

from inferbench_lib.measure.source import Source
from inferbench_lib.records import Case, Measurement
from inferbench_lib.timing.cell import Cell
from inferbench_lib.timing.clock import WallClock
from inferbench_lib.timing.harness import Overhead, overhead, spin_samples
from inferbench_lib.timing.loop import after, block_size, collect

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
        self._cells = {
            (label, calls): Cell(
                case=Case(workload="spin", engine=label, batch_size=1), figures={"duration_s": duration_ns / 1e9}
            )
            for label, duration_ns in DURATIONS_NS.items()
            for calls in sorted({block_size(timer_cost_s, duration_ns / 1e9), 1}, reverse=True)
        }

    def turn(self) -> None:
        """Run one round: measure the overheads, then every duration once, in random order."""
        self._overheads.append(overhead())
        for (label, calls), cell in self._random.sample(list(self._cells.items()), len(self._cells)):
            samples_s, said_s = spin_samples(DURATIONS_NS[label], n_samples=SPINS_A_TURN, calls_per_sample=calls)
            cell.samples_s += samples_s
            cell.series["said_s"] += said_s
            cell.round_sizes.append(len(samples_s))

    def finish(self) -> tuple[tuple[Measurement, ...], dict[str, list[float]]]:
        """Return a row for each duration and block size, with `said_s` beside its samples, and all overheads."""
        rows = tuple(
            replace(cell.measurement({}, {}), calls_per_sample=calls) for (_, calls), cell in self._cells.items()
        )
        looks = [asdict(seen) for seen in self._overheads]
        return rows, {name: [look[name] for look in looks] for name in Overhead.__dataclass_fields__}


class AgreementBench:
    """The same calls timed by our loop and by `torch.utils.benchmark.Timer`, taking turns in one process.

    A sample of either is the mean over `n_calls`, after as many untimed ones, on inputs drawn from one stream.
    """

    def __init__(self, source: Source, case: Case, seed: int, n_calls: int) -> None:
        from torch.utils.benchmark import Timer

        source.load()
        runner, inputs = source.runner(case), source.inputs(case)
        runner.activate()
        self._n_calls = n_calls
        self._cell = Cell(case=case)
        self._call = lambda keyed: runner.run(keyed[1])
        self._check = lambda keyed, output: self._cell.verify(inputs.check(keyed[0], runner.fetch(output)))
        self._batches = ((key, runner.place(batch)) for key, batch in inputs.batches)
        self._random = random.Random(seed)
        self._torch_timer = Timer(
            stmt="call(next(batches))", globals={"call": self._call, "batches": self._batches}, num_threads=1
        )
        self._samples_s: dict[str, list[float]] = {"inferbench": [], "torch": []}

    def turn(self) -> None:
        """Run one round: one sample by either timer, in random order."""
        for timer in self._random.sample(list(self._samples_s), 2):
            by_torch = timer == "torch"
            seconds = self._torch_timer.timeit(self._n_calls).mean if by_torch else self._by_our_loop()
            self._samples_s[timer].append(seconds)

    def finish(self) -> tuple[Measurement, ...]:
        """Return our row and torch's; wrong outputs make both invalid."""
        seen = replace(self._cell.measurement({}, {}), calls_per_sample=self._n_calls)
        return tuple(
            replace(seen, samples_s=tuple(samples_s), round_sizes=(1,) * len(samples_s), notes={"timer": timer})
            for timer, samples_s in self._samples_s.items()
        )

    def _by_our_loop(self) -> float:
        for n_samples, block in ((WARM_UP_CALLS, 1), (1, self._n_calls)):
            samples_s = collect(
                self._call, self._batches, clock=WallClock(), enough=after(n_samples), check=self._check,
                block_size=block,
            )  # fmt: skip
        return samples_s[0]
