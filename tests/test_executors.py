"""Warm pools keep their workers; those of the standard library, loky and Dask say what ended one of theirs."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import limits_at_import
import numpy as np
import parallel_helpers as helpers
import pytest
from processes import eventually, is_running

from inferbench_lib.errors import WorkerDied
from inferbench_lib.executors.dask_pool import LEFT_BEHIND, DaskPool
from inferbench_lib.executors.futures_pool import LokyPool, ProcessPool
from inferbench_lib.executors.shared_pool import SharedPool
from inferbench_lib.executors.task_pool import TaskPool, lane
from inferbench_lib.processes.child import thread_limits
from inferbench_lib.processes.spans import Start, now
from inferbench_lib.processes.task import Report
from inferbench_lib.records import Span

ROWS = helpers.numbered_rows(1003)
SUMS = np.arange(1003.0) + np.arange(1003.0) ** 2 + 1
LIBRARIES: dict[str, type[TaskPool]] = {"process_pool": ProcessPool, "loky": LokyPool, "dask": DaskPool}
WARM: dict[str, type[TaskPool | SharedPool]] = {**LIBRARIES, "shared_pool": SharedPool}


@pytest.mark.parametrize("name", WARM)
def test_a_warm_pool_keeps_its_workers_and_its_start_is_apart(name: str) -> None:
    """Calls use the two processes of the start; its spans lie before the first call and no longer than `start_s`."""
    with WARM[name](partial(helpers.load_sleeper, 0.05), n_processes=2) as pool:
        called_s, pids = now(), pool.pids
        for _ in range(2):
            assert np.array_equal(pool.map(ROWS, 500), SUMS)
        starts = [span for span in pool.spans() if span.end_s <= called_s]
        assert [span.kind for span in starts] == ["start", "import", "load_model"] * 2
        assert max(span.end_s for span in starts) - min(span.start_s for span in starts) <= pool.start_s
        assert len(set(pids)) == 2
        assert pool.pids == pids
        assert all(map(is_running, pids))
    assert eventually(lambda: not any(map(is_running, pids)))


@pytest.mark.parametrize("name", WARM)
def test_threads_are_limited_before_the_first_import(name: str) -> None:
    """A module that a worker imports with its model finds the limit in its environment; ours stays as it was."""
    assert limits_at_import.N_THREADS != 3
    names = thread_limits(3) | LEFT_BEHIND  # importing joblib sets another
    before = {variable: os.environ.get(variable) for variable in names}
    with WARM[name](limits_at_import.load, n_processes=2, n_threads=3) as pool:
        assert set(pool.map(ROWS[:10], 1)) == {3}
    assert {variable: os.environ.get(variable) for variable in names} == before


def map_often(pool: TaskPool) -> None:
    for _ in range(100):
        pool.map(ROWS, 100)


@pytest.mark.parametrize("name", LIBRARIES)
def test_an_idle_worker_that_was_killed_is_noticed(name: str) -> None:
    """The next call says which worker ended and how, instead of doing all with the others; the pool is closed then."""
    with WARM[name](helpers.load_row_sums, n_processes=2) as pool:
        pool.map(ROWS, 100)
        pids = pool.pids
        os.kill(pids[1], signal.SIGKILL)
        assert eventually(lambda: not is_running(pids[1]))
        asked_s = now()
        with pytest.raises(WorkerDied) as caught:
            map_often(pool)  # it may take a moment to hear of it
        assert now() - asked_s < 50
        who = rf"(\d+ or )?{pids[1]}( or \d+)?" if name == "loky" else str(pids[1])  # loky kills the others as well
        assert re.search(
            rf"worker \(pid {who}\) was ended by SIGKILL, "
            "likely out of memory; use smaller batches or fewer processes$",
            str(caught.value),
        )
        assert eventually(lambda: not any(map(is_running, pids)))
        with pytest.raises(WorkerDied) as caught:
            pool.map(ROWS, 100)
    assert str(caught.value) == f"{name}: expected live workers, got a pool that was closed; make a new one"


def test_a_worker_that_loky_replaces_is_not_passed_over() -> None:
    """A worker that grew by 300 MB is replaced by loky in mid-call, which is an error with the new worker's id."""
    pool = LokyPool(partial(helpers.load_growing, 200_000_000), n_processes=1)
    with pool, pytest.warns(UserWarning, match="A worker stopped"), pytest.raises(WorkerDied) as caught:
        pool.map(ROWS[:4], 1)
    later = re.sub(r".*\(pid (\d+)\).*", r"\1", str(caught.value))
    assert str(caught.value) == (
        "loky: expected the workers that it started with, got a new one in place of one that ended "
        f"(pid {later}), so the time of this call means nothing; use smaller batches or fewer rows"
    )
    assert int(later) not in pool.pids


