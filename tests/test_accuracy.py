"""Accuracy carries its interval, and the Pareto front holds what no other variant beats."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from inferbench_lib.stats.accuracy import accuracy, pareto


@pytest.mark.parametrize(
    ("n_correct", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_interval_is_the_published_one(n_correct: int, n: int, low: float, high: float) -> None:
    """The Wilson intervals of Newcombe 1998, table I, method 3, to their four digits."""
    seen = accuracy(n_correct, n)
    assert (seen.value, seen.level) == (n_correct / n, 0.95)
    assert (seen.low, seen.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_interval_is_that_of_scipy(level: float) -> None:
    """SciPy's Wilson interval is the same, at other levels too, from none right to all."""
    for n_correct, n in ((0, 1), (1, 1), (484, 497), (497, 497), (0, 497), (5, 10)):
        expected = stats.binomtest(n_correct, n).proportion_ci(level, method="wilson")
        seen = accuracy(n_correct, n, level)
        assert (seen.low, seen.high) == (
            pytest.approx(expected.low, abs=1e-12),
            pytest.approx(expected.high, abs=1e-12),
        )


def test_interval_holds_its_value_and_stays_in_bounds() -> None:
    """Rounding leaves no share outside of its interval, and no end outside of 0 and 1."""
    for n in (1, 3, 7, 497, 1_000_000):
        for n_correct in {0, 1, n // 2, n - 1, n}:
            seen = accuracy(n_correct, n)
            assert seen.low is not None
            assert seen.high is not None
            assert 0 <= seen.low <= seen.value <= seen.high <= 1


@pytest.mark.parametrize(("n_correct", "n"), [(1, 0), (0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(n_correct: int, n: int) -> None:
    """More right than there are, fewer than none, or no input at all is an error that says so."""
    with pytest.raises(ValueError, match="accuracy") as raised:
        accuracy(n_correct, n)
    assert str(raised.value) == (
        f"accuracy: expected 0 ≤ n_correct ≤ n and n ≥ 1, got {n_correct} of {n}; "
        "compare the classes of at least one input with their truth"
    )


def test_front_holds_what_nothing_beats() -> None:
    """Slower and less accurate is beaten; faster or more accurate is not."""
    points = [(1.0, 0.90), (2.0, 0.95), (3.0, 0.94), (0.5, 0.80), (1.0, 0.85), (4.0, 0.95)]
    assert pareto(points) == (True, True, False, True, False, False)


def test_equal_points_are_on_the_front_together() -> None:
    """A point is not beaten by its like; one tie and one gain beat."""
    assert pareto([(1.0, 0.9), (1.0, 0.9)]) == (True, True)
    assert pareto([(1.0, 0.9), (1.0, 0.8)]) == (True, False)
    assert pareto([(1.0, 0.9), (2.0, 0.9)]) == (True, False)


def test_front_of_little() -> None:
    """One point is its own front, no points have none, and a time that is not a number beats nothing."""
    assert pareto([(1.0, 0.0)]) == (True,)
    assert pareto([]) == ()
    assert pareto([(math.nan, 0.9), (1.0, 0.8)])[1]
