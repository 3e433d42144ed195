"""Find the batch size from which larger ones stop paying, and the best one under the limits that the user states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inferbench_lib.findings import Interval, Refusal, Summary
from inferbench_lib.records import Measurement, Outcome
from inferbench_lib.stats.intervals import values_needed
from inferbench_lib.stats.statistics import summarize

N_RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Knee:
    """The smallest batch whose throughput comes within `tolerance` of the best one's; larger ones hardly pay.

    It lies between the batch sizes `low` and `high` in 95 % of resampled rounds; both are None when withheld. It is not
    `reached` when the largest batch measured is the knee itself: throughput may rise beyond.
    """

    batch_size: int
    low: int | None
    high: int | None
    throughput_per_s: float
    best_batch_size: int
    tolerance: float
    reached: bool
    reason: str = ""


def knee(throughputs: Mapping[int, Sequence[float]], *, tolerance: float = 0.05, seed: int = 0) -> Knee:
    """Find the knee of throughput (inputs per second, one value per round) over batch size.

    The interval is a percentile bootstrap (Efron & Tibshirani 1993, chapter 13) over whole rounds. It draws the same
    rounds for every batch size, since a disturbance strikes all of them. With fewer than six rounds it is withheld.
    Raises ValueError when there is no batch size, when their numbers of rounds differ, or for a value not above 0.
    """
    sizes = np.array(sorted(throughputs))
    if (
        not len(sizes)
        or len({len(rounds) for rounds in throughputs.values()}) > 1
        or any(not min(rounds, default=0) > 0 for rounds in throughputs.values())
    ):
        got = {size: list(rounds) for size, rounds in throughputs.items()}
        raise ValueError(f"knee: expected as many rounds for each batch size, every value above 0, got {got}")
    by_round = np.array([throughputs[size] for size in sizes], dtype=float)
    n_rounds = by_round.shape[1]
    typical = np.median(by_round, axis=1)
    position = int(_knee_positions(typical[None], tolerance)[0])
    low = high = None
    if n_rounds >= values_needed():
        draws = np.random.default_rng(seed).integers(n_rounds, size=(N_RESAMPLES, n_rounds))
        drawn = sizes[_knee_positions(np.median(by_round[:, draws], axis=2).T, tolerance)]
        low, high = (int(end) for end in np.quantile(drawn, [0.025, 0.975], method="inverted_cdf"))
    return Knee(
        batch_size=int(sizes[position]),
        low=low,
        high=high,
        throughput_per_s=float(typical[position]),
        best_batch_size=int(sizes[typical.argmax()]),
        tolerance=tolerance,
        reached=position < len(sizes) - 1,
        reason="" if low is not None else f"needs {values_needed()} rounds, has {n_rounds}",
    )


def _knee_positions(throughput: npt.NDArray[np.float64], tolerance: float) -> npt.NDArray[np.intp]:
    """Return the index of the first batch size within `tolerance` of the best, for each row."""
    return np.asarray(np.argmax(throughput >= (1 - tolerance) * throughput.max(axis=1, keepdims=True), axis=1))


@dataclass(frozen=True, kw_only=True)
class BestBatch:
    """The batch with the highest throughput within the limits, and the values that met them.

    `latency_percentile` is the highest that its samples carry, up to the one asked for; None without a latency limit.
    `excluded` gives the broken limit of each batch size that is out.
    """

    measurement: Measurement
    batch_size: int
    throughput_per_s: Interval
    latency_percentile: float | None
    latency_s: float | None
    peak_memory_bytes: int | None
    excluded: Mapping[int, str]


def best_batch(
    measurements: Sequence[Measurement],
    *,
    max_latency_s: float | None = None,
    max_memory_bytes: int | None = None,
    percentile: float = 0.99,
) -> BestBatch | Refusal:
    """Return the batch size with the highest throughput under the limits, or the reason that excludes each of them.

    Latency is judged by the highest percentile up to `percentile` that the samples carry. Where latency or memory is
    limited, a batch without a measurement of it is excluded.
    """
    if not measurements:
        return Refusal(reason="no batch size was measured")
    excluded: dict[int, str] = {}
    allowed: list[tuple[Measurement, Summary]] = []
    for measurement in measurements:
        summary = summarize(measurement)
        reason = (
            _not_usable(summary)
            or _too_slow(summary, max_latency_s, percentile)
            or _too_large(measurement.peak_memory_bytes, max_memory_bytes)
        )
        if reason:
            excluded[measurement.case.batch_size] = reason
        else:
            allowed.append((measurement, summary))
    if not allowed:
        reasons = "; ".join(f"batch {size:,}: {reason}" for size, reason in sorted(excluded.items()))
        return Refusal(reason=f"no batch size met the limits: {reasons}")
    measurement, summary = max(allowed, key=lambda pair: pair[1].throughput_per_s.value)
    latency = _tail(summary, percentile) if max_latency_s is not None else None
    return BestBatch(
        measurement=measurement,
        batch_size=measurement.case.batch_size,
        throughput_per_s=summary.throughput_per_s,
        latency_percentile=latency[0] if latency else None,
        latency_s=latency[1] if latency else None,
        peak_memory_bytes=measurement.peak_memory_bytes,
        excluded=excluded,
    )


def _not_usable(summary: Summary) -> str:
    if summary.is_measured:
        return ""
    return f"{summary.outcome}: {summary.reason}" if summary.outcome is not Outcome.OK else "no samples"


def _too_slow(summary: Summary, max_latency_s: float | None, percentile: float) -> str:
    if max_latency_s is None:
        return ""
    tail = _tail(summary, percentile)
    if tail is None:
        return "latency not known: " + summary.percentiles[0].reason
    p, seconds = tail
    return (
        f"p{100 * p:g} {seconds * 1e3:.3g} ms is above {max_latency_s * 1e3:.3g} ms" if seconds > max_latency_s else ""
    )


def _too_large(peak_memory_bytes: int | None, max_memory_bytes: int | None) -> str:
    if max_memory_bytes is None:
        return ""
    if peak_memory_bytes is None:
        return "memory not measured"
    if peak_memory_bytes <= max_memory_bytes:
        return ""
    return f"{peak_memory_bytes / 1e6:,.0f} MB is above {max_memory_bytes / 1e6:,.0f} MB"


def _tail(summary: Summary, percentile: float) -> tuple[float, float] | None:
    """Return the highest percentile up to the one asked for that the samples carry, with its seconds."""
    carried = [(q.p, q.value) for q in summary.percentiles if q.value is not None and q.p <= percentile]
    return max(carried) if carried else None
