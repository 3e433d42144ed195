"""Read latency, throughput and memory against batch size, and the best batch under limits, from a `batch_sweep` run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median

from inferbench_lib.findings import Refusal, Summary
from inferbench_lib.records import Case, Figure, Measurement, Run
from inferbench_lib.stats.entries import entry
from inferbench_lib.stats.labels import Label, labels
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.studies.batch_sweep.batching import BestBatch, Knee, best_batch, knee


@dataclass(frozen=True, kw_only=True)
class Series:
    """The cells that differ in batch size alone, by batch size; `case` has batch size 0."""

    case: Case
    label: Label
    cells: Mapping[int, Measurement]
    summaries: Mapping[int, Summary]
    knee: Knee | Refusal
    best: BestBatch | Refusal


@dataclass(frozen=True, kw_only=True)
class SweepStudy:
    """One run read: its series by label (`forest,cpu`), in the order measured."""

    run: Run
    series: Mapping[str, Series]

    @property
    def max_latency_s(self) -> float | None:
        """The limit on latency that was stated."""
        return self.run.params.get("max_latency_s")

    @property
    def max_memory_bytes(self) -> int | None:
        """The limit on memory that was stated."""
        return self.run.params.get("max_memory_bytes")

    @property
    def fastest(self) -> tuple[tuple[Series, BestBatch], ...]:
        """For each workload the series that is fastest within the limits, and its best batch."""
        found: dict[str, tuple[Series, BestBatch]] = {}
        for series in self.series.values():
            if isinstance(best := series.best, BestBatch):
                held = found.setdefault(series.case.workload, (series, best))
                if best.throughput_per_s.value > held[1].throughput_per_s.value:
                    found[series.case.workload] = (series, best)
        return tuple(found.values())

    @property
    def refused(self) -> tuple[tuple[Series, Refusal], ...]:
        """The series of the workloads for which no batch size met the limits, and why."""
        named = {series.case.workload for series, _ in self.fastest}
        return tuple(
            (one, one.best)
            for one in self.series.values()
            if isinstance(one.best, Refusal) and one.case.workload not in named
        )


def study(run: Run) -> SweepStudy:
    """Compute everything that a `batch_sweep` run says from its raw samples."""
    groups: dict[Case, dict[int, Measurement]] = {}
    for cell in run.measurements:
        groups.setdefault(replace(cell.case, batch_size=0), {})[cell.case.batch_size] = cell
    named = labels(groups, "workload", "device")
    series = (_series(case, named[case], dict(sorted(of.items())), run) for case, of in groups.items())
    return SweepStudy(run=run, series={one.label.key: one for one in series})


def _series(case: Case, label: Label, cells: Mapping[int, Measurement], run: Run) -> Series:
    return Series(
        case=case,
        label=label,
        cells=cells,
        summaries={size: summarize(cell) for size, cell in cells.items()},
        knee=_knee(cells),
        best=best_batch(
            list(cells.values()),
            max_latency_s=run.params.get("max_latency_s"),
            max_memory_bytes=run.params.get("max_memory_bytes"),
        ),
    )


def figures(said: SweepStudy) -> dict[str, Figure]:
    """Return the entries of `summary.json`."""
    found: dict[str, Figure] = {}
    for name, series in said.series.items():
        unit, best, bend = "inputs per call", series.best, series.knee
        if isinstance(best, Refusal):
            found[f"best_batch[{name}]"] = Figure(value=None, unit=unit, verdict=f"refused: {best.reason}")
        else:
            found[f"best_batch[{name}]"] = Figure(value=best.batch_size, unit=unit, verdict="best under the limits")
            found[f"best_throughput[{name}]"] = entry(best.throughput_per_s, "inputs/s")
        if isinstance(bend, Refusal):
            found[f"knee[{name}]"] = Figure(value=None, unit=unit, verdict=bend.reason)
        else:
            verdict = "reached" if bend.reached else "not reached"
            found[f"knee[{name}]"] = Figure(
                value=bend.batch_size, low=bend.low, high=bend.high, unit=unit, verdict=verdict
            )
    return found


def _knee(cells: Mapping[int, Measurement]) -> Knee | Refusal:
    """Find the knee over the cells that took every round; refused when fewer than two did."""
    usable = {size: cell for size, cell in cells.items() if summarize(cell).is_measured}
    n_rounds = max((len(cell.round_sizes) for cell in usable.values()), default=0)
    whole = {size: cell for size, cell in usable.items() if len(cell.round_sizes) == n_rounds and n_rounds}
    if len(whole) < 2:
        return Refusal(reason=f"a knee needs 2 measured batch sizes, has {len(whole)}")
    return knee(
        {size: [cell.inputs_per_call / median(samples) for samples in cell.rounds()] for size, cell in whole.items()}
    )
