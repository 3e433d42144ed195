"""What one cell's samples say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from simulated_series import AR1_LAGS, autoregressive, coverage, times_from_noise

from inferbench_lib.records import Case, Flag, Measurement, Outcome, Verification
from inferbench_lib.stats.intervals import (
    critical_rank_sum,
    percentile,
    samples_needed,
    signed_rank_interval,
    values_needed,
)
from inferbench_lib.stats.level import is_level
from inferbench_lib.stats.series import (
    drift,
    effective_samples,
    into_blocks,
    lag1,
    replicates,
)
from inferbench_lib.stats.statistics import median_interval, relative_width, summarize

CASE = Case(workload="forest", batch_size=4)


def cell(*rounds: tuple[float, ...], **fields: object) -> Measurement:
    """A measurement of these rounds."""
    return Measurement(
        case=CASE,
        samples_s=tuple(sample for samples in rounds for sample in samples),
        round_sizes=tuple(len(samples) for samples in rounds),
        **fields,  # type: ignore[arg-type]
    )


def test_critical_rank_sums_are_those_of_the_published_table() -> None:
    """Two-sided 5 % and 1 % critical values equal the table of Wilcoxon & Wilcox (1964)."""
    published_5 = {6: 0, 7: 2, 8: 3, 9: 5, 10: 8, 11: 10, 12: 13, 13: 17, 14: 21, 15: 25, 20: 52, 25: 89}
    published_1 = {8: 0, 9: 1, 10: 3, 11: 5, 12: 7, 13: 9, 14: 12, 15: 15, 20: 37, 25: 68}
    assert {n: critical_rank_sum(n) for n in published_5} == published_5
    assert {n: critical_rank_sum(n, 0.99) for n in published_1} == published_1
    assert critical_rank_sum(5) is None
    assert (values_needed(0.95), values_needed(0.99)) == (6, 8)


def test_six_values_give_their_whole_range_of_walsh_averages() -> None:
    """With six values the interval runs from the least to the largest, around the median of the Walsh averages."""
    interval = signed_rank_interval([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    # The 21 Walsh averages by hand: 1 1.5 2 2.5 3 4 4.5 5 6 8 8.5 9 10 12 16 16.5 17 18 20 24 32
    assert (interval.value, interval.low, interval.high) == (8.5, 1.0, 32.0)


def test_the_interval_is_what_the_signed_rank_test_does_not_reject() -> None:
    """scipy's exact test accepts every centre inside the interval and rejects those outside."""
    values = np.random.default_rng(5).normal(10, 1, size=11)
    interval = signed_rank_interval(values)
    for centre, accepted in (
        (interval.low + 1e-9, True),
        (interval.high - 1e-9, True),
        (interval.low - 1e-9, False),
        (interval.high + 1e-9, False),
    ):
        assert (stats.wilcoxon(values - centre, method="exact").pvalue > 0.05) == accepted


def test_one_wild_round_does_not_drag_the_interval_away() -> None:
    """Of twelve rounds one took a hundred times as long: the interval stays within the others."""
    calm = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0]
    interval = signed_rank_interval(np.log([*calm, 150.0]))
    assert 1.0 < math.exp(interval.low) < math.exp(interval.value) < math.exp(interval.high) <= 2.0


def test_five_values_carry_no_interval() -> None:
    """Below six values the centre is given, the interval withheld with what it needs."""
    interval = signed_rank_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (interval.value, interval.low, interval.high) == (3.0, None, None)
    assert interval.reason == "needs 6 rounds, has 5"
    with pytest.raises(ValueError, match=r"^signed_rank_interval: expected one or more finite values, got \[nan\]$"):
        signed_rank_interval([math.nan])


@pytest.mark.parametrize("lag", AR1_LAGS)
@pytest.mark.parametrize("quantity", ["median", "ratio"])
def test_intervals_cover_the_truth_as_often_as_they_promise(lag: float, quantity: str) -> None:
    """15 rounds of 5 calls, 10 calls of others in each: 93 to 97 % of 95 % intervals hold the known truth."""
    assert 0.93 <= coverage(lag, quantity=quantity, n_rounds=15, n_trials=4000, seed=11) <= 0.97


