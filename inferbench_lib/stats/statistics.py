"""Summarize the raw samples of one cell. The unit of replication is the round, never the call."""

from __future__ import annotations

import math
from statistics import fmean, median, stdev

import numpy as np

from inferbench_lib.findings import Interval, Percentile, Summary
from inferbench_lib.records import Measurement, Outcome
from inferbench_lib.stats.intervals import percentile, signed_rank_interval, values_needed
from inferbench_lib.stats.processes import widened
from inferbench_lib.stats.series import MIN_BLOCK, Rounds, drift, effective_samples, lag1, replicates, round_medians

PERCENTILES = (0.50, 0.90, 0.95, 0.99)
MAX_PIECES = 10  # into which a lone series is cut to look for a drift


def median_interval(rounds: Rounds) -> Interval:
    """Return the samples' median with a 95 % interval over rounds; over blocks when there is one round only.

    The interval is the signed-rank interval of the replicates' log medians, widened to hold the samples' own median in
    the rare case that it lies outside; withheld below six replicates. Raises ValueError for a sample of 0 s or less.
    """
    samples = [sample for samples in rounds for sample in samples]
    if not samples or not min(samples) > 0:
        raise ValueError(
            f"median_interval: expected samples above 0 s, got {min(samples, default='none')}; "
            "a clock too coarse for one call needs more calls per sample"
        )
    centre, values = median(samples), replicates(rounds)
    logs = signed_rank_interval(np.log(values))
    if logs.low is None or logs.high is None:
        needed = values_needed()
        is_one_round = sum(1 for samples in rounds if len(samples)) == 1
        n_calls = math.ceil(needed * len(samples) / len(values))
        in_one = f"needs {needed} rounds or about {n_calls} calls in one, has {len(samples)}"
        return Interval(value=centre, reason=in_one if is_one_round else logs.reason)
    return Interval(value=centre, low=min(centre, math.exp(logs.low)), high=max(centre, math.exp(logs.high)))


def relative_width(cell: Measurement) -> float:
    """Return the width of the median's 95 % interval over the median; infinite while the rounds carry no interval.

    The stop rule reads it.
    """
    if not cell.samples_s:
        return math.inf
    interval = widened(median_interval(cell.rounds()), cell)
    if interval.low is None or interval.high is None:
        return math.inf
    return (interval.high - interval.low) / interval.value


def percentiles(rounds: Rounds, calls_per_sample: int, fault: str = "") -> tuple[Percentile, ...]:
    """Return p50, p90, p95 and p99 of single calls; withheld for a fault, too few samples or means of blocks."""
    if calls_per_sample != 1:
        fault = fault or f"needs single-call samples, has means of {calls_per_sample} calls"
    if fault:
        return tuple(Percentile(p=p, value=None, reason=fault) for p in PERCENTILES)
    samples = [sample for samples in rounds for sample in samples]
    worth = effective_samples(len(samples), lag1(rounds))
    return tuple(percentile(samples, p, n_effective=worth) for p in PERCENTILES)


def summarize(measurement: Measurement) -> Summary:
    """Return the summary of one cell, in seconds per call; numbers are withheld (NaN) when its outputs were wrong.

    A cell that was measured well but is not level, or that carries an invalidating flag, becomes `unstable`;
    any other outcome passes through with its reason.
    """
    rounds = [samples for samples in measurement.rounds() if samples]
    samples = measurement.samples_s
    outcome, reason = _outcome(measurement)
    is_usable = bool(samples) and outcome is not Outcome.INVALID
    centre = widened(median_interval(rounds), measurement) if is_usable else Interval(value=math.nan, reason=reason)
    return Summary(
        n_samples=len(samples),
        n_rounds=len(rounds),
        median_s=centre,
        mean_s=fmean(samples) if is_usable else math.nan,
        std_s=stdev(samples) if is_usable and len(samples) > 1 else math.nan,
        percentiles=percentiles(rounds, measurement.calls_per_sample, "" if is_usable else reason),
        throughput_per_s=centre.map(lambda seconds: measurement.inputs_per_call / seconds),
        outcome=outcome,
        reason=reason,
    )


def _outcome(measurement: Measurement) -> tuple[Outcome, str]:
    if measurement.verification is not None and not measurement.verification.passed:
        return Outcome.INVALID, measurement.reason or f"outputs differ: {measurement.verification.detail}"
    if measurement.outcome is not Outcome.OK or not measurement.samples_s:
        return measurement.outcome, measurement.reason
    for flag in measurement.flags:
        if flag.invalidates:
            return Outcome.UNSTABLE, flag.text
    rounds = [samples for samples in measurement.rounds() if samples]
    change = drift(_in_order(rounds), measurement.process_sizes)
    if not change:
        return Outcome.OK, measurement.reason
    what = "the series is not level" if len(rounds) == 1 else "the rounds' medians drift"
    direction = "slower" if change > 0 else "faster"
    return Outcome.UNSTABLE, f"{what}: the second half is {abs(change):.0%} {direction} than the first"


def _in_order(rounds: Rounds) -> list[float]:
    """Return unmerged medians in the order taken, in which a drift shows: of rounds, or of a lone series' pieces."""
    if len(rounds) == 1:
        # Not its blocks: a drift looks like autocorrelation, which would leave too few of them to show it.
        n_pieces = min(MAX_PIECES, len(rounds[0]) // MIN_BLOCK)
        rounds = [piece.tolist() for piece in np.array_split(rounds[0], max(1, n_pieces))]
    return round_medians(rounds)
