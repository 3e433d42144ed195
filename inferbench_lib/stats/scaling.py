"""Fit how throughput grows with workers, and time with the size of the input, round by round.

Both laws of throughput are linear in their parameters when written for the worker-seconds per unit of work, n / X(n):

    Amdahl (1967)    n / X(n) = (1 + s (n − 1)) / X(1)                     s: serial fraction
    Gunther (2007)   n / X(n) = (1 + σ (n − 1) + κ n (n − 1)) / X(1)       σ: contention, κ: coherency

Least squares on relative errors therefore needs no starting values. Every round holds each worker count once and gives
one fit. The intervals are the signed-rank intervals of these fits: the round is the replicate. The power law of time is
a straight line on logarithmic axes, fitted in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from inferbench_lib.findings import Interval, Refusal
from inferbench_lib.records import Measurement
from inferbench_lib.stats.intervals import signed_rank_interval
from inferbench_lib.stats.statistics import summarize

Throughputs = Mapping[int, Sequence[float]]  # workers -> units per second, one value per round


@dataclass(frozen=True, kw_only=True)
class AmdahlFit:
    """Amdahl's law: the serial fraction, the speedup no number of workers exceeds, and the worst relative misfit."""

    serial_fraction: Interval
    max_speedup: Interval
    misfit: float


@dataclass(frozen=True, kw_only=True)
class UslFit:
    """The universal scalability law: contention σ, coherency κ, where throughput peaks, the worst relative misfit.

    `peak_workers` is √((1 − σ) / κ), infinite when κ is 0: more workers than that slow the work down.
    """

    contention: Interval
    coherency: Interval
    peak_workers: float
    misfit: float


@dataclass(frozen=True, kw_only=True)
class PowerFit:
    """The power law seconds = `at_one_s` · sizeᵖ: the exponent p, and the worst relative misfit.

    A large misfit shows that no power describes this range: a fixed cost at small sizes, another cache at large ones.
    """

    exponent: Interval
    at_one_s: float
    misfit: float

    def seconds(self, size: float) -> float:
        """Return the fitted seconds at one size."""
        return float(self.at_one_s * size**self.exponent.value)


def measured_throughputs(cells: Mapping[int, Measurement]) -> dict[int, list[float]]:
    """Return inputs per second by round, by number of workers, of the measured cells that took every round."""
    measured = {n: cell for n, cell in sorted(cells.items()) if summarize(cell).is_measured}
    n_rounds = max((len(cell.round_sizes) for cell in measured.values()), default=0)
    return {
        n: [cell.inputs_per_call / median(samples) for samples in cell.rounds()]
        for n, cell in measured.items()
        if len(cell.round_sizes) == n_rounds
    }


def fit_amdahl(throughputs: Throughputs) -> AmdahlFit | Refusal:
    """Fit Amdahl's law to at least three worker counts; refused when more workers were slower than one.

    Raises ValueError when the worker counts hold different numbers of rounds or a throughput not above 0.
    """
    if refusal := _too_few("Amdahl's law", throughputs, needed=3):
        return refusal
    coefficients = _fit_rounds(throughputs, n_terms=2)
    fraction = signed_rank_interval(coefficients[:, 1] / coefficients[:, 0])
    if fraction.value > 1:
        return Refusal(
            reason="throughput falls below one worker's as workers are added, which Amdahl's law cannot describe"
        )
    bounded = fraction.map(lambda s: min(max(s, 0.0), 1.0))
    return AmdahlFit(
        serial_fraction=bounded,
        max_speedup=bounded.map(lambda s: 1 / s if s else math.inf),
        misfit=_misfit(throughputs, coefficients),
    )