@pytest.mark.parametrize("n_rounds", [6, 7, 8, 9, 10, 11, 12])
def test_few_rounds_cover_a_ratio_too(n_rounds: int) -> None:
    """A ratio's interval keeps its promise from six rounds on, however alike consecutive calls are."""
    assert 0.93 <= coverage(0.87, quantity="ratio", n_rounds=n_rounds, n_trials=4000, seed=2) <= 0.975


def test_calls_taken_for_rounds_would_break_the_promise() -> None:
    """Treating 15 consecutive calls as replicates covers far too seldom: the coverage check can fail."""
    assert coverage(0.87, quantity="median", n_rounds=15, calls_per_round=1, gap=0, n_trials=1000) < 0.85


def test_merging_rounds_keeps_the_coverage_of_a_cell_s_own_median() -> None:
    """From 12 rounds on neighbours are merged: 14 rounds become 7 groups, 60 become 12."""
    assert [len(replicates([(1.0, 2.0)] * n)) for n in (6, 11, 12, 14, 34, 60)] == [6, 11, 6, 7, 7, 12]
    assert replicates([(float(i), i + 2.0) for i in range(14)])[0] == 1.5  # 0 2 1 3


def test_percentiles_need_as_many_samples_as_the_tail_asks() -> None:
    """p90 needs 29 samples, p95 59, p99 299, and one fewer withholds it."""
    assert [samples_needed(p) for p in (0.9, 0.95, 0.99)] == [29, 59, 299]
    withheld = percentile([1.0] * 58, 0.95)
    assert (withheld.value, withheld.low, withheld.high) == (None, None, None)
    assert withheld.reason == "needs 59 single-call samples, has 58"
    assert percentile([1.0] * 59, 0.95).value == 1.0


def test_a_percentile_s_interval_lies_between_order_statistics() -> None:
    """For the median of 1..100 the ends are the 40th and the 61st, the published order statistics."""
    median = percentile(range(1, 101), 0.5)
    assert (median.value, median.low, median.high) == (50.5, 40.0, 61.0)


def test_an_end_beyond_the_samples_is_withheld() -> None:
    """29 samples carry p90 but no two-sided upper end; 36 do."""
    assert percentile(range(29), 0.9).high is None
    assert percentile(range(29), 0.9).reason == "one end of the interval lies beyond the samples"
    assert percentile(range(1, 37), 0.9).high == 36.0


def test_autocorrelated_calls_widen_a_percentile_s_interval() -> None:
    """A hundred calls worth 25 independent ones have the interval of 25: ranks 8 and 18 of them, 32 and 72 of these."""
    median = percentile(range(1, 101), 0.5, n_effective=25)
    assert (median.low, median.high) == (32.0, 72.0)


def test_lag1_finds_the_autocorrelation_within_rounds() -> None:
    """The estimate on series of known autocorrelation is that number, also when the series is cut into rounds."""
    rng = np.random.default_rng(3)
    for known in AR1_LAGS:
        series = times_from_noise(autoregressive((20_000,), known, rng)).tolist()
        assert lag1([series]) == pytest.approx(known, abs=0.03)
        assert lag1([series[i : i + 5] for i in range(0, len(series), 20)]) == pytest.approx(known, abs=0.03)


def test_lag1_is_not_given_where_it_cannot_be_judged() -> None:
    """Nine pairs, no rounds, or equal samples have no autocorrelation."""
    assert lag1([list(range(10))]) is None
    assert lag1([]) is None
    assert lag1([[1.0] * 50]) is None
    assert lag1([[1.0, 2.0] * 20]) == pytest.approx(-1.0, abs=0.03)


def test_effective_samples_shrink_with_autocorrelation() -> None:
    """100 samples at lag-1 0.6 are worth 25; negative autocorrelation is not counted as a gain."""
    assert effective_samples(100, 0.6) == pytest.approx(25.0)
    assert effective_samples(100, None) == effective_samples(100, -0.5) == 100


