"""Which of two cells is faster, and whether that may be said."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from simulated_series import AR1_LAGS, autoregressive, detection_rate, times_from_noise

from inferbench_lib.findings import Ratio, Verdict
from inferbench_lib.records import Case, Flag, Measurement, Outcome, Verification
from inferbench_lib.stats.comparison import (
    best_and_ties,
    compare,
    compare_rounds,
    efficiency,
    naive_t_test,
    smallest_detectable_ratio,
)
from inferbench_lib.stats.verdict import Tolerance, judge, paired_ratio

WOBBLE = (1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99)


def cell(seconds: float, wobble: tuple[float, ...] = WOBBLE, **fields: object) -> Measurement:
    """A measurement of one call a round."""
    case = Case(workload=f"{seconds:g} s", batch_size=1)
    samples = tuple(seconds * w for w in wobble)
    return Measurement(case=case, samples_s=samples, round_sizes=(1,) * len(samples), **fields)  # type: ignore[arg-type]


def test_twice_as_fast_is_two() -> None:
    """The ratio is baseline time over candidate time, paired by round, so a shared disturbance cancels."""
    wild = (1.0, 5.0, 0.5, 2.0, 1.0, 3.0)
    ratio = compare(cell(2.0, wild), cell(1.0, wild))
    assert (ratio.value, ratio.low, ratio.high) == (pytest.approx(2), pytest.approx(2), pytest.approx(2))
    assert (ratio.verdict, ratio.n_rounds, ratio.reason) == (Verdict.FASTER, 6, "")
    assert compare(cell(1.0, wild), cell(2.0, wild)).verdict is Verdict.SLOWER


def test_the_interval_is_that_of_the_log_ratios() -> None:
    """Six ratios 2^0 … 2^5: centre 2^2.5, from 1 to 32, by hand."""
    ratio = compare_rounds([1.0, 2.0, 4.0, 8.0, 16.0, 32.0], [1.0] * 6)
    assert (ratio.value, ratio.low, ratio.high) == (pytest.approx(2**2.5), pytest.approx(1), pytest.approx(32))


def test_different_batches_are_compared_by_time_per_input() -> None:
    """Four inputs in twice the time are twice as fast."""
    assert compare(cell(1.0), cell(2.0, inputs_per_call=4)).value == pytest.approx(2.0)


def test_a_difference_below_the_threshold_is_none() -> None:
    """0.5 % on every round is significant and still indistinguishable; a lower threshold lets it be said."""
    ratio = compare_rounds([1.005] * 8, [1.0] * 8)
    assert ratio.verdict is Verdict.INDISTINGUISHABLE
    assert ratio.reason == "the interval reaches into the 1 % that counts as no difference"
    lower = Tolerance(min_effect=0.001)
    assert judge(paired_ratio([1.005] * 8, [1.0] * 8), lower).verdict is Verdict.FASTER
    assert judge(paired_ratio([1.0] * 8, [1.005] * 8), lower).verdict is Verdict.SLOWER


def test_a_verdict_needs_the_whole_interval() -> None:
    """Ratios from 0.9 to 1.4 have their centre above the threshold and an end below 1: neither faster nor slower."""
    wide = [1.2, 0.9, 1.4, 1.1, 1.0, 1.3]
    faster, slower = compare_rounds(wide, [1.0] * 6), compare_rounds([1.0] * 6, wide)
    assert (faster.low, faster.high) == (pytest.approx(0.9), pytest.approx(1.4))
    assert faster.value == pytest.approx(1 / slower.value)
    assert faster.value > 1.1
    assert faster.verdict is slower.verdict is Verdict.INDISTINGUISHABLE


def test_five_rounds_are_too_few() -> None:
    """The value is given, the verdict is what is missing."""
    ratio = compare(cell(2.0, (1.0,) * 3), cell(1.0, (1.0,) * 3))
    assert (ratio.value, ratio.low, ratio.verdict) == (pytest.approx(2.0), None, Verdict.TOO_FEW)
    assert ratio.reason == "needs 6 rounds, has 3"
    assert compare(cell(2.0, (1.0,) * 5), cell(1.0, (1.0,) * 5)).verdict is Verdict.TOO_FEW


def test_only_rounds_of_both_are_pairs() -> None:
    """A candidate that ended after six rounds is compared on those six; no shared round is too few."""
    assert compare(cell(2.0), cell(1.0, WOBBLE[:6])).n_rounds == 6
    apart = Measurement(case=cell(1.0).case, samples_s=(1.0,), round_sizes=(0, 1))
    ratio = compare(cell(1.0, (1.0,)), apart)
    assert (ratio.verdict, ratio.reason) == (Verdict.TOO_FEW, "baseline and candidate share no round")


def test_a_wrong_path_is_never_faster() -> None:
    """Wrong outputs, a failure or out of memory on either side is invalid, without a value, and named."""
    good = cell(2.0)
    wrong = cell(1.0, verification=Verification(passed=False, n_checked=9, detail="row 3"))
    for baseline, candidate, reason in (
        (good, wrong, "candidate has wrong outputs: row 3"),
        (wrong, good, "baseline has wrong outputs: row 3"),
        (good, replace(good, outcome=Outcome.OOM, reason="2 GB"), "candidate is oom: 2 GB"),
        (good, replace(good, outcome=Outcome.FAILED, reason="died"), "candidate is failed: died"),
        (good, cell(1.0, ()), "candidate has no samples"),
    ):
        ratio = compare(baseline, candidate)
        assert (ratio.verdict, ratio.low, ratio.reason) == (Verdict.INVALID, None, reason)
        assert math.isnan(ratio.value)


def test_an_unstable_cell_gets_no_verdict() -> None:
    """Its outcome or an invalidating flag stands in the verdict's place; the value is kept."""
    flagged = cell(1.0, flags=(Flag(name="clock", text="clock at 60 %", invalidates=True),))
    unstable = cell(1.0, outcome=Outcome.UNSTABLE, reason="drifts")
    assert compare(cell(2.0), flagged).verdict is Verdict.UNSTABLE
    assert compare(cell(2.0), flagged).reason == "candidate is unstable: clock at 60 %"
    assert compare(unstable, cell(2.0)).reason == "baseline is unstable: drifts"
    assert compare(cell(2.0), flagged).value == pytest.approx(2.0)


