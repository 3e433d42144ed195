"""Find the best batch size under the limits that the user states."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from inferbench_lib.findings import Interval, Percentile, Refusal, Summary
from inferbench_lib.records import Measurement, Outcome
from inferbench_lib.stats.comparison import WORTH, simplest
from inferbench_lib.stats.statistics import summarize

DEFAULT_PERCENTILE = 0.95
"""The percentile of latency for runs stored without one."""
IDLE = "idle_bytes"
"""The figure of a cell: the memory of its process before the first call."""
MEMORY = "memory"
"""The note of a cell whose memory could not be measured: why."""


@dataclass(frozen=True, kw_only=True)
class BestBatch:
    """The smallest batch tied with the highest throughput in the limits; `latency` is None without a limit on it."""

    batch_size: int
    throughput_per_s: Interval
    latency: Percentile | None


class Cause(StrEnum):
    """The reason why no batch size is recommended."""

    NOT_MEASURED = "not measured"
    UNKNOWN = "no batch size is known to meet the limits"
    EXCEEDED = "no batch size met the limits"


@dataclass(frozen=True, kw_only=True)
class NoBatch(Refusal):
    """The refusal to recommend a batch size, with its cause."""

    cause: Cause


def best_batch(
    cells: Iterable[Measurement],
    *,
    max_latency_s: float | None = None,
    latency_percentile: float = DEFAULT_PERCENTILE,
    max_memory_bytes: int | None = None,
) -> BestBatch | NoBatch:
    """Return the smallest batch size statistically tied with the highest throughput under the limits.

    Every batch's latency is judged by the same percentile. Where latency or memory is limited, a batch without a
    measurement of it is left out. The refusal says why each batch is.
    """
    limits = (max_latency_s, latency_percentile, max_memory_bytes)
    cells = sorted(cells, key=lambda cell: cell.case.batch_size)
    excluded = [_excluded(cell, summarize(cell), *limits) for cell in cells]
    allowed = [cell for cell, why in zip(cells, excluded, strict=True) if why is None]
    if not allowed:
        causes = [why[0] for why in excluded if why]
        cause = next((of for of in (Cause.UNKNOWN, Cause.EXCEEDED) if of in causes), Cause.NOT_MEASURED)
        whys = [(f"batch {cell.case.batch_size:,}", why[1]) for cell, why in zip(cells, excluded, strict=True) if why]
        alike = {why for _, why in whys}
        told = "; ".join(": ".join(why) for why in whys) if len(alike) > 1 else "".join(alike)
        return NoBatch(cause=cause, reason=f"{cause}: {told}")
    best = simplest(allowed, most=WORTH)
    summary = summarize(best)
    latency = None if max_latency_s is None else _percentile(summary, latency_percentile)
    return BestBatch(batch_size=best.case.batch_size, throughput_per_s=summary.throughput_per_s, latency=latency)


def memory_above_idle(cell: Measurement) -> int | None:
    """Return the memory of a cell's calls above that of the idle process; None where it was not measured.

    A device counts what was allocated. In runs stored without an idle figure it is the whole process.
    """
    peak = cell.peak_memory_bytes
    return None if peak is None else max(0, peak - int(cell.figures.get(IDLE, 0)))


def _excluded(
    cell: Measurement, summary: Summary, max_latency_s: float | None, p: float, max_memory_bytes: int | None
) -> tuple[Cause, str] | None:
    """Return why a batch is out of the question; None for one within the limits."""
    if not summary.is_measured:
        reason = f"{summary.outcome}: {summary.reason}" if summary.outcome is not Outcome.OK else "no samples"
        return Cause.NOT_MEASURED, reason
    if max_latency_s is not None:
        judged = _percentile(summary, p)
        if summary.median_s.value > max_latency_s:
            judged = Percentile(p=0.5, value=summary.median_s.value)  # no higher percentile is shorter
        if judged.value is None:
            return Cause.UNKNOWN, f"p{100 * p:g} latency not known: {judged.reason}"
        if judged.value > max_latency_s:
            return (
                Cause.EXCEEDED,
                f"p{100 * judged.p:g} {judged.value * 1e3:.3g} ms is above {max_latency_s * 1e3:.3g} ms",
            )
    if max_memory_bytes is not None:
        memory = memory_above_idle(cell)
        if memory is None:
            return Cause.UNKNOWN, f"memory {cell.notes.get(MEMORY, 'not measured')}"
        if memory > max_memory_bytes:
            return Cause.EXCEEDED, f"{memory / 1e6:,.0f} MB is above {max_memory_bytes / 1e6:,.0f} MB"
    return None


def _percentile(summary: Summary, p: float) -> Percentile:
    return next(of for of in summary.percentiles if of.p == p)
