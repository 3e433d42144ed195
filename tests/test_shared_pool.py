"""The shared-memory pool: a caller that computes too, and workers that die."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import warnings
from collections import defaultdict
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import parallel_helpers as helpers
import pytest
from processes import children_here, is_running, shared_memory_files

from inferbench_lib.errors import WorkerDied, WorkerRaised
from inferbench_lib.executors.shared_pool import SharedPool
from inferbench_lib.processes.spans import CALLER

ROWS = helpers.numbered_rows(1003)
SUMS = np.arange(1003.0) + np.arange(1003.0) ** 2 + 1
CALLER_LANE = 1
"""The caller's worker number where two processes work, it among them."""


def noting_pool(is_up: Path) -> SharedPool:
    """A worker and this process, which after its first call waits for the worker's note; each call sleeps."""
    return SharedPool(
        partial(helpers.load_noting, is_up, 0.01), n_processes=2, caller_runner=helpers.AfterItsFirst(is_up, 0.01)
    )


@pytest.fixture
def is_up(tmp_path: Path) -> Path:
    """Where a worker notes that it is up."""
    return tmp_path / "is up"


def test_the_caller_begins_before_its_workers_are_up(is_up: Path) -> None:
    """From a cold start the caller computes while the worker starts; the worker takes what it finds when it is up."""
    with noting_pool(is_up) as pool:
        assert np.array_equal(pool.map(ROWS, 5), SUMS)
        computed = [span for span in pool.spans() if span.kind == "compute"]
        first_s = {lane: min(span.start_s for span in computed if span.worker == lane) for lane in (0, CALLER_LANE)}
        up_s = max(span.end_s for span in pool.spans() if span.kind == "load_model")
    assert first_s[CALLER_LANE] < up_s <= first_s[0]
    assert sum(span.n_rows for span in computed) == len(ROWS)


def test_a_cold_start_is_accounted_for(is_up: Path) -> None:
    """From the making of the pool to its end each lane, the caller's too, follows without overlap and without gap."""

    began_s = time.perf_counter()
    with noting_pool(is_up) as pool:
        called_s = time.perf_counter()
        pool.map(ROWS, 5)
        mapped_s = time.perf_counter()
    ended_s = time.perf_counter()
    lanes = defaultdict(list)
    for span in sorted(pool.spans(), key=lambda span: (span.start_s, span.end_s)):
        lanes[span.worker].append(span)
    assert set(lanes) == {CALLER, 0, CALLER_LANE}
    for lane in (lanes[0], lanes[CALLER_LANE]):
        assert lane[0].kind == "start"
        assert began_s <= lane[0].start_s <= called_s
        gaps = [(before.end_s, after.start_s) for before, after in pairwise(lane) if before.end_s != after.start_s]
        assert all(end_s <= called_s <= start_s for end_s, start_s in gaps)  # between the pool and its map
    assert max(span.end_s for span in pool.spans() if span.worker == 0) <= mapped_s
    assert lanes[0][-1].end_s == lanes[CALLER_LANE][-1].end_s
    (stop,) = lanes[CALLER]
    assert stop.kind == "stop"
    assert mapped_s <= stop.start_s <= stop.end_s <= ended_s


def test_work_that_ends_before_a_worker_is_up_does_not_wait_for_it(tmp_path: Path) -> None:
    """The caller alone does what is little; the late worker finds nothing, and works in the next `map`."""
    may_load = tmp_path / "may load"
    load = partial(helpers.load_after, may_load)
    with SharedPool(load, n_processes=2, caller_runner=helpers.load_sleeper(0.01)) as pool:
        assert np.array_equal(pool.map(ROWS[:10], 5), SUMS[:10])
        assert not any(span.kind == "load_model" for span in pool.spans())
        may_load.touch()
        pool.ready()
        assert np.array_equal(pool.map(ROWS, 2), SUMS)
        assert {span.worker for span in pool.spans() if span.kind == "compute"} == {0, CALLER_LANE}


def test_a_caller_alone_needs_no_worker() -> None:
    """One process in all starts none."""
    before = children_here()
    with SharedPool(helpers.load_nothing, n_processes=1, caller_runner=helpers.row_sums) as pool:
        assert np.array_equal(pool.map(ROWS), SUMS)
        assert children_here() <= before


def test_what_the_model_raises_in_the_caller_is_named_as_in_a_worker() -> None:
    """The caller's own batch that fails is WorkerRaised with its rows and the original error."""
    model = helpers.load_at_row(helpers.raise_unpicklable, 5)
    with (
        pytest.raises(WorkerRaised) as caught,
        SharedPool(helpers.load_row_sums, n_processes=1, caller_runner=model) as p,
    ):
        p.map(ROWS, 100)
    assert str(caught.value) == (
        f"the calling process (pid {os.getpid()}): batch 1 (rows 0 to 100 of 1,003) raised "
        "remote_probe.TwoArguments: broken at row 7"
    )


