"""One network on one device at one batch size, by its single calls, its calls end to end, and its throughput."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median_high

from inferbench_lib.findings import Interval, Summary
from inferbench_lib.records import CPU, Case, Measurement
from inferbench_lib.stats.statistics import summarize


@dataclass(frozen=True, kw_only=True)
class DeviceCell:
    """One network on one device at one batch size; `name` tells networks, engines and precisions apart.

    `summary` is of single calls: wall time on the CPU, device time on an accelerator. `end_to_end` is the wall time of
    calls from host memory to host memory, and `throughput` that of calls that do not wait for each other. On the CPU
    all three are the same calls.
    """

    name: str
    measurement: Measurement
    summary: Summary
    end_to_end: Summary
    throughput: Interval

    @property
    def case(self) -> Case:
        """Return what was run."""
        return self.measurement.case

    @property
    def device(self) -> str:
        """Return the device that it ran on."""
        return self.case.device

    @property
    def batch_size(self) -> int:
        """Return the images per batch."""
        return self.case.batch_size

    @property
    def rate(self) -> float:
        """Return its images per second."""
        return self.throughput.value

    def typical(self, series: str) -> float | None:
        """Return the median of a series that was measured beside the samples, None without it."""
        seen = self.measurement.series.get(series)
        return median_high(seen) if seen else None


def device_cell(name: str, cell: Measurement) -> DeviceCell:
    """Return a cell with what its samples and series say."""
    whole, queued = summarize(end_to_end(cell)), summarize(_queued(cell))
    throughput = queued.throughput_per_s if queued.is_measured else Interval(value=0.0, reason=queued.reason)
    return DeviceCell(name=name, measurement=cell, summary=summarize(cell), end_to_end=whole, throughput=throughput)


def end_to_end(cell: Measurement) -> Measurement:
    """Return a cell with the wall seconds from host memory to host memory as its samples."""
    return cell if cell.case.device == CPU else _timed_by(cell, cell.series.get("end_to_end_s", ()))


def _queued(cell: Measurement) -> Measurement:
    """Return a cell with the wall seconds per call of each turn's window, in which no call waits for another."""
    if cell.case.device == CPU:  # a call returns when its work is done
        return cell
    rates = cell.series.get("throughput_per_s", ())
    return _timed_by(cell, [cell.inputs_per_call / rate for rate in rates])


def _timed_by(cell: Measurement, seconds: Sequence[float]) -> Measurement:
    """Return a cell with other samples, as many in each round; without any where a turn lacks some."""
    n_rounds = len(cell.round_sizes)
    per_round, rest = divmod(len(seconds), n_rounds) if n_rounds else (0, 0)
    if rest or not per_round:
        return replace(cell, samples_s=(), round_sizes=(), process_sizes=())
    return replace(cell, samples_s=tuple(seconds), round_sizes=(per_round,) * n_rounds)


def short(name: str) -> str:
    """Return the name of a network in figures: a reference network's size, any other name as it is."""
    return name.removeprefix("cnn-")