def test_a_lone_series_is_cut_into_blocks_longer_than_its_memory() -> None:
    """Independent samples make blocks of five, likeness makes them longer, and none is lost."""
    rng = np.random.default_rng(7)
    independent = rng.lognormal(size=100).tolist()
    alike = autoregressive((1000,), 0.87, rng).tolist()
    assert [len(block) for block in into_blocks(independent)] == [5] * 20
    assert 34 <= len(into_blocks(alike)[0]) <= 60  # 10 r / (1 − r²) = 36 at r = 0.87, raised by the standard error
    assert sum(len(block) for block in into_blocks(alike)) == 1000
    assert into_blocks([]) == [[]]


def test_a_lone_series_covers_its_median() -> None:
    """Of 600 series of 300 calls at lag-1 0.3, the block intervals hold the true median in 93 to 97 of 100."""
    times = times_from_noise(autoregressive((600, 300), 0.3, np.random.default_rng(1)))
    intervals = [median_interval([row.tolist()]) for row in times]
    assert 0.93 <= np.mean([i.low <= 1 <= i.high for i in intervals]) <= 0.97


def test_a_short_series_has_no_interval() -> None:
    """Twelve calls in one round: the median is given, its interval withheld with what it takes."""
    interval = median_interval([[1.0, 2.0, 3.0] * 4])
    assert (interval.value, interval.low) == (2.0, None)
    assert interval.reason == "needs 6 rounds or about 36 calls in one, has 12"


def test_a_sample_of_zero_seconds_is_refused() -> None:
    """A clock too coarse for the call raises instead of giving a figure."""
    message = "median_interval: expected samples above 0 s, got 0.0; a clock too coarse for one call needs more calls"
    with pytest.raises(ValueError, match=f"^{message} per sample$"):
        median_interval([[1.0, 0.0]])


def test_the_interval_always_holds_the_samples_own_median() -> None:
    """Where one long round outweighs the others, the interval is widened to the median of all samples."""
    calm = [[1.0], [1.1]] * 4
    slow, fast = median_interval([*calm, [2.0] * 50]), median_interval([*calm, [0.5] * 50])
    assert (slow.value, slow.high) == (2.0, 2.0)
    assert (fast.value, fast.low) == (0.5, 0.5)


def test_warm_up_ends_when_two_windows_agree() -> None:
    """A falling series levels once five samples agree with the five before; a ramp never does; noise does."""
    falling = [10.0, 8.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.5, 1.2, 1.1] + [1.0] * 10
    assert not is_level(falling[:10])
    assert is_level(falling)
    assert not is_level([1.0 + 0.1 * i for i in range(40)])
    assert is_level([1.0, 1.2, 0.9, 1.1, 1.0, 1.1, 0.9, 1.0, 1.2, 1.0])


def test_a_level_series_still_makes_the_minimum_of_warm_ups() -> None:
    """Nine equal samples are not enough, and a larger minimum is kept."""
    assert not is_level([1.0] * 9)
    assert is_level([1.0] * 10)
    assert not is_level([1.0] * 19, minimum=20)


def test_relative_width_is_that_of_the_rounds_interval() -> None:
    """Six round medians from 0.9 to 1.1 around 1: width 0.2; five have none."""
    assert relative_width(cell((0.9,), (1.0,), (1.0,), (1.0,), (1.0,), (1.1,))) == pytest.approx(0.2)
    assert relative_width(cell(*[(1.0,)] * 5)) == math.inf
    assert relative_width(cell(*[(1.0,)] * 6)) == 0.0
    assert relative_width(cell()) == math.inf


def test_drift_is_a_difference_of_halves_that_is_large_and_sure() -> None:
    """A step of 10 % drifts, one of 4 % does not, nor does noise; with three against three all must be apart."""
    assert drift([1.0, 1.01, 1.02, 1.0, 1.12, 1.11, 1.1, 1.13]) == pytest.approx(1.115 / 1.005 - 1)
    assert drift([1.0, 1.01, 1.0, 1.01, 1.05, 1.04, 1.05, 1.04]) == 0
    assert drift([1.0, 1.3, 0.9, 1.2, 1.1, 1.4, 0.9, 1.2]) == 0
    assert drift([1.0, 1.1, 1.0, 1.2, 1.3, 1.2]) != 0
    assert drift([1.0, 1.25, 1.0, 1.2, 1.3, 1.2]) == 0
    assert drift([1.0, 9.0]) == 0


