"""Who computes which rows: sizes of calls, and a table that survives the death of those who take from it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from math import ceil

import pytest

from inferbench_lib.errors import WorkerHung
from inferbench_lib.processes.ledger import Ledger
from inferbench_lib.processes.scheduling import CallCost, of_dynamic

COST = CallCost(fixed_s=0.02, row_s=1e-5)
"""A call costs as much as 2,000 rows."""


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """100 rows for three workers, 10 at a time."""
    with Ledger(100, 3, 10) as ledger:
        yield ledger


def play(n_rows: int, slowness: Sequence[float]) -> tuple[list[list[int]], list[float]]:
    """The rows of each worker's calls, and when it ends; calls cost `COST` times the worker's slowness."""
    costs = [CallCost(fixed_s=COST.fixed_s * slow, row_s=COST.row_s * slow) for slow in slowness]
    free_s, calls, n_left = [0.0 for _ in costs], [[] for _ in costs], n_rows
    while n_left:
        worker = free_s.index(min(free_s))
        busy_s = [free - free_s[worker] for other, free in enumerate(free_s) if other != worker]
        rows = of_dynamic(n_left, n_rows, busy_s, 10**9, costs[worker])
        calls[worker].append(rows)
        free_s[worker] += costs[worker].call_s(rows)
        n_left -= rows
    return calls, free_s


def test_the_cost_of_calls_is_told_from_calls_of_different_size() -> None:
    """Calls of exactly 3 s and 0.5 s a row give just that; their order and number do not matter."""
    seen = CallCost.seen([(rows, 3 + 0.5 * rows) for rows in (10, 40, 5, 1000)])
    assert seen is not None
    assert (seen.fixed_s, seen.row_s) == (pytest.approx(3), pytest.approx(0.5))


def test_calls_of_one_size_are_all_rows() -> None:
    """One size cannot tell a call's own cost, which is then taken for nothing; no call tells nothing at all."""
    assert CallCost.seen([(10, 2.0), (10, 4.0)]) == CallCost(fixed_s=0.0, row_s=pytest.approx(0.3))
    assert CallCost.seen([]) is None


def test_noise_never_gives_an_impossible_cost() -> None:
    """Larger calls that took longer a row do not make a call's own cost negative, nor can it exceed a whole call."""
    assert CallCost.seen([(10, 1.0), (100, 20.0)]) == CallCost(fixed_s=0.0, row_s=pytest.approx(0.15))
    seen = CallCost.seen([(1, 10.0), (2, 1.0)])
    assert seen is not None
    assert (seen.fixed_s, seen.row_s) == (1.0, pytest.approx(5.25 - 0.75))


def test_workers_of_one_speed_end_together() -> None:
    """Workers get 0.65 of an equal share, then 0.85 of their part of the rest, then what lets them end together."""
    calls, ends_s = play(1_000_000, [1, 1])
    assert calls[0] == [325_000, 148_750, 26_250]
    assert calls[1] == [325_000, pytest.approx(148_750, abs=1000), pytest.approx(26_250, abs=1000)]
    assert ends_s == pytest.approx([5.06, 5.06], abs=1e-4)


def test_a_slow_worker_gets_less() -> None:
    """A worker of a third less speed leaves what it would be late with to the other, and both end together."""
    calls, ends_s = play(900_000, [1, 1.3])
    assert sum(map(sum, calls)) == 900_000
    assert sum(calls[0]) > 1.25 * sum(calls[1])
    assert ends_s == pytest.approx([9.0 * 1.3 / 2.3] * 2, rel=0.03)


def test_who_is_busy_for_long_gets_no_part() -> None:
    """A part ends when those end who still get one: with 3 s of work to do, one busy for 1 s gets 1 s of it and one
    busy for 9 s nothing.
    """
    assert of_dynamic(300_000, 10**6, [1.0], 10**9, COST) == ceil(0.85 * 200_000)
    assert of_dynamic(300_000, 10**6, [9.0, 1.0], 10**9, COST) == ceil(0.85 * 200_000)
    assert of_dynamic(300_000, 10**6, [9.0, 0.0, 1.0], 10**9, COST) == ceil(400_000 / 3)


def test_a_last_call_is_worth_its_cost() -> None:
    """Where 0.15 of a part would be less than twelve calls' cost in rows (24,000), the whole part goes at once."""
    assert of_dynamic(320_000, 10**6, [0.0], 10**9, COST) == 136_000
    assert of_dynamic(319_000, 10**6, [0.0], 10**9, COST) == 159_500
    assert of_dynamic(40_000, 10**6, [0.0], 10**9, COST) == 24_000


def test_crumbs_are_not_left() -> None:
    """What would be left for a last call of less than a quarter is done at once, within the largest call."""
    assert of_dynamic(29_999, 10**6, [0.0], 10**9, COST) == 29_999
    assert of_dynamic(30_000, 10**6, [0.0], 10**9, COST) == 24_000
    assert of_dynamic(29_999, 10**6, [0.0], 25_000, COST) == 24_000


def test_without_a_known_cost_the_first_call_is_small() -> None:
    """A worker's first call is a 32nd of its equal share."""
    assert of_dynamic(6400, 6400, [0.0], 10**9, None) == 100


