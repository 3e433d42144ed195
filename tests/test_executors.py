"""Executors are found by listing their files; those of the standard library, loky and Dask fail with named errors."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import limits_at_import
import numpy as np
import parallel_helpers as helpers
import pytest
from processes import eventually, is_running

from inferbench_lib.errors import ConfigError, NotAvailable, WorkerDied, WrongOutput
from inferbench_lib.executors.dask_pool import LEFT_BEHIND, DaskPool, refuse_open
from inferbench_lib.executors.futures_pool import LokyPool, ProcessPool
from inferbench_lib.executors.task_pool import TaskPool, lane
from inferbench_lib.processes.child import start_context, thread_limits
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.spans import Start, now
from inferbench_lib.processes.task import Report
from inferbench_lib.records import Span

ROWS = helpers.numbered_rows(1003)
SUMS = np.arange(1003.0) + np.arange(1003.0) ** 2 + 1
WARM: dict[str, type[TaskPool]] = {"process_pool": ProcessPool, "loky": LokyPool, "dask": DaskPool}
HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=WARM)
def warm(request: pytest.FixtureRequest) -> Iterator[TaskPool]:
    """A pool of two workers that serves several tests."""
    with WARM[request.param](partial(helpers.load_sleeper, 0.05), n_processes=2) as pool:
        yield pool


def test_a_warm_pool_keeps_its_workers_and_its_start_is_apart(warm: TaskPool) -> None:
    """Calls use the two processes of the start; its spans lie before the first call and no longer than `start_s`."""
    called_s = now()
    for _ in range(2):
        assert np.array_equal(warm.map(ROWS, 500), SUMS)
    starts = [span for span in warm.spans() if span.end_s <= called_s]
    assert [span.kind for span in starts] == ["start", "import", "load_model"] * 2
    assert max(span.end_s for span in starts) - min(span.start_s for span in starts) <= warm.start_s
    assert len(set(warm.pids)) == 2
    assert all(map(is_running, warm.pids))


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


@pytest.mark.parametrize("name", WARM)
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


@pytest.mark.parametrize("name", ["process_pool", "loky"])
def test_outputs_that_do_not_fit_the_rows_are_refused(name: str) -> None:
    """A batch with too few outputs is WrongOutput, and so is one of another dtype than the first."""
    with WARM[name](helpers.load_short, n_processes=1) as pool, pytest.raises(WrongOutput) as caught:
        pool.map(ROWS[:100], 50)
    assert str(caught.value) == "runner: expected 50 outputs, one per row, got 49; correct it"
    with WARM[name](helpers.load_ragged, n_processes=1) as pool, pytest.raises(WrongOutput) as caught:
        pool.map(ROWS, 100)
    assert str(caught.value) == (
        f"{name}: expected each row's output as ((), dtype('float32')) before, got ((), dtype('float64')); correct it"
    )


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


@pytest.mark.parametrize(
    ("address", "is_good"),
    [
        ("tls://scheduler.example:8786", True),
        ("tls://10.0.0.7:8786", True),
        ("tcp://127.0.0.1:8786", True),
        ("tcp://localhost:8786", True),
        ("tcp://[::1]:8786", True),
        ("tcp://10.0.0.7:8786", False),
        ("tcp://scheduler.example:8786", False),
        ("tcp://127.0.0.1.example:8786", False),
        ("tcp://localhost@10.0.0.7:8786", False),
        ("ws://127.0.0.1:8786", False),
        ("10.0.0.7:8786", False),
        ("tls://", False),
        ("", False),
    ],
)
def test_beyond_this_machine_a_scheduler_needs_tls(address: str, is_good: bool) -> None:
    """An address that others could listen to or talk to is refused by name, before anything is started."""
    if is_good:
        refuse_open(address)
        return
    with pytest.raises(ConfigError) as caught:
        DaskPool(helpers.load_row_sums, n_processes=2, scheduler=address)
    assert str(caught.value) == (
        f"dask.scheduler: expected tls://host:port, or tcp://127.0.0.1:port on this machine, got {address!r}; "
        "start the scheduler with certificates, and name them in Dask's configuration (distributed.comm.tls)"
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A user's own cluster, of two workers in threads of this process."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None
    ) as own:  # type: ignore[no-untyped-call]
        yield own


def test_a_scheduler_of_the_user_s_gets_each_batch_once(cluster: Any) -> None:
    """Batches are scattered with the first call; later ones send none; the user's cluster outlives the pool."""
    address = cluster.scheduler_address
    with (
        DaskPool(partial(helpers.load_sleeper, 0.02), n_processes=2, scheduler=address) as pool,
        SharedArray.of(ROWS) as x,
    ):
        assert np.array_equal(pool.map(x, 100), SUMS)
        assert [span.n_rows for span in pool.spans() if span.kind == "share"] == [1003]
        assert np.array_equal(pool.map(x, 100), SUMS)
        assert [span for span in pool.spans() if span.kind == "share"] == []
        assert np.array_equal(pool.map(ROWS[:7], 3), SUMS[:7])
    assert len(cluster.scheduler_info["workers"]) == 2