def test_other_programs_leave_no_verdict_between_cells_that_need_different_numbers_of_cpus() -> None:
    """Flagged on either side: unstable with the load as the reason; none for the same number, however it is made up."""
    text = "in 6 of 6 rounds other programs used 48 % of the CPUs. Close them and run again."
    load = {"flags": (Flag(name="other_load", text=text),)}

    def needing(n_processes: int, n_threads: int, **fields: object) -> Measurement:
        one = cell(1.0, **fields)
        return replace(one, case=replace(one.case, n_processes=n_processes, n_threads=n_threads))

    for baseline, candidate in ((needing(1, 1, **load), needing(2, 1)), (needing(1, 1), needing(1, 2, **load))):
        ratio = compare(baseline, candidate)
        assert (ratio.verdict, ratio.reason) == (Verdict.UNSTABLE, text.removesuffix("."))
        assert ratio.value == pytest.approx(1.0)
    assert compare(needing(2, 1, **load), needing(1, 2)).verdict is Verdict.INDISTINGUISHABLE
    assert compare(needing(1, 1), needing(2, 1)).verdict is Verdict.INDISTINGUISHABLE


def test_a_shared_drift_cancels_and_one_of_the_ratio_does_not() -> None:
    """Both slowing down alike leaves the verdict; one slowing down alone is unstable."""
    slowing = (1.0,) * 4 + (1.5,) * 4
    assert compare(cell(2.0, slowing), cell(1.0, slowing)).verdict is Verdict.FASTER
    alone = compare(cell(2.0, (1.0,) * 8), cell(1.0, slowing))
    assert alone.verdict is Verdict.UNSTABLE
    assert alone.reason == "their ratio drifts: -33% from the first half of the rounds to the second"


def test_unpaired_rows_are_refused() -> None:
    """Rows of different length, empty ones and zero seconds raise with what came."""
    message = r"^paired_ratio: expected equally many round medians above 0 s on either side, got \[1.0\] and \[\]$"
    with pytest.raises(ValueError, match=message):
        compare_rounds([1.0], [])
    with pytest.raises(ValueError, match="above 0 s"):
        compare_rounds([1.0], [0.0])


