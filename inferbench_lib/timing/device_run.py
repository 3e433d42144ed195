"""The order of a run on one device: cold start, warm-up, then rounds of latency, throughput and transfers.

The caller drives it in pieces, so that cells of several batch sizes and devices can take turns: `cold_start()`
once, `prepare(...)` for each cell, then `turn(...)` in any order, and when all turns are over `finish(...)`, which
measures memory in a pass of its own. The CPU takes the same way and leaves out what only a device has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import cycle
from typing import TYPE_CHECKING

from inferbench_lib.errors import MeasurementError, OutOfMemory
from inferbench_lib.records import Case, Measurement, Outcome
from inferbench_lib.timing.accelerator import Accelerator, math_settings, wall_clock
from inferbench_lib.timing.clock import Clock
from inferbench_lib.timing.device_cell import DeviceCell, DeviceInputs, Ending
from inferbench_lib.timing.device_memory import (
    cap_memory,
    empty_cache,
    is_out_of_memory,
    peak_memory,
    reset_peak_memory,
)
from inferbench_lib.timing.event_clock import is_launch_bound
from inferbench_lib.timing.loop import Enough, collect
from inferbench_lib.timing.rules import after
from inferbench_lib.timing.transfers import transfer_times

if TYPE_CHECKING:
    from torch import Tensor

Call = Callable[["Tensor"], "Tensor"]
Numbered = list[tuple[int, "Tensor"]]  # batches with their places in DeviceInputs.batches


class DeviceBench:
    """One model on one device. `load(device)` brings the model there and returns what runs one batch.

    A batch that does not fit, or a device that is lost, ends its cell: memory is given back, `prepare` and `turn`
    raise OutOfMemory or MeasurementError, `finish` still gives the cell's row. A wrong output makes the row invalid.
    `startup_s` is what the process did before (`import_s`); it goes into every row.
    """

    _call: Call  # both are there from cold_start on
    _clock: Clock

    def __init__(
        self,
        accelerator: Accelerator,
        load: Callable[[str], Call],
        *,
        memory_cap_bytes: int | None = None,
        startup_s: Mapping[str, float] | None = None,
    ) -> None:
        self._accelerator = accelerator
        self._load = load
        self._memory_cap_bytes = memory_cap_bytes
        self._cells: dict[Case, DeviceCell] = {}
        self._startup_s = dict(startup_s or {})
        self._ending: Ending | None = None

    def cold_start(self) -> dict[str, float]:
        """Open the device and bring the model there; adds `context_s` and `model_to_device_s` (on the CPU: neither).

        A model that does not fit ends every cell of this bench.
        """
        self._ending = self._attempt(self._cold_start)
        return self._startup_s

    def prepare(self, case: Case, inputs: DeviceInputs, warm_enough: Callable[[], Enough]) -> tuple[float, ...]:
        """First call, then warm-up of every shape, each until its own `warm_enough()`; seconds of the warm-up."""
        cell = self._cells[case] = DeviceCell(case=case, inputs=inputs)
        self._run(cell, lambda: self._warm_up(cell, warm_enough))
        return tuple(cell.warmup_s)

    def turn(self, case: Case, n_samples: int) -> tuple[float, ...]:
        """One round of a cell: `n_samples` single calls, a throughput window of about as many, transfers.

        Returns the seconds of the single calls.
        """
        cell = self._cells[case]
        self._run(cell, lambda: self._measure(cell, n_samples))
        return tuple(cell.samples_s[-n_samples:])

    def finish(self, case: Case) -> Measurement:
        """The memory pass, then everything seen of the cell; after all turns, for it empties the allocator's cache."""
        cell = self._cells.pop(case)
        if cell.ending is None and self._accelerator.backend.memory_statistics:
            cell.ending = self._attempt(lambda: self._measure_memory(cell))
        if enqueue_s := cell.series.get("enqueue_s"):
            bound = [is_launch_bound(*pair) for pair in zip(enqueue_s, cell.samples_s, strict=True)]
            cell.figures["launch_bound_share"] = sum(bound) / len(bound)
        if self._memory_cap_bytes is not None:
            cell.figures["memory_cap_bytes"] = self._memory_cap_bytes
        notes = {"clock": type(self._clock).__name__} if self._ending is None else {}
        return cell.measurement(self._startup_s, math_settings(self._accelerator.backend) | notes)

    def fits(self, batch: Tensor) -> bool:
        """Whether one call on this host batch runs without exhausting memory. Raises MeasurementError otherwise."""
        ending = self._ending or self._attempt(lambda: self._call(batch.to(self._accelerator.device)).cpu())
        if ending is not None and ending[0] is not Outcome.OOM:
            raise MeasurementError(ending[1])
        empty_cache(self._accelerator)
        return ending is None

    def _run(self, cell: DeviceCell, work: Callable[[], object]) -> None:
        """Do a cell's work unless it has ended; raise when it has, or does."""
        cell.ending = cell.ending or self._ending or self._attempt(work)
        if cell.ending is not None:
            outcome, reason = cell.ending
            raise (OutOfMemory if outcome is Outcome.OOM else MeasurementError)(reason)

    def _attempt(self, work: Callable[[], object]) -> Ending | None:
        """Do the work; how it ended when memory ran out or the device was lost, else None."""
        import torch

        ending: Ending
        try:
            with torch.inference_mode():
                work()
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                ending = Outcome.OOM, f"out of memory on {self._accelerator.device}: {error}"
            elif isinstance(error, torch.AcceleratorError):
                return Outcome.FAILED, f"{self._accelerator.device} failed: {error}"
            else:
                raise
        else:
            return None
        # Only here, outside the handler, are the frames gone that kept the tensors of the failed call alive.
        empty_cache(self._accelerator)
        return ending

    def _cold_start(self) -> None:
        import torch

        accelerator, clock = self._accelerator, wall_clock(self._accelerator)
        if accelerator.backend.is_device:
            clock.start()
            torch.empty(1, device=accelerator.device)
            self._startup_s["context_s"] = clock.stop()
        if self._memory_cap_bytes is not None:
            cap_memory(accelerator, self._memory_cap_bytes)
        clock.start()
        with torch.inference_mode(False):  # a model moved in inference mode could not be used outside it
            self._call = self._load(accelerator.device)
        if accelerator.backend.is_device:
            self._startup_s["model_to_device_s"] = clock.stop()
        self._clock = accelerator.clock()

    def _warm_up(self, cell: DeviceCell, warm_enough: Callable[[], Enough]) -> None:
        full, ragged = self._place(cell)
        cell.cold_s = self._collect(cell, full, wall_clock(self._accelerator), after(1))[0]
        cell.warmup_s = self._collect(cell, full, self._clock, warm_enough())
        if ragged:
            cell.series["warmup_ragged_s"] += self._collect(cell, ragged, self._clock, warm_enough())

    def _measure(self, cell: DeviceCell, n_samples: int) -> None:
        full, ragged = self._place(cell)
        is_device = self._accelerator.backend.is_device
        for _, batch in full + ragged if is_device else full[:1]:  # other cells' turns lie between; come back to warm
            self._call(batch)
        self._measure_latency(cell, full, n_samples)
        if is_device:  # on the CPU a call returns when its work is done: throughput follows from latency
            self._measure_throughput(cell, full + ragged, n_samples)
            self._measure_transfers(cell, full, n_samples)
            self._measure_end_to_end(cell, full, n_samples)

    def _measure_latency(self, cell: DeviceCell, full: Numbered, n_samples: int) -> None:
        self._clock.side_series()  # what it saw of the warm-up is no part of the samples
        samples = self._collect(cell, full, self._clock, after(n_samples))
        beside = self._clock.side_series()
        cell.samples_s += samples
        cell.round_sizes.append(len(samples))
        for name, values in beside.items():
            cell.series[name] += values

    def _measure_throughput(self, cell: DeviceCell, batches: Numbered, n_samples: int) -> None:
        """Calls one after the other without waiting, between two instants at which the device is idle."""
        n_passes = max(1, n_samples // len(batches))
        clock = wall_clock(self._accelerator)
        clock.start()
        outputs = [(index, self._call(batch)) for _ in range(n_passes) for index, batch in batches]
        window_s = clock.stop()
        for index, output in outputs:
            cell.check(index, output)
        n_inputs = n_passes * sum(len(batch) for _, batch in batches)
        cell.series["window_s"].append(window_s)
        cell.series["window_inputs"].append(n_inputs)
        cell.series["throughput_per_s"].append(n_inputs / window_s)

    def _measure_transfers(self, cell: DeviceCell, full: Numbered, n_samples: int) -> None:
        inputs = [cell.inputs.batches[index] for index, _ in full]
        outputs = [self._call(batch) for _, batch in full]
        times = transfer_times(self._accelerator, inputs, outputs, n_samples, cell.verify)
        for name, values in times.items():
            cell.series[name] += values
        cell.figures["input_bytes"] = inputs[0].nbytes
        cell.figures["output_bytes"] = outputs[0].nbytes

    def _measure_end_to_end(self, cell: DeviceCell, full: Numbered, n_samples: int) -> None:
        """From a batch in host memory to its output in host memory."""
        on_host = [(index, cell.inputs.batches[index]) for index, _ in full]

        def there_and_back(batch: Tensor) -> Tensor:
            return self._call(batch.to(self._accelerator.device)).cpu()

        there_and_back(on_host[-1][1])
        clock = wall_clock(self._accelerator)
        cell.series["end_to_end_s"] += self._collect(cell, on_host, clock, after(n_samples), there_and_back)

    def _measure_memory(self, cell: DeviceCell) -> None:
        """Peaks of calls on the first batch alone, over the baseline of the model and that batch."""
        batch = cell.inputs.batches[0].to(self._accelerator.device)
        cell.figures["baseline_bytes"] = reset_peak_memory(self._accelerator)
        output = self._call(batch)
        peak = peak_memory(self._accelerator)
        cell.check(0, output)
        cell.figures["peak_allocated_bytes"] = peak.allocated_bytes
        cell.figures["peak_reserved_bytes"] = peak.reserved_bytes

    def _collect(
        self, cell: DeviceCell, batches: Numbered, clock: Clock, enough: Enough, call: Call | None = None
    ) -> list[float]:
        """Single calls on these batches in turn, each output checked outside the timed region."""
        run = call or self._call
        return collect(
            lambda numbered: run(numbered[1]),
            cycle(batches),
            clock=clock,
            enough=enough,
            check=lambda numbered, output: cell.check(numbered[0], output),
        )

    def _place(self, cell: DeviceCell) -> tuple[Numbered, Numbered]:
        """The cell's batches on the device: those of full size, and the smaller last one if there is one."""
        placed = [(index, batch.to(self._accelerator.device)) for index, batch in enumerate(cell.inputs.batches)]
        full = [(index, batch) for index, batch in placed if len(batch) == cell.case.batch_size]
        return full, placed[len(full) :]