def test_a_task_waits_until_it_is_sent_and_is_in_transfer_from_then_on() -> None:
    """What was sent while its worker was busy is in transfer from when that is free; spans get the worker's number."""
    start = Start(pid=1, began_s=0.0, cpu_s=0.0)

    def report(sent_s: float, arrived_s: float, end_s: float) -> Report:
        spans = (Span(worker=0, kind="compute", start_s=arrived_s, end_s=end_s, cpu_s=1.0, n_rows=5),)
        return Report(start=start, sent_s=sent_s, arrived_s=arrived_s, spans=spans, output=b"")

    late, early = report(2.0, 6.0, 8.0), report(1.0, 3.0, 5.0)
    told = [(span.worker, span.kind, span.start_s, span.end_s) for span in lane([late, early], 4, 0.5)]
    assert told == [(4, "transfer", 1, 3), (4, "compute", 3, 5), (4, "transfer", 5, 6), (4, "compute", 6, 8)]


class Answered(TaskPool):
    """A pool whose answers are there already, but `took_s` after they are asked for."""

    name = "answered"

    def __init__(self, reports: list[tuple[Report, Callable[[], None]]]) -> None:
        super().__init__(helpers.load_row_sums, n_processes=1)
        self.reports = reports

    def _answer(self, future: Any, task: str, timeout_s: float) -> Any:
        report, wait = future
        wait()
        return report

    def _open(self) -> list[Start]:
        return [self.reports[0][0].start]

    def _submit(self, x: Any, tasks: Any, spans: list[Span]) -> list[Any]:
        return self.reports

    def _shut_down(self) -> None:
        return

    _kill = _shut_down

    def _death(self, error: Exception) -> str:
        return ""


def test_outputs_are_collected_only_when_nobody_computes_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the parent's waiting, what lies after the last worker's end counts; the rest was the worker's own time."""
    clock = [100.0]
    monkeypatch.setattr("inferbench_lib.processes.spans.now", lambda: clock[0])
    monkeypatch.setattr("inferbench_lib.executors.task_pool.now", lambda: clock[0])
    start = Start(pid=1, began_s=90.0, cpu_s=0.0)

    def future(start_s: float, end_s: float, here_s: float) -> tuple[Report, Callable[[], None]]:
        spans = (Span(worker=0, kind="compute", start_s=start_s, end_s=end_s, cpu_s=1.0, n_rows=2),)
        output = np.zeros(2).dumps()
        report = Report(start=start, sent_s=start_s, arrived_s=start_s, spans=spans, output=output)
        return report, lambda: clock.__setitem__(0, here_s)

    pool = Answered([future(101, 104, 105), future(105, 109, 112)])
    assert pool.map(np.zeros((4, 3)), 2).tolist() == [0, 0, 0, 0]
    told = [(span.worker, span.kind, span.start_s, span.end_s) for span in pool.spans() if span.end_s > span.start_s]
    assert (-1, "collect", 109, 112) in told
    assert [kind for worker, kind, *_ in told if worker == -1] == ["collect"]
