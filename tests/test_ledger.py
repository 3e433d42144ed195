"""Who computes which rows: sizes of calls, and a table that survives the death of those who take from it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator

import pytest

from inferbench_lib.errors import WorkerHung
from inferbench_lib.parallel.chunk_size import CallCost, of_batch, of_dynamic
from inferbench_lib.parallel.ledger import Ledger

COST = CallCost(fixed_s=0.02, row_s=1e-5)
"""A call costs as much as 2,000 rows."""


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """100 rows for three workers, 10 at a time."""
    with Ledger(100, 3, 10) as ledger:
        yield ledger


def sizes(n_rows: int, n_workers: int, cost: CallCost | None, largest: int = 10**9) -> list[int]:
    """The rows of each call until none are left."""
    found = []
    while n_left := n_rows - sum(found):
        found.append(of_dynamic(n_left, n_rows, n_workers, largest, cost))
    return found


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


def test_batches_are_whole_until_there_are_too_few_for_everybody() -> None:
    """Where there is less than a batch for every worker, calls get half of one."""
    assert [of_batch(n_left, 2, 100) for n_left in (1000, 200, 199, 100, 50, 25, 3)] == [100, 100, 50, 50, 50, 25, 3]
    assert of_batch(8, 4, 1) == 1


def test_calls_get_smaller_towards_the_end() -> None:
    """Each gets 0.85 of an equal share of what is left, down to eight times as many rows as a call's cost is worth."""
    found = sizes(1_000_000, 2, COST)
    assert found[:3] == [425_000, 244_375, 140_516]
    assert found[-3:] == [16_000, 16_000, 4141]
    assert (len(found), sum(found)) == (9, 1_000_000)


def test_crumbs_are_not_left() -> None:
    """What would be left for a last call of less than a quarter is done at once, within the largest call."""
    assert of_dynamic(19_999, 1_000_000, 2, 10**9, COST) == 19_999
    assert of_dynamic(20_000, 1_000_000, 2, 10**9, COST) == 16_000
    assert of_dynamic(19_999, 1_000_000, 2, 17_000, COST) == 16_000


def test_without_a_known_cost_the_first_call_is_small() -> None:
    """A worker's first call is a 32nd of its equal share."""
    assert of_dynamic(6400, 6400, 2, 10**9, None) == 100


def test_calls_have_bounds() -> None:
    """No call exceeds `largest` or the time limit, none has no row, and a costly call does not swallow everything."""
    assert of_dynamic(1000, 1000, 2, 77, COST) == 77
    assert of_dynamic(1_000_000, 1_000_000, 2, 10**9, COST, 0.5) == 48_000
    assert of_dynamic(1_000_000, 1_000_000, 2, 10**9, COST, 0.01) == 1
    assert of_dynamic(1000, 1000, 2, 10**9, CallCost(fixed_s=9.0, row_s=1e-9)) == 425
    assert of_dynamic(100, 1000, 2, 10**9, CallCost(fixed_s=9.0, row_s=0.0)) == 100
    assert of_dynamic(1000, 1000, 2, 10**9, CallCost(fixed_s=0.0, row_s=0.0)) == 425


def test_each_row_is_taken_once(ledger: Ledger) -> None:
    """Workers that take in turn get all rows, in order, until nothing is left for anybody."""
    taken = []
    while (rows := ledger.take(len(taken) % 3)) is not None:
        taken += rows
    assert taken == list(range(100))
    assert [ledger.take(worker) for worker in range(3)] == [None] * 3


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
    assert not ledger.has_lost
    ledger.give_back(0)
    assert ledger.has_lost
    assert [ledger.take(1), ledger.take(1)] == [range(10, 20), range(30, 40)]
    assert not ledger.has_lost


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
        "rows: expected a turn at their table within 0.1 s, got none; end the stopped process that holds it"
    )


def test_a_large_row_bounds_the_call() -> None:
    """Rows of 8 MiB come four at a time, however many there are: a call's input stays within 32 MiB."""
    with Ledger(10_000, 2, row_bytes=8 << 20) as ledger:
        assert ledger.take(0, COST) == range(4)