def fit_usl(throughputs: Throughputs) -> UslFit | Refusal:
    """Fit the universal scalability law to at least four worker counts. Raises ValueError as `fit_amdahl` does."""
    if refusal := _too_few("the universal scalability law", throughputs, needed=4):
        return refusal
    coefficients = _fit_rounds(throughputs, n_terms=3)
    contention = signed_rank_interval(coefficients[:, 1] / coefficients[:, 0])
    coherency = signed_rank_interval(coefficients[:, 2] / coefficients[:, 0]).map(lambda kappa: max(kappa, 0.0))
    kappa = coherency.value
    return UslFit(
        contention=contention,
        coherency=coherency,
        peak_workers=math.sqrt(max(0.0, 1 - contention.value) / kappa) if kappa > 0 else math.inf,
        misfit=_misfit(throughputs, coefficients),
    )


def fit_power(seconds: Mapping[int, Sequence[float]]) -> PowerFit:
    """Fit a power law to the seconds of each round, by size; the line runs through the sizes' central times."""
    sizes = np.log(list(seconds))
    exponents = [np.polyfit(sizes, of_round, 1)[0] for of_round in np.log(list(seconds.values())).T]
    exponent = signed_rank_interval(exponents)
    heights = np.log([signed_rank_interval(rounds).value for rounds in seconds.values()]) - exponent.value * sizes
    misfit = float(np.max(np.abs(np.expm1(heights - heights.mean()))))
    return PowerFit(exponent=exponent, at_one_s=math.exp(heights.mean()), misfit=misfit)


def break_even(
    startup_s: Sequence[float], single_s: Sequence[float], parallel_s: Sequence[float], *, n_rows: int
) -> Interval | Refusal:
    """Return from how many rows on a start-up pays off; one value per round, each for `n_rows` rows.

    Refused where nothing is saved per row; without an interval where nothing was saved in some rounds.
    """
    gains_s = [single - parallel for single, parallel in zip(single_s, parallel_s, strict=True)]
    if not gains_s:
        return Refusal(reason="no round holds all of them")
    if median(gains_s) <= 0:
        return Refusal(reason="no time is saved per row, so the start-up never pays off")
    paid = [n_rows * start / gain for start, gain in zip(startup_s, gains_s, strict=True) if gain > 0]
    if len(paid) < len(gains_s):
        reason = f"in {len(gains_s) - len(paid)} of {len(gains_s)} rounds no time was saved per row"
        return Interval(value=n_rows * median(startup_s) / median(gains_s), reason=reason)
    return signed_rank_interval(paid)


def _too_few(law: str, throughputs: Throughputs, *, needed: int) -> Refusal | None:
    if len({len(rounds) for rounds in throughputs.values()}) > 1 or any(
        not min(rounds, default=0) > 0 for rounds in throughputs.values()
    ):
        raise ValueError(
            "throughputs: expected as many rounds for each worker count, every value above 0, "
            f"got { ({workers: list(rounds) for workers, rounds in throughputs.items()}) }"
        )
    if len(throughputs) >= needed:
        return None
    return Refusal(reason=f"{law} needs {needed} worker counts, has {len(throughputs)}")


def _terms(workers: npt.NDArray[np.float64], n_terms: int) -> npt.NDArray[np.float64]:
    return np.stack([np.ones_like(workers), workers - 1, workers * (workers - 1)][:n_terms], axis=1)


def _fit_rounds(throughputs: Throughputs, n_terms: int) -> npt.NDArray[np.float64]:
    """Return each round's coefficients, shape (rounds, terms), by least squares on relative errors."""
    workers = np.array(list(throughputs), dtype=float)
    rounds = np.array(list(throughputs.values()), dtype=float).T
    fits = [np.linalg.lstsq(_terms(workers, n_terms) * (x / workers)[:, None], np.ones(len(x)))[0] for x in rounds]
    return np.array(fits)


def _misfit(throughputs: Throughputs, coefficients: npt.NDArray[np.float64]) -> float:
    """Return the largest relative difference between a worker count's median throughput and the law's."""
    workers = np.array(list(throughputs), dtype=float)
    seen = np.median(np.array(list(throughputs.values()), dtype=float), axis=1)
    predicted = workers / (_terms(workers, coefficients.shape[1]) @ np.median(coefficients, axis=0))
    return float(np.max(np.abs(predicted / seen - 1)))