def test_a_summary_keeps_every_sample() -> None:
    """Median, mean, deviation, throughput and counts follow from all samples, outliers among them."""
    rounds = [(1.0, 2.0, 3.0)] * 5 + [(2.0, 2.0, 20.0)]
    summary = summarize(cell(*rounds, inputs_per_call=4))
    samples = [sample for samples in rounds for sample in samples]
    assert (summary.n_samples, summary.n_rounds, summary.outcome) == (18, 6, Outcome.OK)
    assert (summary.median_s.value, summary.median_s.low, summary.median_s.high) == (2.0, 2.0, pytest.approx(2.0))
    assert summary.mean_s == pytest.approx(np.mean(samples))
    assert summary.std_s == pytest.approx(np.std(samples, ddof=1))
    assert summary.throughput_per_s.value == 2.0
    assert [q.value for q in summary.percentiles] == [2.0, None, None, None]


def test_throughput_turns_the_interval_around() -> None:
    """The slowest end of the time is the lowest end of the throughput."""
    summary = summarize(cell(*[(s,) for s in (1.0, 1.25, 1.25, 1.25, 1.25, 2.0)], inputs_per_call=10))
    assert (summary.throughput_per_s.low, summary.throughput_per_s.high) == (pytest.approx(5), pytest.approx(10))


def test_means_of_blocks_carry_no_tail() -> None:
    """Where a sample is several calls every percentile is withheld, however many there are."""
    summary = summarize(cell(*[(1.0,) * 100] * 6, calls_per_sample=8))
    assert {q.reason for q in summary.percentiles} == {"needs single-call samples, has means of 8 calls"}
    assert {q.value for q in summary.percentiles} == {None}


def test_a_series_that_is_not_level_is_unstable() -> None:
    """Drifting rounds and a drifting lone series are told apart, with the size of the drift."""
    rounds = summarize(cell(*[(1.0,)] * 4, *[(1.25,)] * 4))
    series = summarize(cell((1.0,) * 100 + (0.8,) * 100))
    assert rounds.outcome is Outcome.UNSTABLE
    assert rounds.reason == "the rounds' medians drift: the second half is 25% slower than the first"
    assert series.reason == "the series is not level: the second half is 20% faster than the first"


def test_a_flag_that_invalidates_makes_a_cell_unstable() -> None:
    """A throttled cell is unstable in the flag's words; a remark leaves it alone."""
    steady = cell(*[(1.0,)] * 6)
    throttled = replace(steady, flags=(Flag(name="throttle", text="clock at 60 %", invalidates=True),))
    remarked = replace(steady, flags=(Flag(name="load", text="load 0.3"),))
    assert (summarize(throttled).outcome, summarize(throttled).reason) == (Outcome.UNSTABLE, "clock at 60 %")
    assert summarize(remarked).outcome is Outcome.OK


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.OOM, Outcome.INVALID])
def test_a_cell_without_result_stays_a_row_with_its_reason(outcome: Outcome) -> None:
    """Its outcome and reason pass through, its numbers are NaN."""
    summary = summarize(cell(outcome=outcome, reason="because"))
    assert (summary.outcome, summary.reason, summary.n_samples) == (outcome, "because", 0)
    assert math.isnan(summary.median_s.value)


def test_numbers_of_wrong_outputs_are_withheld() -> None:
    """Samples of a path whose outputs differ from the reference give no figure."""
    wrong = Verification(passed=False, n_checked=10, max_abs_difference=0.5, detail="row 3: 1 instead of 0")
    summary = summarize(cell(*[(1.0,)] * 6, verification=wrong))
    assert (summary.outcome, summary.reason) == (Outcome.INVALID, "outputs differ: row 3: 1 instead of 0")
    assert math.isnan(summary.median_s.value)
    assert math.isnan(summary.throughput_per_s.value)
