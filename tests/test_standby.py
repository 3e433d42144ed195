"""With more workers than CPUs, as many compute at a time as the CPUs can run; the others are on standby."""

from __future__ import annotations

import signal
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import parallel_helpers as helpers
import pytest
from loss_kernels import LoadBurning

from inferbench_lib import studies
from inferbench_lib.executors import shared_pool
from inferbench_lib.executors.shared_pool import SharedPool
from inferbench_lib.processes.scheduling import CpuDemand
from inferbench_lib.records import Span
from inferbench_lib.studies.cpu_multiprocess import measure as multiprocess
from inferbench_lib.work.forest import Forest

ROWS = helpers.numbered_rows(1003)
SUMS = np.arange(1003.0) + np.arange(1003.0) ** 2 + 1
BUSY, ASLEEP = LoadBurning(cpu_s=1e-5), partial(helpers.load_sleeper, 0.01)


@pytest.fixture
def one_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one usable CPU, as far as pools can tell."""
    monkeypatch.setattr(shared_pool, "usable_cpus", lambda: (1, ""))


def n_calls(pool: SharedPool, rows: np.ndarray = ROWS, batch_size: int | None = 100) -> Counter[int]:
    """How many calls each worker did in a `map`, whose outputs are right."""
    assert np.array_equal(pool.map(rows, batch_size), SUMS[: len(rows)])
    return Counter(span.worker for span in pool.spans() if span.kind == "compute")


def standing_by(pool: SharedPool) -> set[int]:
    return {span.worker for span in pool.spans() if span.kind == "standby"}


@pytest.mark.parametrize(
    ("n_cpus", "n_threads", "calls", "n_at_once"),
    [
        pytest.param(2, 1, [], 2, id="one thread each before a call was seen"),
        pytest.param(8, 3, [], 3, id="8 CPUs and 3 threads each are nearest to 3 workers"),
        pytest.param(1, 4, [], 1, id="one at least"),
        pytest.param(16, 1, [], 6, id="all where there are CPUs for all"),
        pytest.param(2, 1, [(0, 0.01), (1, 0.5)], 2, id="first calls say nothing"),
        pytest.param(2, 1, [(0, 1.0), (0, 0.01)], 6, id="calls that wait leave CPUs to all"),
        pytest.param(2, 1, [(0, 1.0), (0, 0.5)], 4, id="half a CPU each"),
        pytest.param(2, 1, [(0, 1.0), (0, 0.97), (0, 0.4)], 2, id="the most that was seen"),
        pytest.param(2, 1, [(0, 1.0), (0, 1.9)], 2, id="no more than its threads: others run in the caller too"),
    ],
)
def test_as_many_compute_at_once_as_there_are_cpus_for(
    n_cpus: int, n_threads: int, calls: list[tuple[int, float]], n_at_once: int
) -> None:
    """Of six workers: usable CPUs over the CPUs that a call of a second was seen to keep busy."""
    demand = CpuDemand(n_threads, n_cpus)
    demand.note(Span(worker=worker, kind="compute", start_s=1.0, end_s=2.0, cpu_s=cpu_s) for worker, cpu_s in calls)
    assert demand.n_at_once(6) == n_at_once


@pytest.mark.usefixtures("one_cpu")
def test_who_would_wait_for_a_cpu_stands_by() -> None:
    """On one CPU one of two busy workers does everything, and the other's time is told apart, call after call."""
    rows = ROWS.copy()
    with SharedPool(BUSY, n_processes=2) as pool:
        for _ in range(3):
            assert np.array_equal(pool.map(rows, 100), rows[:, 0])
            assert {span.worker for span in pool.spans() if span.kind == "compute"} == {0}
            assert standing_by(pool) == {1}


@pytest.mark.usefixtures("one_cpu")
def test_workers_that_wait_are_all_put_to_work() -> None:
    """Calls that were seen to sleep leave the CPU to others: all work in the next `map`."""
    with SharedPool(ASLEEP, n_processes=3) as pool:
        assert n_calls(pool) == {0: 11}
        assert set(n_calls(pool)) == {0, 1, 2}
        assert not standing_by(pool)


@pytest.mark.usefixtures("one_cpu")
def test_a_caller_that_waits_lets_its_workers_join() -> None:
    """From its second call on the caller knows, and the workers join in the same `map`."""
    with SharedPool(ASLEEP, n_processes=2, caller_runner=helpers.load_sleeper(0.01)) as pool:
        pool.ready()
        assert set(n_calls(pool, ROWS, 20)) == {0, 1}
        assert not standing_by(pool)


@pytest.mark.usefixtures("one_cpu")
def test_a_caller_that_computes_needs_nobody_else() -> None:
    """On one CPU the calling process does all, and a worker that is up stands by."""
    with SharedPool(BUSY, n_processes=2, caller_runner=BUSY()) as pool:
        pool.ready()
        assert np.array_equal(pool.map(ROWS, 100), ROWS[:, 0])
        assert {span.worker for span in pool.spans() if span.kind == "compute"} == {1}
        assert standing_by(pool) == {0}


