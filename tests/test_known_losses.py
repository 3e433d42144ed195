"""Losses that are known beforehand, through the real executors and their real spans, each found in the right part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from loss_kernels import LoadBurning, SlowToPickle, load_stream
from parallel_helpers import numbered_rows
from tries import MOST_TRIES, in_some_try

from inferbench_lib.executors.executor import CALLER, Executor, now
from inferbench_lib.executors.executors import EXECUTORS
from inferbench_lib.executors.pool import SharedPool
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.records import Breakdown, Case, Machine, Measurement, Run, Span
from inferbench_lib.studies.cpu_multiprocess import breakdown as b
from inferbench_lib.studies.cpu_multiprocess.study import study

N_ROWS, N_WORKERS = 100, 2
BATCH = N_ROWS // N_WORKERS
ROWS = numbered_rows(N_ROWS)


def pass_over(executor: Executor, case: Case, rows: np.ndarray) -> Measurement:
    """One call of an executor as the benches record it."""
    start_s = now()
    executor.map(rows, case.batch_size)
    end_s = now()
    call = Span(worker=CALLER, kind="call", start_s=start_s, end_s=end_s)
    return Measurement(case=case, samples_s=(end_s - start_s,), round_sizes=(1,), spans=((call, *executor.spans()),))


def accounts(
    name: str, load: Callable[[], Any], alone: Callable[[], Any], rows: np.ndarray = ROWS
) -> Iterator[Breakdown]:
    """The study's account of one call of `name` beside one process and the ceiling; a new one each time."""
    batch_size = len(rows) // N_WORKERS
    ways = {
        Case(workload="known", executor="single", batch_size=len(rows)): EXECUTORS["single"](alone),
        Case(workload="known", executor="ceiling", batch_size=batch_size, n_processes=N_WORKERS): EXECUTORS["ceiling"](
            load, n_processes=N_WORKERS
        ),
        Case(workload="known", executor=name, batch_size=batch_size, n_processes=N_WORKERS): EXECUTORS[name](
            load, n_processes=N_WORKERS
        ),
    }
    try:
        for case, executor in ways.items():
            executor.map(rows, case.batch_size)  # the first call makes copies and maps memory
        for _ in range(MOST_TRIES):
            run = Run(
                notebook="cpu_multiprocess",
                run_id="r",
                machine=Machine(),
                params={"n_processes": N_WORKERS, "n_samples": len(rows)},
                measurements=tuple(pass_over(executor, case, rows) for case, executor in ways.items()),
            )
            found = study(run).warm[name].breakdown
            assert found is not None
            yield found
    finally:
        for executor in ways.values():
            executor.close()


def assert_lost(found: Iterator[Breakdown], **expected_s: float | Callable[[float], float]) -> None:
    """Some try attributes every loss, by its part's name in `breakdown`, to within 10 % of the largest of them.

    A loss may be a function of the wall time, where that is all that is known of it.
    """
    tries = []
    for breakdown in found:
        seconds = {part.name: part.seconds for part in breakdown.parts}
        assert sum(seconds.values()) + breakdown.unexplained_s == pytest.approx(breakdown.whole_s)
        expected = {name: s(breakdown.whole_s) if callable(s) else s for name, s in expected_s.items()}
        seen = {name: seconds[getattr(b, name)] for name in expected}
        tries.append((seen, breakdown))
        is_right = seen == pytest.approx(expected, abs=0.1 * max(map(abs, expected.values())))
        if is_right and breakdown.unexplained_share < 0.05:
            return
    raise AssertionError(f"expected {expected}, got " + "; ".join(f"{seen} of {of.whole_s:.3f}" for seen, of in tries))


@pytest.mark.parametrize("name", ["process_pool", "shared_pool", "loky"])
def test_a_worker_that_sleeps(name: str) -> None:
    """It sleeps 0.6 s over its half: half of that is computing without a CPU, half the other worker's idle end."""
    quick = LoadBurning(cpu_s=2e-5)
    sleepy = LoadBurning(cpu_s=2e-5, sleep_s=0.6)
    assert_lost(accounts(name, sleepy, quick), OVERSUBSCRIBED=0.3, IMBALANCE=0.3, USEFUL=0.001)


@pytest.mark.parametrize("name", ["naive_pool", "shared_pool", "dask"])
def test_a_kernel_slowed_by_a_known_factor(name: str) -> None:
    """Every row costs half as much CPU time again in the workers: 0.1 s useful and 0.05 s slowed, as in the ceiling."""
    found = accounts(name, LoadBurning(cpu_s=3e-3), LoadBurning(cpu_s=2e-3))
    assert_lost(found, USEFUL=0.1, SLOWED=0.05, BEYOND=0.0)


def test_two_workers_on_one_cpu() -> None:
    """Each has 0.1 s of work and gets the CPU for half of the time, or less if others want it: the rest is waiting."""
    found = accounts("shared_pool", LoadBurning(cpu_s=2e-3, is_pinned=True), LoadBurning(cpu_s=2e-3))
    assert_lost(found, USEFUL=0.1, OVERSUBSCRIBED=lambda whole_s: max(0.1, whole_s - 0.1))


@pytest.mark.parametrize("name", ["naive_pool", "process_pool"])
def test_a_transfer_of_known_cost(name: str) -> None:
    """Each half takes 0.15 s to pickle, one after the other: one worker waits 0.15 s for its data, the other 0.3 s.

    A half takes 0.3 s to compute: no worker is done with the first when the second comes.
    """
    busy = LoadBurning(cpu_s=6e-3)
    assert_lost(accounts(name, busy, busy, ROWS.view(SlowToPickle)), DATA=0.225, USEFUL=0.3)


class _Dawdling(SharedPool):
    """A pool whose parent is busy for 0.1 s, when its worker has done all, with something that nobody recorded."""

    def _out_for(self, row: Any, out: SharedArray | None, n_rows: int) -> SharedArray:
        if out is not None:
            time.sleep(0.1)
        return super()._out_for(row, out, n_rows)


def test_what_nobody_recorded_stays_unexplained() -> None:
    """It is given to no part, and shown: 0.1 s at the end of the call."""
    load = LoadBurning(cpu_s=2e-4)
    with EXECUTORS["single"](load) as alone, _Dawdling(load, n_processes=1) as pool:
        pool.map(ROWS, BATCH)

        def check() -> None:
            of_one = pass_over(alone, Case(workload="known", batch_size=N_ROWS), ROWS)
            of_pool = pass_over(pool, Case(workload="known", executor="shared_pool", batch_size=BATCH), ROWS)
            run = Run(
                notebook="cpu_multiprocess", run_id="r", machine=Machine(),
                params={"n_processes": 1, "n_samples": N_ROWS}, measurements=(of_one, of_pool),
            )  # fmt: skip
            found = study(run).warm["shared_pool"].breakdown
            assert found is not None
            assert found.unexplained_s == pytest.approx(0.1, rel=0.5)

        in_some_try(check)


def test_a_kernel_bound_by_memory() -> None:
    """What shared memory costs the pool is what it costs the ceiling: next to nothing is lost beyond it."""
    rows = np.ones((400_000, 16))
    for breakdown in accounts("shared_pool", load_stream, load_stream, rows):
        seconds = {part.name: part.seconds for part in breakdown.parts}
        if abs(seconds[b.BEYOND]) < 0.1 * breakdown.whole_s and breakdown.unexplained_share < 0.05:
            return
    raise AssertionError(f"expected nothing beyond the ceiling, got {seconds} of {breakdown.whole_s:.3f} s")
