"""Run the model in joblib's pool: workers map the shared input, only row numbers travel, outputs are pickled."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import TYPE_CHECKING

from inferbench_lib.executors.task_pool import FuturesPool
from inferbench_lib.processes.child import in_main_thread, recording, thread_limits
from inferbench_lib.processes.task import Parcel, Report, begin, run_shared
from inferbench_lib.records import Span

if TYPE_CHECKING:
    from concurrent import futures

    from inferbench_lib.executors.base import Rows


class LokyPool(FuturesPool):
    """The executor behind `joblib.Parallel`. Here it keeps workers that were idle for some seconds.

    loky replaces a worker that has grown by 300 MB, the mapped input included (`_MAX_MEMORY_LEAK_SIZE` in
    loky/process_executor.py). A call in which that happens raises WorkerDied.
    """

    name = "loky"
    title = "joblib's loky"
    has_cold_start = True
    maps_input = True

    def _pool(self, load: bytes) -> futures.Executor:
        from joblib.externals.loky.backend import get_context, resource_tracker
        from joblib.externals.loky.process_executor import ProcessPoolExecutor

        resource_tracker.ensure_running()  # first: a semaphore that it does not know of would outlive a kill
        limits = thread_limits(self._n_threads)
        # Unlike those of multiprocessing, loky's workers do not notice the end of their parent.
        theirs, self._lifeline = multiprocessing.Pipe(duplex=False)
        pool: futures.Executor = ProcessPoolExecutor(
            self._n_processes, context=recording(get_context("loky"), self._children), timeout=None, env=limits,
            initializer=begin, initargs=(limits, in_main_thread(), load, theirs),
        )  # fmt: skip
        return pool

    def _submit(self, x: Rows, tasks: Sequence[range], spans: list[Span]) -> list[futures.Future[bytes]]:
        return [self._sent(run_shared, Parcel((x, task.start, task.stop))) for task in tasks]

    def _check_workers(self, reports: Sequence[Report]) -> None:
        super()._check_workers(reports)
        if later := [child.pid for child in self._started() if child.pid not in self.pids]:
            raise self._replaced(later)
