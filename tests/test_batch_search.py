"""Which batch sizes are tried near the limit on latency, and how often each is called."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inferbench_lib.studies.batch_sweep.search import bisected, calls_a_turn, tried

DECADES = (1, 10, 100, 1_000, 10_000, 100_000)


def forest(size: int) -> float:
    """The seconds of a call that the standard run measured: 14 ms, and 10.1 µs per row."""
    return 0.014 + 10.1e-6 * size


def recorded(seconds_of: Callable[[int], float | None]) -> tuple[list[int], Callable[[int], float | None]]:
    """The sizes asked for, and the function that asks."""
    asked: list[int] = []

    def ask(size: int) -> float | None:
        asked.append(size)
        return seconds_of(size)

    return asked, ask


def test_batches_near_the_limit_are_found_between_decades() -> None:
    """1,000 rows take 24 ms, 10,000 take 115: of the sizes halfway on the log scale 5,700 and 7,500 are kept.

    7,500 reach 83,600 rows per second, 10,000 would reach 87,000: 4 % more, so the search ends.
    """
    asked, ask = recorded(forest)
    found = tried(DECADES, 0.1, ask)
    assert asked == [1, 10, 100, 1_000, 10_000, 3_200, 5_700, 7_500]
    assert sorted(found) == [1, 10, 100, 1_000, 5_700, 7_500, 10_000]
    assert found[7_500] == pytest.approx(0.08975)
    best = 0.1 / forest(int((0.1 - 0.014) / 10.1e-6)) * (0.1 - 0.014) / 10.1e-6 / 0.1
    assert 7_500 / found[7_500] > 0.95 * best


def test_a_size_that_was_tried_beyond_the_limit_is_not_measured() -> None:
    """With 80 ms, 7,500 rows are tried and take 90; the two largest within are kept."""
    asked, ask = recorded(forest)
    found = tried((1_000, 10_000), 0.08, ask)
    assert asked == [1_000, 10_000, 3_200, 5_700, 7_500]
    assert sorted(found) == [1_000, 3_200, 5_700, 10_000]


def test_no_batch_is_added_where_larger_ones_gain_nothing() -> None:
    """Twice the batch takes twice the time: the largest within the limit is as good as any beyond."""
    asked, ask = recorded(lambda size: 0.02 * size)
    assert sorted(tried((1, 4, 16), 0.1, ask)) == asked == [1, 4, 16]


@pytest.mark.parametrize("limit_s", [None, 10.0, 0.001])
def test_without_a_batch_on_either_side_of_the_limit_nothing_lies_between(limit_s: float | None) -> None:
    """No limit, all within it, or none: the given sizes alone are tried, up to the first slow one."""
    asked, ask = recorded(forest)
    tried((1, 100, 1_000), limit_s, ask)
    assert asked == [1, 100, 1_000]


def test_sizes_beyond_the_first_slow_one_need_no_trial() -> None:
    """300,000 rows take 3 s and are called once per turn; the next size is not tried."""
    asked, ask = recorded(forest)
    tried((1, 300_000, 3_000_000), None, ask)
    assert asked == [1, 300_000]


def test_a_trial_that_fails_ends_the_search() -> None:
    """What was found before stays; a size that fails at once leaves nothing."""
    assert bisected({1: 0.01, 100: 0.2}, 0.1, lambda _: None) == {}
    assert tried((1, 10), 0.1, lambda _: None) == {}
    asked, ask = recorded(lambda size: None if size == 10 else 0.05)
    assert (tried((1, 10, 100), 0.1, ask), asked) == ({1: 0.05}, [1, 10])


@pytest.mark.parametrize(("low", "high"), [(1, 2), (16, 17), (1_000, 1_010)])
def test_two_digits_are_fine_enough(low: int, high: int) -> None:
    """Between neighbours in two digits there is nothing to try."""
    asked, ask = recorded(lambda _: 0.05)
    assert bisected({low: 0.001, high: 0.00101}, 0.001, ask) == {}
    assert asked == []


def calls(
    seconds: float | None, *, limit_s: float | None = 0.1, percentile: float = 0.95, time_limit_s: float = 75.0
) -> int:
    return calls_a_turn(
        seconds, limit_s=limit_s, percentile=percentile, min_rounds=8, time_limit_s=time_limit_s
    )  # fmt: skip


def test_batches_near_the_limit_are_called_often_enough_for_the_percentile() -> None:
    """p95 needs 59 calls: 8 in each of 8 rounds; p99 299: 38. Fast calls fill 0.1 s, 40 at most."""
    assert [calls(s) for s in (0.001, 0.01, 0.09, 0.12, 0.126, 1.0, None)] == [40, 10, 8, 8, 1, 1, 1]
    assert calls(0.05, percentile=0.99) == 38
    assert calls(0.09, limit_s=None) == 1


def test_calls_that_would_take_too_long_are_not_made() -> None:
    """64 calls of 0.3 s are 19.2 s, more than a quarter of 75 s; of 0.29 s they are 18.6."""
    assert (calls(0.29, limit_s=1.0), calls(0.3, limit_s=1.0)) == (8, 1)
