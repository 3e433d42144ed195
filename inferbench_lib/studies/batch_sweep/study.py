"""What a `batch_sweep` run says: latency, throughput and memory against batch size, and the best one under limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from inferbench_lib.records import Figure, Measurement, Run, Summary
from inferbench_lib.stats.entries import entry
from inferbench_lib.stats.refusal import Refusal
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.studies.batch_sweep.batching import BestBatch, Knee, best_batch, knee

Series = tuple[str, str]
"""A workload and a device."""


@dataclass(frozen=True, kw_only=True)
class SweepStudy:
    """One run read; mappings are by workload and device, cells by batch size."""

    run: Run
    cells: Mapping[Series, Mapping[int, Measurement]]
    summaries: Mapping[Series, Mapping[int, Summary]]
    knees: Mapping[Series, Knee | Refusal]
    best: Mapping[Series, BestBatch | Refusal]
    reason: str

    @property
    def max_latency_s(self) -> float | None:
        """The limit on latency that was stated."""
        return self.run.params.get("max_latency_s")

    @property
    def max_memory_bytes(self) -> int | None:
        """The limit on memory that was stated."""
        return self.run.params.get("max_memory_bytes")

    @property
    def named(self) -> dict[Series, BestBatch]:
        """The best batch of each workload, on the device on which it is fastest within the limits."""
        found = {series: best for series, best in self.best.items() if isinstance(best, BestBatch)}
        fastest: dict[str, Series] = {}
        for series, best in found.items():
            held = fastest.setdefault(series[0], series)
            if best.throughput_per_s.value > found[held].throughput_per_s.value:
                fastest[series[0]] = series
        return {series: found[series] for series in fastest.values()}


def study(run: Run) -> SweepStudy:
    """Everything that a `batch_sweep` run says, from its raw samples."""
    cells: dict[Series, dict[int, Measurement]] = {}
    for cell in sorted(run.measurements, key=lambda cell: cell.case.batch_size):
        cells.setdefault((cell.case.workload, cell.case.device), {})[cell.case.batch_size] = cell
    return SweepStudy(
        run=run,
        cells=cells,
        summaries={name: {size: summarize(cell) for size, cell in of.items()} for name, of in cells.items()},
        knees={name: _knee(of) for name, of in cells.items()},
        best={
            name: best_batch(
                list(of.values()),
                max_latency_s=run.params.get("max_latency_s"),
                max_memory_bytes=run.params.get("max_memory_bytes"),
            )
            for name, of in cells.items()
        },
        reason=str(run.tables["accelerator_reason"]),
    )


def figures(said: SweepStudy) -> dict[str, Figure]:
    """The entries of `summary.json`."""
    found: dict[str, Figure] = {}
    for (workload, device), best in said.best.items():
        name = f"{workload},{device}"
        found[f"best_batch[{name}]"] = Figure(
            value=None if isinstance(best, Refusal) else best.batch_size,
            unit="inputs per call",
            verdict=f"refused: {best.reason}" if isinstance(best, Refusal) else "best under the limits",
        )
        if isinstance(best, BestBatch):
            found[f"best_throughput[{name}]"] = entry(best.throughput_per_s, "inputs/s")
        bend = said.knees[workload, device]
        found[f"knee[{name}]"] = Figure(
            value=None if isinstance(bend, Refusal) else bend.batch_size,
            low=None if isinstance(bend, Refusal) else bend.low,
            high=None if isinstance(bend, Refusal) else bend.high,
            unit="inputs per call",
            verdict=bend.reason if isinstance(bend, Refusal) else "reached" if bend.reached else "not reached",
        )
    return found


def _knee(cells: Mapping[int, Measurement]) -> Knee | Refusal:
    """Throughput by round of the cells that took every round; refused when fewer than two did."""
    usable = {size: cell for size, cell in cells.items() if summarize(cell).is_measured}
    n_rounds = max((len(cell.round_sizes) for cell in usable.values()), default=0)
    whole = {size: cell for size, cell in usable.items() if len(cell.round_sizes) == n_rounds and n_rounds}
    if len(whole) < 2:
        return Refusal(reason=f"a knee needs 2 measured batch sizes, has {len(whole)}")
    return knee(
        {size: [cell.inputs_per_call / median(samples) for samples in cell.rounds()] for size, cell in whole.items()}
    )
