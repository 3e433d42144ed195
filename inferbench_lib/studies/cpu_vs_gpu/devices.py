"""What a `cpu_vs_gpu` run says: the networks on the processor and on the accelerator, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_high

from inferbench_lib.records import Figure, Measurement, Ratio, Run, Summary
from inferbench_lib.stats.comparison import compare
from inferbench_lib.stats.entries import entry
from inferbench_lib.stats.statistics import summarize

CPU = "cpu"
LARGEST_BATCH = "largest_batch"
"""What a cell that was out of memory carries: the largest batch that fits."""


@dataclass(frozen=True, kw_only=True)
class DeviceCell:
    """One network on one device at one batch size."""

    size: str
    device: str
    batch_size: int
    measurement: Measurement
    summary: Summary

    @property
    def end_to_end_s(self) -> float | None:
        """Median seconds from a batch in host memory to its output there; None where there is no transfer."""
        seen = self.measurement.series.get("end_to_end_s")
        return median_high(seen) if seen else None


@dataclass(frozen=True, kw_only=True)
class DeviceStudy:
    """One run read. `speedups` are accelerator over processor, by size and batch size; empty without an accelerator."""

    run: Run
    cells: tuple[DeviceCell, ...]
    speedups: Mapping[tuple[str, int], Ratio]
    parameters: Mapping[str, int]
    reason: str

    @property
    def accelerator(self) -> str | None:
        """The accelerator that was measured, None without one."""
        return next((cell.device for cell in self.cells if cell.device != CPU), None)

    def of(self, size: str, device: str) -> list[DeviceCell]:
        """The cells of one network on one device, by batch size."""
        return sorted((c for c in self.cells if (c.size, c.device) == (size, device)), key=lambda c: c.batch_size)

    def best(self, size: str, device: str) -> DeviceCell | None:
        """The cell with the highest throughput; None where none was measured."""
        measured = [cell for cell in self.of(size, device) if cell.summary.is_measured]
        return max(measured, key=lambda cell: cell.summary.throughput_per_s.value, default=None)

    def sizes(self) -> list[str]:
        """The networks, in the order measured."""
        return list(dict.fromkeys(cell.size for cell in self.cells))

    def speedup(self, size: str) -> Ratio | None:
        """The accelerator's speedup at the batch size where it does best; None without an accelerator."""
        best = self.best(size, self.accelerator) if self.accelerator else None
        return self.speedups.get((size, best.batch_size)) if best else None


def study(run: Run) -> DeviceStudy:
    """Everything that a `cpu_vs_gpu` run says, from its raw samples."""
    cells = tuple(
        DeviceCell(
            size=measured.case.workload.removeprefix("cnn-"),
            device=measured.case.device,
            batch_size=measured.case.batch_size,
            measurement=measured,
            summary=summarize(measured),
        )
        for measured in run.measurements
    )
    on_cpu = {(c.size, c.batch_size): c.measurement for c in cells if c.device == CPU}
    speedups = {
        (c.size, c.batch_size): compare(on_cpu[c.size, c.batch_size], c.measurement)
        for c in cells
        if c.device != CPU and (c.size, c.batch_size) in on_cpu
    }
    return DeviceStudy(
        run=run,
        cells=cells,
        speedups=speedups,
        parameters={str(size): int(count) for size, count in run.tables["parameters"].items()},
        reason=str(run.tables["accelerator_reason"]),
    )


def figures(said: DeviceStudy) -> dict[str, Figure]:
    """The entries of `summary.json`."""
    found = {f"parameters[{size}]": Figure(value=count, unit="parameters") for size, count in said.parameters.items()}
    for cell in said.cells:
        name, said_of = f"{cell.size},{cell.device},b{cell.batch_size}", cell.summary
        rate, centre, known = said_of.throughput_per_s, said_of.median_s, said_of.is_measured
        found[f"throughput[{name}]"] = entry(rate, "images/s", said_of.outcome, is_known=known)
        found[f"latency_s[{name}]"] = entry(centre, "s", said_of.outcome, is_known=known)
    for size, device in dict.fromkeys((cell.size, cell.device) for cell in said.cells):
        if best := said.best(size, device):
            rate = best.summary.throughput_per_s
            found[f"best_throughput[{size},{device}]"] = entry(rate, "images/s", f"batch {best.batch_size}")
        seen = [cell.measurement.figures.get(LARGEST_BATCH) for cell in said.of(size, device)]
        found |= {f"largest_batch[{size},{device}]": Figure(value=n, unit="images") for n in seen if n is not None}
    for size in said.sizes():
        ratio = said.speedup(size)
        found[f"speedup[{size}]"] = (
            Figure(value=None, unit="×", verdict="not measured") if ratio is None else entry(ratio, "×", ratio.verdict)
        )
    return found
