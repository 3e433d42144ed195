"""Benches that measure the harness itself; each runs in a process of its own, as every variant does."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict
from itertools import cycle
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from inferbench_lib.measure.benches import CellSeries, LoopBench
from inferbench_lib.records import Case, Measurement
from inferbench_lib.timing.harness import Overhead, overhead, spin_samples
from inferbench_lib.timing.loop import after, block_size, collect
from inferbench_lib.work.cnn import Cnn

if TYPE_CHECKING:
    from torch import Tensor

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


class CnnCalls(LoopBench):
    """The network on the CPU, one call per sample and nothing else in a turn."""

    def __init__(self, cnn: Cnn) -> None:
        import torch

        super().__init__()
        torch.set_num_threads(1)
        self._cnn, self._model = cnn, cnn.build()
        self._images, self._reference = cnn.images(), cnn.reference()

    def open(self, case: Case) -> CellSeries:
        n_images = len(self._images)
        picks = [(np.arange(case.batch_size) + start) % n_images for start in range(n_images)]
        batches = [self._images[pick].clone() for pick in picks]
        return CellSeries(
            case=case,
            call=lambda index: self._forward(batches[index]),
            batches=cycle(range(n_images)),
            agree=lambda index, output: self._cnn.agree(output.numpy(), self._reference[picks[index]]),
            inputs_per_call=case.batch_size,
        )

    def _forward(self, batch: Tensor) -> Tensor:
        import torch

        with torch.inference_mode():
            output: Tensor = self._model(batch)
        return output


class AgreementBench:
    """The same calls timed by our loop and by `torch.utils.benchmark.Timer`, taking turns in one process.

    A sample of either is the mean over as many calls, after as many untimed ones, on inputs drawn from one stream.
    """

    def __init__(self, make: Callable[[], LoopBench], case: Case, seed: int) -> None:
        from torch.utils.benchmark import Timer

        self._cell = make().open(case)
        self._random = random.Random(seed)
        self._torch_timer = Timer(
            stmt="call(next(batches))", globals={"call": self._cell.call, "batches": self._cell.batches}, num_threads=1
        )
        self._samples: dict[str, list[float]] = {"inferbench": [], "torch": []}

    def turn(self, n_calls: int) -> None:
        """Run one round: a sample of `n_calls` calls by either timer, in random order."""
        for timer in self._random.sample(list(self._samples), 2):
            seconds = self._by_our_loop(n_calls) if timer == "inferbench" else self._torch_timer.timeit(n_calls).mean
            self._samples[timer].append(seconds)

    def finish(self, n_calls: int) -> tuple[Measurement, ...]:
        """Return our row and torch's; wrong outputs make ours invalid."""
        self._cell.samples_s = self._samples["inferbench"]
        self._cell.round_sizes = [1] * len(self._cell.samples_s)
        ours = self._cell.measurement({})
        theirs = tuple(self._samples["torch"])
        return tuple(
            Measurement(
                case=ours.case,
                samples_s=samples_s,
                round_sizes=ours.round_sizes,
                calls_per_sample=n_calls,
                inputs_per_call=ours.inputs_per_call,
                notes={"timer": timer},
                verification=ours.verification,
                outcome=ours.outcome,
                reason=ours.reason,
            )
            for timer, samples_s in (("inferbench", ours.samples_s), ("torch", theirs))
        )

    def _by_our_loop(self, n_calls: int) -> float:
        cell = self._cell
        cell.collect(after(WARM_UP_CALLS))
        samples = collect(
            cell.call, cell.batches, clock=cell.clock, enough=after(1), check=cell.check, block_size=n_calls
        )
        return samples[0]
