"""Find the batch size from which larger ones stop paying, and the best one under the limits that the user states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from inferbench_lib.findings import Refusal, Summary
from inferbench_lib.records import CPU, Case, Figure, Measurement, Run
from inferbench_lib.stats.comparison import simplest
from inferbench_lib.stats.entries import Label, entry, labels
from inferbench_lib.stats.intervals import values_needed
from inferbench_lib.stats.processes import scatter
from inferbench_lib.stats.scaling import measured_throughputs
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.studies.batch_sweep.best import (
    DEFAULT_PERCENTILE,
    IDLE,
    BestBatch,
    NoBatch,
    best_batch,
    memory_above_idle,
)
from inferbench_lib.studies.batch_sweep.search import TOLERANCE

N_RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Knee:
    """The smallest batch whose throughput comes within `TOLERANCE` of the best one's; larger ones hardly pay.

    It lies between the batch sizes `low` and `high` in 95 % of resampled rounds; both are None when withheld. It is not
    `reached` when the largest batch measured is the knee itself: throughput may rise beyond.
    """

    batch_size: int
    low: int | None
    high: int | None
    reached: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Series:
    """The cells that differ in batch size alone, by batch size; `case` has batch size 0.

    `label.more` leaves out the threads, which `case` tells of every series.
    """

    case: Case
    label: Label
    cells: Mapping[int, Measurement]
    summaries: Mapping[int, Summary]
    knee: Knee | Refusal
    best: BestBatch | NoBatch

    @property
    def memory(self) -> dict[int, int]:
        """The bytes above idle by batch size, of the batches whose memory was measured."""
        found = {size: memory_above_idle(cell) for size, cell in self.cells.items()}
        return {size: memory for size, memory in found.items() if memory is not None}

    @property
    def memory_of(self) -> str:
        """Return the words for what `memory` counts."""
        if self.case.device != CPU:
            return "allocated on the device"
        is_above = all(IDLE in cell.figures for cell in self.cells.values() if cell.peak_memory_bytes is not None)
        return "above the idle process, each batch in a new one" if is_above else "the whole process"

    def is_best(self, batch_size: int) -> bool:
        """Return whether this is the best batch size within the limits."""
        return isinstance(self.best, BestBatch) and self.best.batch_size == batch_size


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
    def latency_percentile(self) -> float:
        """The percentile that the limit on latency holds for."""
        return float(self.run.params.get("latency_percentile", DEFAULT_PERCENTILE))

    @cached_property
    def recommended(self) -> tuple[tuple[Series, BestBatch], ...]:
        """For each workload the first series tied with its fastest within the limits, and its best batch.

        Series stand in the order measured: the usual engine, the CPU and the usual number of threads first.
        """
        found = []
        for workload in dict.fromkeys(series.case.workload for series in self.series.values()):
            bests = [
                (series.cells[best.batch_size], series, best)
                for series in self.series.values()
                if series.case.workload == workload and isinstance(best := series.best, BestBatch)
            ]
            if bests:
                chosen = simplest([cell for cell, *_ in bests])
                found.append(next((series, best) for cell, series, best in bests if cell is chosen))
        return tuple(found)

    @property
    def refused(self) -> tuple[tuple[Series, NoBatch], ...]:
        """The series of the workloads without a recommendation, and why."""
        named = {series.case.workload for series, _ in self.recommended}
        return tuple(
            (one, one.best)
            for one in self.series.values()
            if isinstance(one.best, NoBatch) and one.case.workload not in named
        )


def study(run: Run) -> SweepStudy:
    """Compute everything that a `batch_sweep` run says from its raw samples."""
    groups: dict[Case, dict[int, Measurement]] = {}
    for cell in run.measurements:
        groups.setdefault(replace(cell.case, batch_size=0), {})[cell.case.batch_size] = cell
    named = labels(groups, "workload", "device", apart_from=("n_threads",))
    series = {}
    for case, label in labels(groups, "workload", "device").items():
        cells = dict(sorted(groups[case].items()))
        series[label.key] = Series(
            case=case,
            label=replace(label, more=named[case].more),
            cells=cells,
            summaries={size: summarize(cell) for size, cell in cells.items()},
            knee=knee(measured_throughputs(cells)),
            best=best_batch(
                cells.values(),
                max_latency_s=run.params.get("max_latency_s"),
                latency_percentile=run.params.get("latency_percentile", DEFAULT_PERCENTILE),
                max_memory_bytes=run.params.get("max_memory_bytes"),
            ),
        )
    return SweepStudy(run=run, series=series)


def figures(said: SweepStudy) -> dict[str, Figure]:
    """Return the entries of `summary.json`."""
    found: dict[str, Figure] = {}
    for name, series in said.series.items():
        unit, best, bend = "inputs per call", series.best, series.knee
        if isinstance(best, NoBatch):
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
    return found | scatter(said.run.measurements)


def knee(throughputs: Mapping[int, Sequence[float]]) -> Knee | Refusal:
    """Find the knee of throughput (inputs per second, one value per round) over batch size.

    The interval is a percentile bootstrap (Efron & Tibshirani 1993, chapter 13) over whole rounds. It draws the same
    rounds for every batch size, since a disturbance strikes all of them. With fewer than six rounds it is withheld.
    Refused for fewer than two batch sizes.
    """
    if len(throughputs) < 2:
        return Refusal(reason=f"a knee needs 2 measured batch sizes, has {len(throughputs)}")
    sizes = np.array(sorted(throughputs))
    by_round = np.array([throughputs[size] for size in sizes], dtype=float)
    n_rounds = by_round.shape[1]
    typical = np.median(by_round, axis=1)
    position = int(_knee_positions(typical[None])[0])
    low = high = None
    if n_rounds >= values_needed():
        draws = np.random.default_rng(0).integers(n_rounds, size=(N_RESAMPLES, n_rounds))
        drawn = sizes[_knee_positions(np.median(by_round[:, draws], axis=2).T)]
        low, high = (int(end) for end in np.quantile(drawn, [0.025, 0.975], method="inverted_cdf"))
    return Knee(
        batch_size=int(sizes[position]),
        low=low,
        high=high,
        reached=position < len(sizes) - 1,
        reason="" if low is not None else f"needs {values_needed()} rounds, has {n_rounds}",
    )


def _knee_positions(throughput: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return the index of the first batch size within `TOLERANCE` of the best, for each row."""
    return np.asarray(np.argmax(throughput >= (1 - TOLERANCE) * throughput.max(axis=1, keepdims=True), axis=1))
