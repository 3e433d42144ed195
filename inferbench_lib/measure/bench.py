"""The bench: it prepares cells, takes their turns and returns what it saw. One bench per process.

A source says what is measured: how it starts, and each cell's runner and inputs. Every output is compared with its
reference outside the timed region, and inputs differ from sample to sample.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice
from typing import Any

from inferbench_lib.errors import MeasurementError, OutOfMemory
from inferbench_lib.measure import device_passes
from inferbench_lib.measure.source import Source, WarmUp
from inferbench_lib.records import Case, Measurement, Outcome
from inferbench_lib.timing.accelerator import device_failure, wall_clock
from inferbench_lib.timing.cell import Cell, Ending, Inputs, Keyed
from inferbench_lib.timing.clock import Clock, UsageClock
from inferbench_lib.timing.loop import Enough, after, collect
from inferbench_lib.work.base import Runner

N_PLACED = 3
"""Batches that lie on a device during a turn; on the CPU each call takes a new one."""


@dataclass(kw_only=True)
class _Open:
    """A cell with what it runs on; the runner is there from the warm-up on."""

    cell: Cell
    inputs: Inputs
    runner: Runner = field(init=False)


class Bench:
    """The cells of one source, in the process that made it.

    A batch that does not fit, or a lost device, ends its cell and frees its memory. `prepare` and `turn` then raise
    OutOfMemory or MeasurementError; `finish` still returns the cell's row. A wrong output makes the row invalid.
    """

    _clock: UsageClock  # there from start on

    def __init__(self, source: Source, *, memory_cap_bytes: int | None = None) -> None:
        self.source = source
        self._memory_cap_bytes = memory_cap_bytes
        self._open: dict[Case, _Open] = {}
        self._startup_s: dict[str, float] = {}
        self._ending: Ending | None = None

    def start(self) -> dict[str, float]:
        """Import the library, load the model, open the device and bring the model there; the seconds of each part.

        A model that does not fit ends every cell of this bench.
        """
        self._startup_s |= self.source.imports()
        self._accelerator = self.source.accelerator
        self._ending = self._attempt(self._cold_start)
        return self._startup_s

    def prepare(self, case: Case, warmup: WarmUp) -> tuple[float, ...]:
        """Make the first call, then warm up every shape until it is level; the seconds per call of the warm-up."""
        cell = Cell(case=case, inputs_per_call=self.source.inputs_per_call(case))
        opened = self._open[case] = _Open(cell=cell, inputs=self.source.inputs(case))
        self._do(opened, lambda: self._warm_up(opened, warmup))
        return tuple(cell.warmup_s)

    def turn(self, case: Case, n_samples: int) -> tuple[float, ...]:
        """Take one round of a cell: `n_samples` single calls, and on a device throughput, transfers, end to end.

        Returns the seconds of the single calls.
        """
        opened = self._open[case]
        self._do(opened, lambda: self._measure(opened, n_samples))
        return tuple(opened.cell.samples_s[-n_samples:])

    def run(self, case: Case, n_calls: int) -> None:
        """Make calls that nobody times, for the memory pass."""
        opened = self._open[case]

        def call() -> None:
            opened.runner(next(opened.inputs.batches)[1])

        self._do(opened, lambda: self.source.run_untimed(case, call, n_calls))

    def agreement(self, case: Case) -> Mapping[str, float]:
        """Compare the outputs for all inputs with the reference's."""
        return self.source.agreement(case)

    def finish(self, case: Case) -> Measurement:
        """Measure a device's memory, which empties its caches, and return everything seen of the cell."""
        opened = self._open[case]
        cell = opened.cell
        if "runner" in vars(opened) and cell.ending is None and self._accelerator.backend.memory_statistics:
            keyed = next(opened.inputs.batches)
            measure = partial(device_passes.memory, cell, self._accelerator, opened.runner, keyed[1])
            cell.ending = self._attempt(lambda: self._check(opened, keyed, measure()))
        if "enqueue_s" in cell.series:
            cell.figures["launch_bound_share"] = device_passes.launch_bound_share(cell)
        if self._memory_cap_bytes is not None:
            cell.figures["memory_cap_bytes"] = self._memory_cap_bytes
        cell.figures.update(self.source.figures(case))
        notes = {"clock": type(self._clock.clock).__name__} if self._ending is None else {}
        return cell.measurement(self._startup_s, {**self.source.notes(), **notes})

    def fits(self, n_inputs: int, case: Case) -> bool:
        """Tell whether one call on so many inputs runs without exhausting memory; raises MeasurementError otherwise."""
        runner = partial(self.source.runner, case)
        ending = self._ending or self._attempt(lambda: runner()(self.source.some_batch(n_inputs)))
        if ending is not None and ending[0] is not Outcome.OOM:
            raise MeasurementError(ending[1])
        self._accelerator.empty_cache()
        return ending is None

    def largest_batch(self, case: Case, low: int, high: int) -> int | None:
        """Find the largest batch in low..high that fits into the device's memory, None when not even `low` does.

        By bisection, which takes for granted that whatever is smaller than a batch that fits, fits.
        """
        n_fitting = bisect_left(range(low, high + 1), True, key=lambda n: not self.fits(n, case))
        return low + n_fitting - 1 if n_fitting else None

    def close(self) -> None:
        """Release what the source holds."""
        self.source.close()

    def _do(self, opened: _Open, work: Callable[[], object]) -> None:
        """Do a cell's work unless it has ended; raise when it has, or does."""
        cell = opened.cell
        cell.ending = cell.ending or self._ending or self._attempt(work)
        if cell.ending is not None:
            outcome, reason = cell.ending
            raise (OutOfMemory if outcome is Outcome.OOM else MeasurementError)(reason)

    def _attempt(self, work: Callable[[], object]) -> Ending | None:
        """Do the work; return how it ended when memory ran out or the device was lost, else None."""
        try:
            work()
        except (MemoryError, RuntimeError) as error:
            ending = device_failure(error, self._accelerator.device)
            if ending is None:
                raise
        else:
            return None
        # Only here, outside the handler, are the frames gone that kept the tensors of the failed call alive.
        if ending[0] is Outcome.OOM:
            self._accelerator.empty_cache()
        return ending

    def _cold_start(self) -> None:
        accelerator, clock = self._accelerator, wall_clock(self._accelerator)
        self._startup_s |= self.source.load()
        if accelerator.backend.is_device:
            clock.start()
            device_passes.open_context(accelerator)
            self._startup_s["context_s"] = clock.stop()
        if self._memory_cap_bytes is not None:
            accelerator.cap_memory(self._memory_cap_bytes)
        clock.start()
        self.source.to_device()
        if accelerator.backend.is_device:
            self._startup_s["model_to_device_s"] = clock.stop()
        self._clock = UsageClock(accelerator.clock())

    def _warm_up(self, opened: _Open, warmup: WarmUp) -> None:
        opened.runner = self.source.runner(opened.cell.case)
        opened.runner.activate()
        cell, batches = opened.cell, self._placed(opened)
        cell.cold_s = self._collect(opened, batches, wall_clock(self._accelerator), after(1))[0]
        cell.warmup_s = self._collect(opened, batches, self._clock, warmup.rule())

    def _measure(self, opened: _Open, n_samples: int) -> None:
        cell, runner, on_device = opened.cell, opened.runner, self._accelerator.backend.is_device
        runner.activate()
        batches = self._placed(opened)
        if self.source.returns_warm:
            for _, batch in islice(batches, N_PLACED if on_device else 1):
                runner.run(batch)
        self._clock.side_series()  # what it saw of the warm-up is no part of the samples
        samples = self._collect(opened, batches, self._clock, after(n_samples), with_spans=True)
        cell.samples_s += samples
        cell.round_sizes.append(len(samples))
        for name, values in self._clock.side_series().items():
            cell.series[name] += values
        # On the CPU a call returns when its work is done: throughput follows from latency.
        if isinstance(batches, list):
            passes = (cell, self._accelerator, runner)
            device_passes.throughput(*passes, batches, n_samples, partial(self._check, opened))
            hosted = list(islice(opened.inputs.batches, N_PLACED))
            device_passes.transfers(*passes, hosted, batches, n_samples)
            device_passes.end_to_end(*passes, hosted, n_samples, opened.inputs)

    def _collect(
        self, opened: _Open, batches: Iterable[Keyed], clock: Clock, enough: Enough, *, with_spans: bool = False
    ) -> list[float]:
        """Time single calls on these batches, a list over and over; check each output outside the timed region."""
        run = opened.runner.run
        endless = cycle(batches) if isinstance(batches, list) else iter(batches)

        def check(keyed: Keyed, output: Any) -> None:
            self._check(opened, keyed, output)
            if with_spans and (spans := self.source.spans()):
                opened.cell.spans.append(spans)

        return collect(lambda keyed: run(keyed[1]), endless, clock=clock, enough=enough, check=check)

    def _check(self, opened: _Open, keyed: Keyed, output: Any) -> None:
        opened.cell.verify(opened.inputs.check(keyed[0], opened.runner.fetch(output)))

    def _placed(self, opened: _Open) -> Iterable[Keyed]:
        """Place the cell's batches, without end on the CPU, a list of `N_PLACED` on a device."""
        placed = ((key, opened.runner.place(batch)) for key, batch in opened.inputs.batches)
        return list(islice(placed, N_PLACED)) if self._accelerator.backend.is_device else placed