def test_calls_have_bounds() -> None:
    """No call exceeds `largest` or the time limit, none has no row, and a costly call does not swallow everything."""
    assert of_dynamic(1000, 1000, [0.0], 77, COST) == 77
    assert of_dynamic(10**6, 10**6, [0.0], 10**9, COST, 0.5) == 48_000
    assert of_dynamic(10**6, 10**6, [0.0], 10**9, COST, 0.01) == 1
    assert of_dynamic(1000, 1000, [0.0], 10**9, CallCost(fixed_s=9.0, row_s=1e-9)) == 325
    assert of_dynamic(100, 1000, [0.0], 10**9, CallCost(fixed_s=9.0, row_s=0.0)) == 100
    assert of_dynamic(1000, 1000, [0.0], 10**9, CallCost(fixed_s=0.0, row_s=0.0)) == 325


def test_each_row_is_taken_once(ledger: Ledger) -> None:
    """Workers that take in turn get all rows, in order, until nothing is left for anybody."""
    taken = []
    while (rows := ledger.take(len(taken) % 3)) is not None:
        taken += rows
    assert taken == list(range(100))
    assert [ledger.take(worker) for worker in range(3)] == [None] * 3


def test_who_is_still_at_work_is_allowed_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3.5 s of rows one gets more than half while the other is busy for 1.27 s yet: what lets both end together."""
    clock = [100.0]
    monkeypatch.setattr("inferbench_lib.processes.ledger.now", lambda: clock[0])
    with Ledger(1_000_000, 2) as ledger:
        assert [ledger.take(worker, COST) for worker in (1, 0)] == [range(325_000), range(325_000, 650_000)]
        clock[0] += COST.call_s(325_000) - 1.27
        rows = ledger.take(0, COST)
    assert rows is not None
    assert len(rows) == pytest.approx(0.85 * (350_000 + 127_000) / 2, abs=1)


def test_a_ledger_travels(ledger: Ledger) -> None:
    """A pickled ledger is the same table."""
    ledger.take(0)
    with pickle.loads(pickle.dumps(ledger)) as other:
        assert other.take(1) == range(10, 20)
    assert ledger.take(0) == range(20, 30)


def test_lost_rows_come_first_and_once(ledger: Ledger) -> None:
    """What a dead worker had taken last is taken by the next one; what it took before was stored."""
    ledger.take(0)
    ledger.take(0)
    ledger.take(1)
    ledger.give_back(0)
    assert [ledger.take(1), ledger.take(1)] == [range(10, 20), range(30, 40)]


def test_what_is_left_is_what_nobody_has(ledger: Ledger) -> None:
    """There is something to do while rows are untaken, or were lost with their worker; not while all are taken."""
    while ledger.take(0):
        assert ledger.has_left == (ledger.task(0) != "batch 10 (rows 90 to 100 of 100)")
    ledger.take(1)
    assert not ledger.has_left
    with Ledger(10, 2) as small:
        small.take(0)
        small.take(1)
        while small.take(1):
            pass
        assert not small.has_left
        small.give_back(0)
        assert small.has_left
        small.take(1)
        assert not small.has_left


def test_who_stands_by_gets_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two of four workers at a time the calls are those of two workers, whichever the two are."""
    monkeypatch.setattr("inferbench_lib.processes.ledger.now", lambda: 100.0)
    with Ledger(1_000_000, 4) as ledger:
        assert [ledger.take(worker, COST) for worker in (1, 3)] == [range(162_500), range(162_500, 325_000)]
    with Ledger(1_000_000, 4) as ledger:
        ledger.limit(2)
        assert [ledger.take(worker, COST) for worker in (1, 3)] == [range(325_000), range(325_000, 650_000)]


def test_lost_rows_can_be_lost_again(ledger: Ledger) -> None:
    """Rows of a dead worker whose heir dies too are not forgotten."""
    ledger.take(0)
    ledger.give_back(0)
    assert ledger.take(1) == range(10)
    ledger.give_back(1)
    assert [ledger.take(2), ledger.take(2)] == [range(10), range(10, 20)]


def test_a_worker_that_had_nothing_loses_nothing(ledger: Ledger) -> None:
    """A worker that took nothing, or that came back for more and got none, leaves nothing behind."""
    ledger.give_back(2)
    while ledger.take(0):
        pass
    ledger.give_back(0)
    assert ledger.take(1) is None


def test_what_a_worker_is_at_can_be_said(ledger: Ledger) -> None:
    """A task is named by its number, counted over all workers, and its rows."""
    assert (ledger.task(1), ledger.taken_s(1)) == ("its part of 100 rows", 0)
    ledger.take(0)
    ledger.take(1)
    assert ledger.task(1) == "batch 2 (rows 10 to 20 of 100)"
    assert ledger.taken_s(1) >= ledger.taken_s(0) > 0


def test_the_lock_goes_with_its_holder(ledger: Ledger) -> None:
    """A process that ends while it holds the table does not keep it from the others."""
    if not (child := os.fork()):
        with pickle.loads(pickle.dumps(ledger))._locked():
            os._exit(0)
    os.waitpid(child, 0)
    assert ledger.take(0) == range(10)


def test_a_table_that_stays_taken_is_a_named_error() -> None:
    """Who waits for the table longer than the time limit raises instead of waiting for ever."""
    with (
        Ledger(100, 2, timeout_s=0.1) as ledger,
        pickle.loads(pickle.dumps(ledger)) as other,
        other._locked(),
        pytest.raises(WorkerHung) as caught,
    ):
        ledger.take(0)
    assert str(caught.value) == (
        "row table: expected its lock within 0.1 s, got none; end the stopped process that holds it"
    )


def test_a_large_row_bounds_the_call() -> None:
    """Rows of 16 MiB come four at a time, however many there are: a call's input stays within 64 MiB."""
    with Ledger(10_000, 2, row_bytes=16 << 20) as ledger:
        assert ledger.take(0, COST) == range(4)
