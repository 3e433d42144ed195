"""Compare known losses of time with the account of the real executors, which takes an idle machine.

`python -m pytest tests/benchmarks/losses.py`; `make test` does not run it, since another program changes its figures.
Each check judges the fastest of some repetitions: other programs only add time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import parallel_helpers as helpers
import psutil
import pytest
from loss_kernels import LoadBurning, SlowToPickle, load_stream

from inferbench_lib.executors import listed
from inferbench_lib.executors.base import Executor
from inferbench_lib.executors.shared_pool import SharedPool
from inferbench_lib.executors.task_pool import TaskPool
from inferbench_lib.findings import Breakdown
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.spans import CALLER, now
from inferbench_lib.records import Case, Machine, Measurement, Run, Span
from inferbench_lib.studies.cpu_multiprocess import breakdown as b
from inferbench_lib.studies.cpu_multiprocess.study import study

N_REPETITIONS = 12
N_ROWS, N_WORKERS = 100, 2
BATCH = N_ROWS // N_WORKERS
ROWS = helpers.numbered_rows(N_ROWS)


def pass_over(executor: Executor, case: Case, rows: np.ndarray) -> Measurement:
    """Record one call of an executor as the benches do."""
    start_s = now()
    executor.map(rows, case.batch_size)
    end_s = now()
    call = Span(worker=CALLER, kind="call", start_s=start_s, end_s=end_s)
    return Measurement(case=case, samples_s=(end_s - start_s,), round_sizes=(1,), spans=((call, *executor.spans()),))


def fastest(executors: dict[Case, Executor], name: str, rows: np.ndarray, n_processes: int = N_WORKERS) -> Breakdown:
    """Return the study's account of `name` in the repetition with the shortest call of it."""
    for case, executor in executors.items():
        executor.map(rows, case.batch_size)  # the first call makes copies and maps memory
    found = []
    for _ in range(N_REPETITIONS):
        run = Run(
            notebook="cpu_multiprocess",
            run_id="r",
            machine=Machine(),
            params={"n_processes": n_processes, "n_samples": len(rows)},
            measurements=tuple(pass_over(executor, case, rows) for case, executor in executors.items()),
        )
        breakdown = study(run).warm[name].breakdown
        assert breakdown is not None
        found.append(breakdown)
    return min(found, key=lambda breakdown: breakdown.whole_s)