@pytest.mark.usefixtures("one_cpu")
def test_how_many_work_can_be_given() -> None:
    """`n_at_once` overrules the number that the CPUs can run."""
    with SharedPool(helpers.load_row_sums, n_processes=3, n_at_once=2) as pool:
        for _ in range(3):
            n_calls(pool)
            assert standing_by(pool) == {2}


def test_scaling_shows_what_too_many_at_work_cost() -> None:
    """Where the notebook asks for the cost of more processes than CPUs none stands by; the way to work is protected."""
    cfg = studies.build("cpu_multiprocess", {"scaling_rows": [1000], "executors": ["single", "shared_pool"]})
    assert isinstance(cfg, studies.params("cpu_multiprocess"))
    forest = Forest()
    scaling = multiprocess._scaling(forest, (1, 4), cfg)
    assert [way.passes.options.get("n_at_once") for way in scaling] == [None, 4]
    ways = multiprocess._ways(forest, cfg, 2)
    assert [way.passes.options.get("n_at_once") for way in ways] == [None] * len(ways)


def sizes(usable: int, **values: Any) -> dict[str, tuple[int, int, int]]:
    """Processes, threads and batch of each way on so many CPUs."""
    cfg = studies.build("cpu_multiprocess", {"n_samples": 1000, **values})
    assert isinstance(cfg, studies.params("cpu_multiprocess"))
    cases = [way.passes.case for way in multiprocess._ways(Forest(), cfg, usable)]
    return {
        f"{case.executor}{', cold' if case.cold else ''}": (case.n_processes, case.n_threads, case.batch_size)
        for case in cases
    }


def test_ways_take_the_usable_cpus_and_the_ceiling_never_more() -> None:
    """By default one process per CPU, with an equal part of the rows; of four on two CPUs the ceiling takes two."""
    asked: dict[str, Any] = {"executors": ["single", "threads", "loky", "ceiling"], "cold_executors": ["loky"]}
    assert sizes(8, **asked) == {
        "single": (1, 1, 125), "threads": (1, 8, 125), "loky": (8, 1, 125), "ceiling": (8, 1, 125),
        "loky, cold": (8, 1, 125),
    }  # fmt: skip
    assert sizes(2, n_processes=4, **asked) == {
        "single": (1, 1, 250), "threads": (1, 4, 250), "loky": (4, 1, 250), "ceiling": (2, 1, 250),
        "loky, cold": (2, 1, 250),
    }  # fmt: skip


def test_the_reference_is_one_more_row() -> None:
    """Four processes with a batch each, a new pool per call; no second row where that is measured anyway."""
    asked: dict[str, Any] = {"executors": ["single", "loky"], "cold_executors": [], "reference_processes": 4}
    assert sizes(2, **asked) == {"single": (1, 1, 500), "loky": (2, 1, 500), "naive_pool": (4, 1, 250)}
    twice = studies.build("cpu_multiprocess", {**asked, "n_samples": 1000, "executors": ["single", "naive_pool"]})
    assert isinstance(twice, studies.params("cpu_multiprocess"))
    assert len(multiprocess._ways(Forest(), twice, 4)) == 2


def test_nobody_at_work_is_refused() -> None:
    """`n_at_once` is at least one."""
    with pytest.raises(ValueError, match=r"^shared_pool.n_at_once: expected at least 1, or None, got 0$"):
        SharedPool(helpers.load_row_sums, n_processes=2, n_at_once=0)


@pytest.mark.parametrize("row", [0, 950], ids=["with the first rows", "with the last rows"])
def test_who_stands_by_takes_over_from_the_dead(row: int, tmp_path: Path) -> None:
    """With "retry", the only worker's end is made good by one that stood by."""
    die_once = partial(helpers.signal_first, signal.SIGKILL, tmp_path / "has come")
    with SharedPool(
        partial(helpers.load_at_row, die_once, row), n_processes=2, n_at_once=1, on_worker_death="retry"
    ) as pool:
        with pytest.warns(RuntimeWarning, match="was ended by SIGKILL"):
            assert set(n_calls(pool)) == ({1} if row == 0 else {0, 1})
        assert set(n_calls(pool)) == {1}


def test_a_worker_found_dead_is_replaced() -> None:
    """With "retry", one that died idle before it took anything is replaced by one that stood by."""
    with SharedPool(helpers.load_row_sums, n_processes=2, n_at_once=1, on_worker_death="retry") as pool:
        n_calls(pool)
        pool._workers[0]._process.kill()
        pool._workers[0]._process.join()
        with pytest.warns(RuntimeWarning, match="was ended by SIGKILL"):
            assert set(n_calls(pool)) == {1}