def test_a_cluster_that_is_too_small_is_named(cluster: Any) -> None:
    """Workers that are not there, or that work on several batches at once, are refused with what to do."""
    pool = DaskPool(helpers.load_row_sums, n_processes=3, scheduler=cluster.scheduler_address)
    pool._start_limit_s = 0.5
    with pytest.raises(NotAvailable) as caught:
        pool.ready()
    assert str(caught.value) == (
        f"dask: expected 3 workers at {cluster.scheduler_address}, got Only 2/3 workers arrived after 0.5; "
        "start the scheduler and its workers first"
    )
    pool = DaskPool(helpers.load_row_sums, n_processes=1)
    pool._client = type("TwoThreads", (), {"nthreads": lambda self: {"tcp://127.0.0.1:1": 2}})()
    with pytest.raises(NotAvailable) as caught:
        pool._single_threaded()
    assert str(caught.value) == (
        "dask: expected workers of one thread each, 1 of them, got workers of 2 threads; start them with "
        "`dask worker --nthreads 1`"
    )


DASK = """
import psutil
import parallel_helpers as helpers
from inferbench_lib.executors.dask_pool import DaskPool
if __name__ == "__main__":
    with DaskPool(helpers.load_row_sums, n_processes=2) as pool:
        pool.map(helpers.numbered_rows(9), 2)
        ours = psutil.Process()
        sockets = [socket for one in (ours, *ours.children()) for socket in one.net_connections("inet")]
        print({socket.laddr.ip for socket in sockets if socket.status == "LISTEN"})
"""


def test_dask_listens_here_alone_and_leaves_nothing(tmp_path: Path) -> None:
    """All its ports are on loopback, it writes no log, and its temporary folder is empty afterwards."""
    script = tmp_path / "script.py"
    script.write_text(DASK)
    (temporary := tmp_path / "temporary").mkdir()
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": f"{HERE}:{HERE.parent}"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout == "{'127.0.0.1'}\n"
    assert [*temporary.iterdir()] == []


def run_with_one_thread(code: str) -> subprocess.CompletedProcess[str]:
    """Run the code in an interpreter whose libraries start no thread of their own."""
    code = f"import parallel_helpers as helpers\nfrom inferbench_lib.executors import listed\n{code}"
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, env=os.environ | limits, capture_output=True, text=True, timeout=60
    )


def test_a_fork_server_imports_once_for_all() -> None:
    """A module that takes 0.2 s to import, the model's own, costs a worker of a fork server next to nothing."""
    done = run_with_one_thread(
        "import slow_to_import\n"
        "for name in ('process_pool', 'shared_pool'):\n"
        "    for start_method in ('spawn', 'forkserver'):\n"
        "        with listed()[name](slow_to_import.load, n_processes=2, start_method=start_method) as pool:\n"
        "            print(min(s.end_s - s.start_s for s in pool.spans() if s.kind == 'import') >= 0.2)"
    )
    assert done.stderr == ""
    assert done.stdout == "True\nFalse\n" * 2


@pytest.mark.skipif(sys.platform != "linux", reason="fork is refused elsewhere")
def test_fork_works_where_it_is_safe() -> None:
    """In a process of one thread workers are forked, and give what the others give."""
    done = run_with_one_thread(
        "for name in ('process_pool', 'naive_pool'):\n"
        "    with listed()[name](helpers.load_row_sums, n_processes=2, start_method='fork') as pool:\n"
        "        print(pool.map(helpers.numbered_rows(4), 1).tolist())"
    )
    assert done.stderr == ""
    assert done.stdout == "[1.0, 3.0, 7.0, 13.0]\n" * 2


@pytest.mark.skipif(sys.platform != "linux", reason="fork is refused elsewhere")
def test_fork_is_refused_where_it_is_not_safe() -> None:
    """A second thread, and nothing is forked: the message says how many there are and what to do."""
    done = run_with_one_thread(
        "import threading\nfrom inferbench_lib.errors import ConfigError\n"
        "release = threading.Event()\nthreading.Thread(target=release.wait).start()\n"
        "for name in ('process_pool', 'naive_pool'):\n"
        "    try:\n"
        "        listed()[name](helpers.load_row_sums, n_processes=2, start_method='fork')\n"
        "    except ConfigError as error:\n"
        "        print(error)\n"
        "release.set()"
    )
    assert done.stderr == ""
    assert done.stdout == 2 * (
        "start_method: expected no other thread in a process that forks, got 1 (OpenMP, OpenBLAS, torch or "
        "Python have started them); use spawn or forkserver, or set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1 "
        "before the first import\n"
    )


def test_an_unknown_start_method_is_refused() -> None:
    """The names that exist are told."""
    with pytest.raises(ConfigError) as caught:
        start_context("teleport", helpers.load_row_sums)
    assert str(caught.value) == "start_method: expected one of fork, forkserver, spawn, got 'teleport'"