def test_calls_grow_with_what_they_cost() -> None:
    """Calls that cost 10 ms whatever their size become few once that is known, and all rows are computed."""
    with SharedPool(partial(helpers.load_sleeper, 0.01), n_processes=2) as pool:
        assert np.array_equal(pool.map(ROWS), SUMS)
        assert np.array_equal(pool.map(ROWS), SUMS)
        sizes = [span.n_rows for span in pool.spans() if span.kind == "compute"]
    assert sum(sizes) == 1003
    assert len(sizes) <= 12


def once(number: int, folder: Path) -> partial[helpers.AtRow]:
    """Loads a model at whose row 150 one process gets the signal."""
    return partial(helpers.load_at_row, partial(helpers.signal_first, number, folder / "has come"), 150)


def test_others_finish_the_rows_of_the_dead(tmp_path: Path) -> None:
    """With "retry", what a killed worker had taken is computed by another; a warning and `deaths` tell; all goes on."""
    with SharedPool(once(signal.SIGKILL, tmp_path), n_processes=2, on_worker_death="retry") as pool:
        with pytest.warns(RuntimeWarning, match=r"was ended by SIGKILL.*; the others compute its rows$"):
            assert np.array_equal(pool.map(ROWS, 100), SUMS)
        (death,) = pool.deaths
        dead = next(number for number, pid in enumerate(pool.pids) if not is_running(pid))
        assert death == (
            f"worker 'shared_pool {dead}' (pid {pool.pids[dead]}): expected an answer to batch 2 (rows 100 to 200 of "
            "1,003), but it was ended by SIGKILL, likely out of memory; use smaller batches or fewer processes"
        )
        assert np.array_equal(pool.map(ROWS, 100), SUMS)
        assert pool.deaths == (death,)


def test_the_caller_finishes_the_rows_of_the_hung() -> None:
    """Where the caller works too, it does what a hung and then killed worker left."""
    pool = SharedPool(
        partial(helpers.load_always, partial(helpers.signal_itself, signal.SIGSTOP)), n_processes=2,
        caller_runner=helpers.load_sleeper(0.2), on_worker_death="retry", timeout_s=3,
    )  # fmt: skip
    with pool:
        pool.ready()
        with pytest.warns(RuntimeWarning, match="within 3 s, got none, so it was killed"):
            assert np.array_equal(pool.map(ROWS, 125), SUMS)
    assert len(pool.deaths) == 1


def test_when_all_are_dead_their_ends_are_told() -> None:
    """Rows that kill whoever computes them end the pool with every death named, not in an endless round."""
    load = partial(helpers.load_at_row, partial(helpers.signal_itself, signal.SIGKILL), 150)
    pool = SharedPool(load, n_processes=2, on_worker_death="retry")
    with pytest.warns(RuntimeWarning), pytest.raises(WorkerDied) as caught:
        pool.map(ROWS, 100)
    message = str(caught.value)
    assert message.startswith("shared_pool: expected one of 2 workers to live, got these deaths: worker 'shared_pool ")
    assert message.count("(rows 100 to 200 of 1,003), but it was ended by SIGKILL") == 2


def test_an_unknown_way_with_deaths_is_refused() -> None:
    """`on_worker_death` is one of two words."""
    with pytest.raises(ValueError, match=r"^shared_pool.on_worker_death: expected 'raise' or 'retry', got 'ignore'$"):
        SharedPool(helpers.load_row_sums, n_processes=2, on_worker_death="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize("on_worker_death", ["raise", "retry"])
@pytest.mark.parametrize("is_cold", [True, False], ids=["cold", "warm"])
def test_a_worker_is_killed_at_any_moment(is_cold: bool, on_worker_death: str) -> None:
    """Five random moments each: the right outputs, or within 2 s the error that names the worker; nothing is left."""
    moments = random.Random(f"{is_cold} {on_worker_death}")
    before, files = children_here(), shared_memory_files(os.getpid())
    errors: list[tuple[str, int, float]] = []
    deaths = 0
    for _ in range(5):
        caller = {"caller_runner": helpers.load_sleeper(0.005)} if is_cold else {}
        load = partial(helpers.load_sleeper, 0.005)
        with warnings.catch_warnings(action="ignore"), SharedPool(
            load, n_processes=2, on_worker_death=on_worker_death, **caller
        ) as pool:  # fmt: skip
            killed_s = time.perf_counter() + moments.uniform(0, 0.6 if is_cold else 0.3)
            killer = threading.Timer(killed_s - time.perf_counter(), os.kill, (pool.pids[0], signal.SIGKILL))
            killer.start()
            try:
                assert np.array_equal(pool.map(ROWS, 10), SUMS)
            except WorkerDied as error:
                errors.append((str(error).partition(":")[0], pool.pids[0], time.perf_counter() - killed_s))
            killer.join()
            deaths += len(pool.deaths)
    assert all(who == f"worker 'shared_pool 0' (pid {pid})" and after_s < 2 for who, pid, after_s in errors)
    assert (len(errors) > 0, deaths > 0) == (on_worker_death == "raise", on_worker_death == "retry")
    assert children_here() <= before
    assert shared_memory_files(os.getpid()) == files
