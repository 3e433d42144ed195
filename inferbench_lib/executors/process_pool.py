"""The standard library's pool, kept warm: the model is loaded once a worker, batches and outputs are pickled."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

from inferbench_lib.executors.executor import CALLER, spent
from inferbench_lib.executors.futures_pool import FuturesPool, recording
from inferbench_lib.processes.lifeline import in_main_thread, thread_limits
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.start_method import module_of, start_context
from inferbench_lib.processes.task import Parcel, begin, run_pickled
from inferbench_lib.records import Span

if TYPE_CHECKING:
    from inferbench_lib.executors.executor import LoadRunner, Rows


class ProcessPool(FuturesPool):
    """`concurrent.futures.ProcessPoolExecutor` with an initializer that loads the model.

    Not `multiprocessing.Pool`, which waits for ever for a worker that was killed. Pickling is done by hand, once where
    the library would do it once, so that each part can be timed. `start_method` as in `start_context`; a fork
    server imports the modules `preload` and that of `load_runner`.
    """

    name = "process_pool"

    def __init__(
        self, load_runner: LoadRunner, *, n_processes: int, n_threads: int = 1, start_method: str = "spawn",
        preload: Sequence[str] = (), timeout_s: float = 600.0,
    ) -> None:  # fmt: skip
        super().__init__(load_runner, n_processes=n_processes, n_threads=n_threads, timeout_s=timeout_s)
        self._context = start_context(start_method, (module_of(load_runner), *preload))

    def _pool(self, load: bytes) -> Executor:
        resource_tracker.ensure_running()  # first: a semaphore that it does not know of would outlive a kill
        arguments = (thread_limits(self._n_threads), in_main_thread(), load, None)
        return ProcessPoolExecutor(self._n_processes, recording(self._context, self._children), begin, arguments)

    def _submit(self, x: Rows, tasks: Sequence[range], spans: list[Span]) -> list[Future[bytes]]:
        rows = x.array if isinstance(x, SharedArray) else x
        futures = []
        for task in tasks:
            with spent(spans, CALLER, "serialize_data"):
                batch = pickle.dumps(rows[task.start : task.stop], protocol=pickle.HIGHEST_PROTOCOL)
            futures.append(self._sent(run_pickled, Parcel((b"", batch))))
        return futures
