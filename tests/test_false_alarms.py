"""Identical variants: how they are paired, what counts as a false alarm, which slowdown would have been found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from calibration_runs import CNN, FOREST, alike_row, variants
from simulated_series import autoregressive, times_from_noise

from inferbench_lib.findings import Verdict
from inferbench_lib.records import Measurement, Outcome, Verification
from inferbench_lib.stats.comparison import compare_rounds
from inferbench_lib.studies.calibration.false_alarms import compare_identical


def test_blocks_of_rounds_are_paired_without_sharing_a_call() -> None:
    """Variants that take 1, 2, 4 and 8 s: each block of 8 rounds pairs all four once, another way in each block."""
    steady = np.tile([1.0, 1.001, 0.999], (24, 1))
    cells = [alike_row(FOREST, 2.0**number * steady) for number in range(4)]
    found = compare_identical(cells, wanted=6, n_rounds=8)
    assert (found.n_blocks, found.n_pairings) == (3, 1)
    assert [one.ratio.value for one in found.comparisons] == pytest.approx([1 / 2, 1 / 2, 1 / 4, 1 / 4, 1 / 8, 1 / 2])


def test_blocks_are_paired_anew_where_there_are_too_few() -> None:
    """Two blocks give 4 comparisons that share nothing; asked for 9, every pair of every block is compared."""
    steady = np.tile([1.0, 1.001, 0.999], (16, 1))
    cells = [alike_row(FOREST, 2.0**number * steady) for number in range(4)]
    found = compare_identical(cells, wanted=9, n_rounds=8)
    assert (found.n_blocks, found.n_pairings, len(found.comparisons)) == (2, 3, 12)
    ratios = sorted(one.ratio.value for one in found.comparisons)
    assert ratios == pytest.approx([1 / 8] * 2 + [1 / 4] * 4 + [1 / 2] * 6)


def test_identical_variants_raise_no_alarm() -> None:
    """Noise of 0.2 % never carries an interval beyond the 1 % that a verdict needs."""
    cells = variants(FOREST, n_rounds=80) + variants(CNN, n_rounds=80, seed=1)
    found = compare_identical(cells, wanted=40, n_rounds=8)
    assert (len(found.comparisons), found.n_alarms, found.n_withheld) == (40, 0, 0)
    assert found.alarm_rate.high == pytest.approx(1 - 0.025 ** (1 / 40))


def test_a_variant_that_is_not_identical_is_an_alarm_in_every_block() -> None:
    """A variant slower by 10 % is in one comparison of each of its 10 blocks, and each of them claims a difference."""
    cells = variants(FOREST, n_rounds=80, factors=(1, 1, 1, 1.1)) + variants(CNN, n_rounds=80, seed=1)
    found = compare_identical(cells, wanted=40, n_rounds=8)
    assert found.n_alarms == 10
    assert {one.workload for one in found.comparisons if one.ratio.is_difference} == {"forest"}


def test_the_t_test_on_calls_raises_alarms_that_rounds_do_not() -> None:
    """Where the speed wanders slowly, calls in a row taken for independent differ far too often; rounds do not."""
    rng = np.random.default_rng(3)
    noise = autoregressive((480 * 12,), 0.97, rng).reshape(480, 4, 3)
    order = rng.permuted(np.tile(np.arange(4), (480, 1)), axis=1)
    times = times_from_noise(np.take_along_axis(noise, order[:, :, None], axis=1))
    in_a_row = times_from_noise(autoregressive((4 * 1500,), 0.97, rng)).reshape(30, 4, 50)
    cells = [
        replace(alike_row(FOREST, times[:, n]), series={"in_a_row_s": tuple(in_a_row[:, n].ravel())}) for n in range(4)
    ]
    found = compare_identical(cells, wanted=120, n_rounds=8)
    assert found.n_alarms <= 0.05 * 120
    assert len(found.p_values_in_a_row) == 6 * 30
    assert found.naive_alarms_in_a_row >= 0.5 * 180


def test_found_slowdowns_are_those_that_comparisons_would_call_slower() -> None:
    """The share of comparisons that would find 5 % is that of comparisons with the candidate really made slower."""
    cells = variants(FOREST, n_rounds=80, spread=0.05)
    found = compare_identical(cells, wanted=20, n_rounds=8)
    rounds = [np.median(np.reshape(cell.samples_s, (80, 3)), axis=1) for cell in cells]
    pairings = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    verdicts = [
        compare_rounds(list(rounds[a][8 * b : 8 * b + 8]), list(1.05 * rounds[c][8 * b : 8 * b + 8])).verdict
        for b in range(10)
        for a, c in pairings[b % 3]
    ]
    share = verdicts.count(Verdict.SLOWER) / 20
    assert 0 < share < 1
    assert found.found(0.05) == share


def test_smallest_slowdown_is_that_of_the_workload_that_scatters_more() -> None:
    """With ten times the scatter in one workload, that one decides what this machine can find."""
    cells = variants(FOREST, n_rounds=40) + variants(CNN, n_rounds=40, spread=0.02, seed=1)
    found = compare_identical(cells, wanted=20, n_rounds=8)
    assert found.detectable_ratio == found.detectable["cnn-small"] > found.detectable["forest"] > 1.01


@pytest.mark.parametrize(
    "broken",
    [
        Measurement(case=FOREST, outcome=Outcome.FAILED, reason="killed"),
        replace(variants(FOREST, n_rounds=8)[0], verification=Verification(passed=False, n_checked=1, detail="row 0")),
    ],
)
def test_a_workload_with_an_unusable_variant_is_left_out(broken: Measurement) -> None:
    """A variant that failed or gave wrong outputs takes its workload out; the other one is still compared."""
    broken = replace(broken, notes={"part": "identical"})
    cells = [broken, *variants(FOREST, n_rounds=8)[1:], *variants(CNN, n_rounds=8)]
    assert {one.workload for one in compare_identical(cells, wanted=2, n_rounds=8).comparisons} == {"cnn-small"}
