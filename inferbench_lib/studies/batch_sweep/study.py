"""Find the batch size from which larger ones stop paying, and the best one under the limits that the user states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from inferbench_lib.findings import Interval, Percentile, Refusal, Summary
from inferbench_lib.records import Case, Figure, Measurement, Outcome, Run
from inferbench_lib.stats.entries import Label, entry, labels
from inferbench_lib.stats.intervals import values_needed
from inferbench_lib.stats.processes import scatter
from inferbench_lib.stats.scaling import measured_throughputs
from inferbench_lib.stats.statistics import summarize

TOLERANCE = 0.05
"""The throughput below the best one's that a batch may have at the knee."""
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
    throughput_per_s: float
    reached: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class BestBatch:
    """The batch with the highest throughput within the limits; `latency` is None without a limit on it."""

    batch_size: int
    throughput_per_s: Interval
    latency: Percentile | None


@dataclass(frozen=True, kw_only=True)
class Series:
    """The cells that differ in batch size alone, by batch size; `case` has batch size 0."""

    case: Case
    label: Label
    cells: Mapping[int, Measurement]
    summaries: Mapping[int, Summary]
    knee: Knee | Refusal
    best: BestBatch | Refusal

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
    series = {}
    for case, label in labels(groups, "workload", "device").items():
        cells = dict(sorted(groups[case].items()))
        series[label.key] = Series(
            case=case,
            label=label,
            cells=cells,
            summaries={size: summarize(cell) for size, cell in cells.items()},
            knee=knee(measured_throughputs(cells)),
            best=best_batch(
                cells.values(),
                max_latency_s=run.params.get("max_latency_s"),
                max_memory_bytes=run.params.get("max_memory_bytes"),
            ),
        )
    return SweepStudy(run=run, series=series)


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
        throughput_per_s=float(typical[position]),
        reached=position < len(sizes) - 1,
        reason="" if low is not None else f"needs {values_needed()} rounds, has {n_rounds}",
    )


def _knee_positions(throughput: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return the index of the first batch size within `TOLERANCE` of the best, for each row."""
    return np.asarray(np.argmax(throughput >= (1 - TOLERANCE) * throughput.max(axis=1, keepdims=True), axis=1))


def best_batch(
    cells: Iterable[Measurement], *, max_latency_s: float | None = None, max_memory_bytes: int | None = None
) -> BestBatch | Refusal:
    """Return the batch size with the highest throughput under the limits, or the reason that excludes each of them.

    Latency is judged by the highest percentile that the samples carry, up to p99. Where latency or memory is limited,
    a batch without a measurement of it is excluded.
    """
    excluded: dict[int, str] = {}
    allowed: dict[int, Summary] = {}
    for cell in cells:
        summary = summarize(cell)
        if reason := _excluded(cell, summary, max_latency_s, max_memory_bytes):
            excluded[cell.case.batch_size] = reason
        else:
            allowed[cell.case.batch_size] = summary
    if not allowed:
        reasons = "; ".join(f"batch {size:,}: {reason}" for size, reason in sorted(excluded.items()))
        return Refusal(reason=f"no batch size met the limits: {reasons}")
    size, summary = max(allowed.items(), key=lambda one: one[1].throughput_per_s.value)
    latency = _tail(summary) if max_latency_s is not None else None
    return BestBatch(batch_size=size, throughput_per_s=summary.throughput_per_s, latency=latency)


def _excluded(cell: Measurement, summary: Summary, max_latency_s: float | None, max_memory_bytes: int | None) -> str:
    """Return why a batch is out of the question; empty for one within the limits."""
    if not summary.is_measured:
        return f"{summary.outcome}: {summary.reason}" if summary.outcome is not Outcome.OK else "no samples"
    if max_latency_s is not None:
        tail = _tail(summary)
        if tail is None:
            return "latency not known: " + summary.percentiles[0].reason
        if tail.value is not None and tail.value > max_latency_s:
            return f"p{100 * tail.p:g} {tail.value * 1e3:.3g} ms is above {max_latency_s * 1e3:.3g} ms"
    if max_memory_bytes is not None:
        if cell.peak_memory_bytes is None:
            return "memory not measured"
        if cell.peak_memory_bytes > max_memory_bytes:
            return f"{cell.peak_memory_bytes / 1e6:,.0f} MB is above {max_memory_bytes / 1e6:,.0f} MB"
    return ""


def _tail(summary: Summary) -> Percentile | None:
    """Return the highest percentile that the samples carry."""
    carried = (q for q in summary.percentiles if q.value is not None)
    return max(carried, key=lambda q: q.p, default=None)
