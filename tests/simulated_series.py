"""Autocorrelated series whose truth is known, on which the intervals and verdicts are held to their promise.

One machine has one noise: a Gaussian first-order autoregressive series over consecutive calls, whichever cell they
belong to. Cells take their turns on it in rounds, in random order, with other cells' calls (`gap`) between, exactly as
the measuring side interleaves them. A call's time is its cell's true median × exp(σ · g(z)), with g increasing and
g(0) = 0, so that the median is known whatever the skew: right-skewed, heavier than lognormal (Tukey's g transform).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import signal

from inferbench_lib.stats.intervals import Floats, signed_rank_interval
from inferbench_lib.stats.series import n_replicates
from inferbench_lib.stats.verdict import WITHIN_RUN

NOISE = 0.03  # standard deviation of a call's log time
SKEW = 0.5  # Tukey's g; 0 is lognormal

AR1_LAGS = (0.0, 0.3, 0.6, 0.87)  # lag-1 autocorrelations seen between consecutive calls


def autoregressive(shape: tuple[int, ...], lag1: float, rng: np.random.Generator) -> Floats:
    """Standard normal series along the last axis with the given lag-1 autocorrelation, stationary from the start."""
    shocks = rng.standard_normal(shape) * np.sqrt(1 - lag1**2)
    shocks[..., 0] /= np.sqrt(1 - lag1**2)
    return np.asarray(signal.lfilter([1.0], [1.0, -lag1], shocks, axis=-1))


def times_from_noise(noise: Floats, *, spread: float = NOISE, skew: float = SKEW) -> Floats:
    """Seconds with true median 1 from standard normal noise; an increasing function of it."""
    return np.exp(spread * (np.expm1(skew * noise) / skew if skew else noise))


def interleaved_times(
    *, lag1: float, n_rounds: int, calls_per_round: int, gap: int, n_trials: int, seed: int, spread: float = NOISE
) -> Floats:
    """Calls of two identical cells, shape (2, n_trials, n_rounds, calls_per_round), true median 1 second.

    A round is one turn of either cell and `gap` calls of others, in random order.
    """
    rng = np.random.default_rng(seed)
    round_length = 2 * calls_per_round + gap
    times = times_from_noise(autoregressive((n_trials, n_rounds * round_length), lag1, rng), spread=spread)
    rounds = times.reshape(n_trials, n_rounds, round_length)
    first = rng.integers(0, gap + 1, size=(n_trials, n_rounds))
    second = rng.integers(first, gap + 1) + calls_per_round
    swapped = rng.random((n_trials, n_rounds)) < 0.5
    starts = np.where(swapped, [second, first], [first, second])
    picks = starts[..., None] + np.arange(calls_per_round)
    return np.take_along_axis(rounds[None], picks, axis=-1)


def coverage(
    lag1: float,
    *,
    quantity: Literal["median", "ratio"] = "ratio",
    n_rounds: int = 15,
    calls_per_round: int = 5,
    gap: int = 10,
    n_trials: int = 2000,
    seed: int = 0,
) -> float:
    """Share of 95 % intervals that hold the truth: of one cell's median, or of the ratio of two equal cells."""
    times = interleaved_times(
        lag1=lag1, n_rounds=n_rounds, calls_per_round=calls_per_round, gap=gap, n_trials=n_trials, seed=seed
    )
    logs = _log_replicates(times[0]) if quantity == "median" else _log_ratios(times)
    low, high = _ends(logs)
    return float(np.mean((low <= 0) & (high >= 0)))


def detection_rate(
    slowdown: float,
    *,
    lag1: float = 0.6,
    n_rounds: int = 15,
    calls_per_round: int = 5,
    gap: int = 10,
    n_trials: int = 2000,
    seed: int = 0,
    spread: float = NOISE,
) -> float:
    """Share of trials in which a candidate slower by `slowdown` (0.05: 5 %) is called slower.

    With `slowdown` 0 it is the share of false alarms of either kind.
    """
    times = interleaved_times(
        lag1=lag1,
        n_rounds=n_rounds,
        calls_per_round=calls_per_round,
        gap=gap,
        n_trials=n_trials,
        seed=seed,
        spread=spread,
    )
    low, high = _ends(_log_ratios(times) - np.log1p(slowdown))
    slower, faster = high < np.log(WITHIN_RUN.low), low > np.log(WITHIN_RUN.high)
    return float(np.mean(slower if slowdown else slower | faster))


def _ends(logs: Floats) -> Floats:
    """The ends of the interval of each trial, shape (2, n_trials)."""
    found = [signed_rank_interval(of_trial) for of_trial in logs]
    return np.array([(interval.low, interval.high) for interval in found]).T


def _log_ratios(times: Floats) -> Floats:
    baseline, candidate = np.log(np.median(times, axis=-1))
    return np.asarray(baseline - candidate)


def _log_replicates(times: Floats) -> Floats:
    groups = np.array_split(times, n_replicates(times.shape[1]), axis=1)
    return np.log(np.stack([np.median(group, axis=(1, 2)) for group in groups], axis=-1))
