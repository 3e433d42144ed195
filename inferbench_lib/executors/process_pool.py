"""Run the model in the standard library's pool: each worker loads it once, batches and outputs are pickled."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent import futures
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

from inferbench_lib.executors.base import in_memory
from inferbench_lib.executors.task_pool import FuturesPool
from inferbench_lib.processes.child import in_main_thread, module_of, recording, start_context, thread_limits
from inferbench_lib.processes.spans import CALLER, spent
from inferbench_lib.processes.task import Parcel, begin, run_pickled
from inferbench_lib.records import Span

if TYPE_CHECKING:
    from inferbench_lib.executors.base import Rows
    from inferbench_lib.processes.task import LoadRunner


class ProcessPool(FuturesPool):
    """`concurrent.futures.ProcessPoolExecutor` with an initializer that loads the model.

    `multiprocessing.Pool` would wait for ever for a worker that was killed. Tasks are pickled here instead of by the
    library, so that each part can be timed. `start_method` as in `start_context`. A fork server imports the modules
    `preload` and that of `load_runner`.
    """

    name = "process_pool"
    title = "ProcessPoolExecutor, kept warm"
    has_cold_start = True

    def __init__(
        self, load_runner: LoadRunner, *, n_processes: int, n_threads: int = 1, start_method: str = "spawn",
        preload: Sequence[str] = (), timeout_s: float = 600.0,
    ) -> None:  # fmt: skip
        super().__init__(load_runner, n_processes=n_processes, n_threads=n_threads, timeout_s=timeout_s)
        self._context = start_context(start_method, (module_of(load_runner), *preload))

    def _pool(self, load: bytes) -> futures.Executor:
        resource_tracker.ensure_running()  # first: a semaphore that it does not know of would outlive a kill
        arguments = (thread_limits(self._n_threads), in_main_thread(), load, None)
        context = recording(self._context, self._children)
        return futures.ProcessPoolExecutor(self._n_processes, context, begin, arguments)

    def _submit(self, x: Rows, tasks: Sequence[range], spans: list[Span]) -> list[futures.Future[bytes]]:
        rows = in_memory(x)
        sent = []
        for task in tasks:
            model = self._model(spans)
            with spent(spans, CALLER, "serialize_data"):
                batch = pickle.dumps(rows[task.start : task.stop], protocol=pickle.HIGHEST_PROTOCOL)
            sent.append(self._sent(run_pickled, Parcel((model, batch))))
        return sent

    def _model(self, spans: list[Span]) -> bytes:
        """Return what a task carries of the model: nothing, since each worker has loaded it."""
        return b""