def test_efficiency_is_over_processes() -> None:
    """Speedup 0.738 with 4 processes is 0.184 (0.1845), the reference's figure; the interval follows."""
    speedup = Ratio(value=0.738, low=0.7, high=0.8, verdict=Verdict.SLOWER)
    result = efficiency(speedup, 4)
    assert (result.value, result.low, result.high) == (pytest.approx(0.1845), pytest.approx(0.175), pytest.approx(0.2))
    assert efficiency(speedup, 3).value == pytest.approx(0.246)  # whatever the cores of this machine
    with pytest.raises(ValueError, match=r"^efficiency: expected n_processes of at least 1, got 0$"):
        efficiency(speedup, 0)


def test_the_best_comes_with_those_tied_with_it() -> None:
    """Cells rank by time per input; 0.2 % behind is a tie, 20 % is not, a failed one is excluded."""
    best, tie, behind = cell(1.0), cell(1.002), cell(1.2)
    failed = replace(cell(0.5), outcome=Outcome.FAILED, reason="died")
    assert best_and_ties([behind, failed, tie, best]) == [best, tie]
    assert best_and_ties([failed]) == []


def test_comparisons_with_the_best_share_their_chance_of_error() -> None:
    """A cell that a pair of its own would part from the best is a tie among eight; five rounds tie none."""
    best = cell(1.0, (1.0,) * 10)
    logs = (-0.05, 0.03, 0.035, 0.04, 0.08, 0.08, 0.08, 0.08, 0.08, 0.08)
    close = cell(1.0, tuple(math.exp(x) for x in logs))
    far = [cell(2.0 + i, (1.0,) * 10) for i in range(6)]
    assert best_and_ties([best, close]) == [best]
    assert best_and_ties([best, close, *far]) == [best, close]
    assert len(best_and_ties([cell(1.0 + i, WOBBLE[:6]) for i in range(8)])) == 1
    assert len(best_and_ties([cell(1.0 + i, WOBBLE[:5]) for i in range(8)])) == 1


def test_the_smallest_detectable_ratio_is_found_as_often_as_promised() -> None:
    """With A/A scatter 3 % and 15 rounds, a slowdown of that size is found in 75 to 90 of 100 simulated tries."""
    rng = np.random.default_rng(0)
    log_ratios = rng.normal(0, 0.03, 2000)
    ratio = smallest_detectable_ratio(log_ratios, n_rounds=15)
    assert ratio == pytest.approx(1.01 * math.exp((2.1448 + 0.8681) * 0.03 * 1.0233 / math.sqrt(15)), rel=2e-3)
    trials = rng.normal(-math.log(ratio), 0.03, (1000, 15))
    found = [compare_rounds(np.exp(t).tolist(), [1.0] * 15).verdict is Verdict.SLOWER for t in trials]
    assert 0.75 <= np.mean(found) <= 0.9
    message = "smallest_detectable_ratio: expected at least 6 log ratios and rounds, got 5 and 5"
    with pytest.raises(ValueError, match=f"^{message}$"):
        smallest_detectable_ratio([0.0] * 5, n_rounds=5)


@pytest.mark.parametrize("lag", AR1_LAGS)
def test_a_slowdown_of_5_percent_is_found(lag: float) -> None:
    """At 3 % noise a call, 15 rounds of 5 find it in at least 95 of 100 tries, whatever the autocorrelation."""
    assert detection_rate(0.05, lag1=lag, seed=1) >= 0.95


@pytest.mark.parametrize("lag", AR1_LAGS)
@pytest.mark.parametrize("spread", [0.03, 0.2])
def test_identical_variants_are_seldom_told_apart(lag: float, spread: float) -> None:
    """A/A comparisons cry wolf in at most 5 of 100, also where noise dwarfs the practical threshold."""
    assert detection_rate(0.0, lag1=lag, spread=spread, n_rounds=12, seed=2) <= 0.05


def test_the_naive_t_test_cries_wolf() -> None:
    """Consecutive calls taken for independent: over 20 of 100 false alarms at lag-1 0.6, near 5 without it."""

    def false_alarms(lag1: float, n_calls: int = 50) -> float:
        times = times_from_noise(autoregressive((1000, 2 * n_calls), lag1, np.random.default_rng(0)))
        return float(np.mean([naive_t_test(row[:n_calls], row[n_calls:]) < 0.05 for row in times]))

    assert false_alarms(0.6) > 0.2
    assert false_alarms(0.0) == pytest.approx(0.05, abs=0.025)
    assert naive_t_test([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 1.0