def account_of(name: str, load: Callable[[], Any], alone: Callable[[], Any], rows: np.ndarray = ROWS) -> Breakdown:
    """Return the account of a call of `name` beside one process and the ceiling."""
    case = partial(Case, workload="known", batch_size=len(rows) // N_WORKERS, n_processes=N_WORKERS)
    executors: dict[Case, Executor] = {
        Case(workload="known", executor="single", batch_size=len(rows)): listed()["single"](alone),
        **{case(executor=kind): listed()[kind](load, n_processes=N_WORKERS) for kind in ("ceiling", name)},
    }
    with ExitStack() as ends:
        for executor in executors.values():
            ends.callback(executor.close)
        return fastest(executors, name, rows)


def assert_lost(found: Breakdown, **expected_s: float | Callable[[float], float]) -> None:
    """Expect every loss, by its part's name in `breakdown`, to within 10 % of the largest of them.

    A loss may be a function of the wall time, where that is all that is known of it.
    """
    seconds = {part.name: part.seconds for part in found.parts}
    assert sum(seconds.values()) + found.unexplained_s == pytest.approx(found.whole_s)
    expected = {name: s(found.whole_s) if callable(s) else s for name, s in expected_s.items()}
    assert {name: seconds[getattr(b, name)] for name in expected} == pytest.approx(
        expected, abs=0.1 * max(map(abs, expected.values()))
    )
    assert found.unexplained_share < 0.05


@pytest.mark.parametrize("name", ["process_pool", "shared_pool", "loky"])
def test_a_worker_that_sleeps(name: str) -> None:
    """It sleeps 0.6 s over its half: half of that is computing without a CPU, half the other worker's idle end."""
    quick = LoadBurning(cpu_s=2e-5)
    sleepy = LoadBurning(cpu_s=2e-5, sleep_s=0.6)
    assert_lost(account_of(name, sleepy, quick), OVERSUBSCRIBED=0.3, IMBALANCE=0.3, USEFUL=0.001)


@pytest.mark.parametrize("name", ["naive_pool", "shared_pool", "dask"])
def test_a_kernel_slowed_by_a_known_factor(name: str) -> None:
    """Every row costs half as much CPU time again in the workers: 0.1 s useful and 0.05 s slowed, as in the ceiling."""
    found = account_of(name, LoadBurning(cpu_s=3e-3), LoadBurning(cpu_s=2e-3))
    assert_lost(found, USEFUL=0.1, SLOWED=0.05, BEYOND=0.0)


def test_two_workers_on_one_cpu() -> None:
    """Each has 0.1 s of work and gets the CPU for half of the time, or less if others want it: the rest is waiting."""
    found = account_of("shared_pool", LoadBurning(cpu_s=2e-3, is_pinned=True), LoadBurning(cpu_s=2e-3))
    assert_lost(found, USEFUL=0.1, OVERSUBSCRIBED=lambda whole_s: max(0.1, whole_s - 0.1))


@pytest.mark.parametrize("name", ["naive_pool", "process_pool"])
def test_a_transfer_of_known_cost(name: str) -> None:
    """Each half takes 0.15 s to pickle, one after the other: one worker waits 0.15 s for its data, the other 0.3 s.

    A half takes 0.3 s to compute: no worker is done with the first when the second comes.
    """
    busy = LoadBurning(cpu_s=6e-3)
    assert_lost(account_of(name, busy, busy, ROWS.view(SlowToPickle)), DATA=0.225, USEFUL=0.3)


class _Dawdling(SharedPool):
    """A pool whose parent is busy for 0.1 s, when its worker is done, with something that nobody recorded."""

    def _note(self, worker: Any, answer: Any, job: Any) -> None:
        if job.out is not None:
            time.sleep(0.1)
        super()._note(worker, answer, job)


def test_what_nobody_recorded_stays_unexplained() -> None:
    """It belongs to no part, and is shown: 0.1 s at the end of the call."""
    load = LoadBurning(cpu_s=2e-4)
    with listed()["single"](load) as alone, _Dawdling(load, n_processes=1) as pool:
        executors = {
            Case(workload="known", batch_size=N_ROWS): alone,
            Case(workload="known", executor="shared_pool", batch_size=BATCH): pool,
        }
        assert fastest(executors, "shared_pool", ROWS, 1).unexplained_s == pytest.approx(0.1, rel=0.5)


def test_a_kernel_bound_by_memory() -> None:
    """What shared memory costs the pool is what it costs the ceiling: next to nothing is lost beyond it."""
    found = account_of("shared_pool", load_stream, load_stream, np.ones((400_000, 16)))
    beyond_s = next(part.seconds for part in found.parts if part.name == b.BEYOND)
    assert abs(beyond_s) < 0.1 * found.whole_s
    assert found.unexplained_share < 0.05


@pytest.fixture(params=["process_pool", "loky", "dask"])
def warm(request: pytest.FixtureRequest) -> Iterator[TaskPool]:
    """A pool of two workers whose calls sleep 0.05 s."""
    with listed()[request.param](partial(helpers.load_sleeper, 0.05), n_processes=2) as pool:
        assert isinstance(pool, TaskPool)
        yield pool


def test_an_idle_pool_leaves_the_cpus_to_others(warm: TaskPool) -> None:
    """Between calls its processes and this one use less than 2 % of a CPU: others are measured in the same rounds."""

    def cpu_s() -> float:
        return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in (os.getpid(), *warm.pids))

    warm.map(ROWS, BATCH)
    used_s = []
    for _ in range(3):
        before_s = cpu_s()
        time.sleep(2)
        used_s.append(cpu_s() - before_s)
    assert min(used_s) < 0.04


def test_a_warm_pool_explains_its_time(warm: TaskPool) -> None:
    """Of twelve naps of 0.05 s in two workers, the account leaves next to nothing unexplained."""
    found = []
    with SharedArray.of(ROWS[:96]) as shared:
        for _ in range(N_REPETITIONS):
            start_s = now()
            warm.map(shared, 8)
            end_s = now()
            spans = [span for span in warm.spans() if span.start_s >= start_s]
            single_s = sum(span.cpu_s for span in spans if span.kind == "compute")
            found.append(b.account(spans, start_s=start_s, end_s=end_s, single_s=single_s, n_cpus=2, n_workers=2))
    best = min(found, key=lambda breakdown: breakdown.whole_s)
    assert best.whole_s > 6 * 0.05
    assert best.unexplained_share < 0.1
