"""Every executor gives the same outputs, accounts for its time, and fails with a named error."""

from __future__ import annotations

import re
import signal
import sys
import types
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import parallel_helpers as helpers
import pytest
from processes import children_here, shared_memory_files

from inferbench_lib.errors import ConfigError, WorkerDied, WorkerHung, WorkerRaised, WrongOutput
from inferbench_lib.executors import listed
from inferbench_lib.executors.base import Executor
from inferbench_lib.executors.futures_pool import NaivePool
from inferbench_lib.executors.predict import parallel_predict
from inferbench_lib.executors.shared_pool import SharedPool
from inferbench_lib.executors.worker_pool import Ceiling
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.spans import CALLER, SPAN_KINDS, now

ROWS = helpers.numbered_rows(1003)
SUMS = np.arange(1003.0) + np.arange(1003.0) ** 2 + 1
POOLS = ["naive_pool", "process_pool", "loky", "dask", "shared_pool", "ceiling"]


def make(name: str, load_runner: Any, **more: Any) -> Executor:
    """The executor of that name, with two processes where it can have two."""
    return listed()[name](load_runner, n_processes=2 if name in POOLS else 1, **more)


@pytest.mark.parametrize("name", listed())
def test_outputs_come_in_order_whatever_the_batches(name: str) -> None:
    """Plain and shared input, batches that divide the rows or not, a first call or a later one: the same outputs."""
    with make(name, helpers.load_row_sums) as executor, SharedArray.of(ROWS) as shared:
        for x, batch_size in ((ROWS, 100), (shared, 59), (shared, 5000), (ROWS[:2], 1)):
            assert np.array_equal(executor.map(x, batch_size), SUMS[: len(x.array if x is shared else x)])


@pytest.mark.parametrize("name", ["naive_pool", "shared_pool"])
def test_a_forest_predicts_the_same_everywhere(name: str) -> None:
    """A scikit-learn forest, pickled or loaded, gives in other processes what it gives alone."""
    with make(name, helpers.load_small_forest) as executor:
        assert np.array_equal(executor.map(ROWS, 250), helpers.small_forest().predict(ROWS))


@pytest.mark.parametrize("name", listed())
def test_every_second_of_every_worker_is_accounted_for(name: str) -> None:
    """From start to end of `map`, each worker's spans follow one another without overlap, and in pools without gap."""
    with make(name, partial(helpers.load_sleeper, 0.02)) as executor:
        executor.map(ROWS, 100)
        called_s = now()
        executor.map(ROWS, 100)
        spans = executor.spans()
    assert {span.kind for span in spans} <= set(SPAN_KINDS)
    computed = [span for span in spans if span.kind == "compute"]
    assert sum(span.n_rows for span in computed) == len(ROWS)
    assert min(span.end_s - span.start_s for span in computed) >= 0.02
    lanes = defaultdict(list)
    for span in sorted(spans, key=lambda span: (span.start_s, span.end_s)):
        if span.worker != CALLER and span.start_s >= called_s:
            lanes[span.worker].append(span)
    assert set(lanes) == set(range(2 if name in POOLS else 1))
    edges = [(before.end_s, after.start_s) for lane in lanes.values() for before, after in pairwise(lane)]
    assert all(end_s <= start_s for end_s, start_s in edges)
    if name in POOLS:
        assert all(end_s == start_s for end_s, start_s in edges)
        assert len({lane[0].start_s for lane in lanes.values()}) == 1
        assert len({lane[-1].end_s for lane in lanes.values()}) == 1


def test_the_naive_pool_pays_for_model_and_data_in_every_task() -> None:
    """Each task of the naive pool serializes and deserializes model, batch and outputs, in processes of this call."""
    with NaivePool(helpers.load_row_sums, n_processes=2) as executor:
        executor.map(ROWS, 200)
        kinds = [span.kind for span in executor.spans()]
    for kind in ("serialize_model", "serialize_data", "transfer", "deserialize_data", "compute", "serialize_result"):
        assert kinds.count(kind) == 6
    assert 1 <= kinds.count("start") <= 2  # a process that came too late for a task says nothing
    assert executor.start_s < 0.1


def test_the_next_batch_goes_to_whoever_is_idle(tmp_path: Path) -> None:
    """While one worker is held up by its batch, the other does all the rest."""
    with SharedPool(partial(helpers.load_relay, tmp_path / "the last has come"), n_processes=2, n_at_once=2) as pool:
        pool.map(ROWS[:1000], 100)
        computed = [(span.worker, span.n_rows) for span in pool.spans() if span.kind == "compute"]
    held_up = next(worker for worker, _ in computed if [own for own, _ in computed].count(worker) == 1)
    assert [rows for worker, rows in computed if worker == held_up] == [100]
    assert [rows for worker, rows in computed if worker != held_up] == 9 * [100]


def test_no_input_row_is_copied_or_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner of the shared pool sees the shared memory itself: what it writes there is seen here."""
    with SharedPool(helpers.load_marking, n_processes=2) as pool, SharedArray.of(ROWS) as shared:
        pool.map(shared, 100)
        assert set(shared.array[:, 2]) == {-1.0}


@pytest.mark.parametrize("name", ["shared_pool", "ceiling", "process_pool", "loky"])
def test_outputs_that_do_not_fit_together_are_refused(name: str) -> None:
    """A batch with too few outputs, or with another dtype than the first, is WrongOutput, not a quiet conversion."""
    who = "runner" if name in ("shared_pool", "ceiling") else name
    with listed()[name](helpers.load_short, n_processes=1) as pool, pytest.raises(WrongOutput) as caught:
        pool.map(ROWS[:100], 50)
    assert str(caught.value) == "runner: expected 50 outputs, one per row, got 49; correct it"
    with listed()[name](helpers.load_ragged, n_processes=1) as pool, pytest.raises(WrongOutput) as caught:
        pool.map(ROWS, 100)
    assert str(caught.value) == (
        f"{who}: expected each row's output as ((), dtype('float32')) before, got ((), dtype('float64')); correct it"
    )


ENDS = {
    "raising": (helpers.raise_unpicklable, WorkerRaised, "raised remote_probe.TwoArguments: broken at row 7"),
    "killed": (
        partial(helpers.signal_itself, signal.SIGKILL),
        WorkerDied,
        "was ended by SIGKILL, likely out of memory; use smaller batches or fewer processes",
    ),
    "hanging": (partial(helpers.signal_itself, signal.SIGSTOP), WorkerHung, "within 3 s, got none, so"),
}


@pytest.mark.parametrize("fault", ENDS)
@pytest.mark.parametrize("name", POOLS)
def test_a_failing_worker_ends_the_pool_by_name(name: str, fault: str) -> None:
    """A worker that raises, dies or hangs is a named error with its batch; no worker and no memory stays."""
    act, error, text = ENDS[fault]
    before = children_here()
    pool = make(name, partial(helpers.load_at_row, act, 150), timeout_s=3 if fault == "hanging" else 60)
    with pytest.raises(error) as caught:
        pool.map(ROWS, 100)
    message = str(caught.value)
    assert text in message
    # The naive pool's first batch may be answered by the dead worker's neighbour, whom the pool ends before it can.
    batch = {"ceiling": "its part of 1,003 rows", "naive_pool": "batch [12] of 11"}.get(name, "batch 2 of 11")
    if name == "shared_pool":
        batch = r"batch 2 \(rows 100 to 200 of 1,003\)"
    # A pool of futures breaks for every batch at once, also for those that are still to be handed over.
    if fault == "killed" and name in ("naive_pool", "process_pool", "loky"):
        batch = "batch [12] of 11|expected live workers"
    assert re.search(batch, message)
    assert name in message
    if fault == "killed":
        assert "(pid " in message
    assert children_here() <= before


def test_a_pool_that_failed_says_so_when_used_again() -> None:
    """After an error the pool is closed, and its next `map` names that instead of waiting."""
    pool = SharedPool(partial(helpers.load_at_row, helpers.raise_unpicklable, 5), n_processes=2)
    with pytest.raises(WorkerRaised):
        pool.map(ROWS, 100)
    with pytest.raises(
        WorkerDied, match=r"^shared_pool: expected an open pool, got one that was closed; make a new one$"
    ):
        pool.map(ROWS, 100)


def test_a_model_that_cannot_be_loaded_is_reported_by_every_pool() -> None:
    """A failing `load_runner` is WorkerRaised at the start barrier, and no worker stays."""
    before = children_here()
    for kind in (SharedPool, Ceiling):
        with pytest.raises(WorkerRaised, match="its start raised LookupError: no such model"):
            kind(helpers.load_nothing, n_processes=2).ready()
    assert children_here() <= before


@pytest.mark.parametrize("name", POOLS)
def test_impossible_numbers_are_refused(name: str) -> None:
    """No processes, no rows or no batch: an error with what was expected and what came."""
    with pytest.raises(ValueError, match=rf"^{name}.n_processes: expected at least 1, got 0$"):
        listed()[name](helpers.load_row_sums, n_processes=0)
    with make(name, helpers.load_row_sums) as executor:
        with pytest.raises(ValueError, match="expected at least"):
            executor.map(ROWS[:0], 10)
        with pytest.raises((ValueError, WorkerRaised), match="expected at least 1 row and batches of at least 1"):
            executor.map(ROWS, 0)


def test_parallel_predict_refuses_a_model_from_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose class was defined at a prompt is refused before any process starts."""
    main = types.ModuleType("__main__")
    cell_model: Callable[..., Any] = type("CellModel", (), {"__module__": "__main__", "predict": len})
    main.__dict__["CellModel"] = cell_model
    monkeypatch.setitem(sys.modules, "__main__", main)
    with pytest.raises(ConfigError, match="move `CellModel` into a module and import it"):
        parallel_predict(partial(cell_model), ROWS, n_processes=2, method="__call__")


def test_a_shared_pool_has_no_name_in_dev_shm() -> None:
    """Nothing that the shared pool maps could stay in /dev/shm, whoever is killed."""
    with SharedPool(helpers.load_row_sums, n_processes=2) as pool:
        pool.map(ROWS, 100)
        named = {path for pid in pool.pids for path in shared_memory_files(pid)}
    assert {path for path in named if not path.name.startswith("sem.")} == set()
