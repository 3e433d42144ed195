"""Run the model by Dask, in a cluster on this machine or in the user's own; no task carries its rows.

Workers on this machine map the shared input, as those of the shared-memory pool do. For a scheduler elsewhere, the
first `map` of an input scatters its batches, and each task runs where its batch is.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from inferbench_lib.errors import ConfigError, NotAvailable, WorkerDied
from inferbench_lib.executors.base import Rows
from inferbench_lib.executors.task_pool import TaskPool
from inferbench_lib.processes.child import end_now, starting_processes, thread_limits
from inferbench_lib.processes.messages import answer, dumps, how_it_ended, open_answer
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.spans import CALLER, Start, now, spent
from inferbench_lib.processes.task import LoadRunner, Parcel, Report, join, run_rows, run_shared
from inferbench_lib.records import Span

QUIET: dict[str, Any] = {
    # Dask opens a port for HTTP even without a dashboard: here only on this machine, and with no routes.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # The self-monitoring of an idle cluster of four would take a tenth of a CPU from other measurements.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}
LEFT_BEHIND = {"PYTHONHASHSEED": "6640", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Variables that Dask sets in our environment for its workers and leaves there (distributed/nanny.py)."""
HERE = ("localhost", "127.0.0.1", "::1")
CONNECT_LIMIT_S = 10.0


class DaskPool(TaskPool):
    """`distributed.LocalCluster`, or with `scheduler` the cluster at that address.

    The address is `tls://host:port` (certificates as in Dask's own configuration) or, on this machine,
    `tcp://127.0.0.1:port`. Any other raises ConfigError: a client of a scheduler can run code on its workers. A user's
    cluster needs `n_processes` workers of one thread each that can import inferbench and the model. Its spans fit ours
    only where its workers run on this machine, with the same clock.
    """

    name = "dask"
    title = "Dask"
    has_cold_start = True
    maps_input = True

    def __init__(
        self, load_runner: LoadRunner, *, n_processes: int, n_threads: int = 1, scheduler: str | None = None,
        timeout_s: float = 600.0,
    ) -> None:  # fmt: skip
        super().__init__(load_runner, n_processes=n_processes, n_threads=n_threads, timeout_s=timeout_s)
        if scheduler is not None:
            refuse_open(scheduler)
        self._scheduler = scheduler
        self._stack = ExitStack()
        self._processes: dict[str, Any] = {}
        self._scattered: WeakKeyDictionary[SharedArray, dict[int, list[Any]]] = WeakKeyDictionary()

    def _open(self) -> list[Start]:
        from distributed import Client

        load = dumps(self._load_runner)
        address = self._scheduler or self._stack.enter_context(self._local_cluster())
        # A scheduler of the user's that is up answers at once.
        connect_s = min(self._timeout_s, CONNECT_LIMIT_S) if self._scheduler else self._start_limit_s
        try:
            client = Client(address, set_as_default=False, timeout=connect_s)  # type: ignore[no-untyped-call]
            self._client = self._stack.enter_context(client)
            self._client.wait_for_workers(self._n_processes, timeout=self._start_limit_s)
        except (OSError, TimeoutError) as error:
            raise NotAvailable(
                f"dask: expected {self._n_processes} workers at {self._scheduler or 'a local cluster'}, got "
                f"{error}; start the scheduler and its workers first"
            ) from error
        self._addresses = self._single_threaded()
        answers = self._client.run(answer, join, load, workers=self._addresses)
        return [open_answer(answers[address], self.name, "its start") for address in self._addresses]

    def _single_threaded(self) -> list[str]:
        threads = self._client.nthreads()
        fitting = [address for address, n_threads in threads.items() if n_threads == 1][: self._n_processes]
        if len(fitting) < self._n_processes:
            raise NotAvailable(
                f"dask: expected workers of one thread each, {self._n_processes} of them, got workers of "
                f"{', '.join(map(str, threads.values()))} threads; start them with `dask worker --nthreads 1`"
            )
        return fitting

    @contextmanager
    def _local_cluster(self) -> Iterator[Any]:
        """Start workers that end with this process, leave no files, and are not replaced when they die."""
        import dask
        from distributed import LocalCluster

        options = {
            "n_workers": self._n_processes, "threads_per_worker": 1, "processes": True, "host": "127.0.0.1",
            "dashboard_address": None, "silence_logs": logging.CRITICAL + 1, "memory_limit": 0,
            "scheduler_kwargs": {"allowed_failures": 0, "dashboard_address": "127.0.0.1:0", "dashboard": False},
        }  # fmt: skip
        resource_tracker.ensure_running()  # first: a semaphore that it does not know of would outlive a kill
        with scratch_folder() as folder, dask.config.set(QUIET | {"temporary-directory": folder}):
            with starting_processes(LEFT_BEHIND | thread_limits(self._n_threads)):
                cluster = LocalCluster(**options)  # type: ignore[no-untyped-call]
            with cluster:
                for nanny in cluster.workers.values():
                    self._processes[nanny.worker_address] = nanny.process.process
                    nanny.close_gracefully()  # "we shouldn't try to restart workers if they go away"
                yield cluster

    def _submit(self, x: Rows, tasks: Sequence[range], spans: list[Span]) -> list[Any]:
        own = {"pure": False, "workers": self._addresses, "allow_other_workers": False}
        if self._scheduler is None:
            parcels = (Parcel((x, task.start, task.stop)) for task in tasks)
            return [self._client.submit(answer, run_shared, parcel, **own) for parcel in parcels]
        assert isinstance(x, SharedArray)
        known = self._scattered.setdefault(x, {})
        if len(tasks[0]) not in known:
            with spent(spans, CALLER, "share", len(x.array)):
                parts = [x.array[task.start : task.stop] for task in tasks]
                known[len(tasks[0])] = self._client.scatter(parts, workers=self._addresses, hash=False)
        return [self._client.submit(answer, run_rows, part, **own) for part in known[len(tasks[0])]]

    def _death(self, error: Exception) -> str:
        from distributed import KilledWorker

        if isinstance(error, CancelledError):
            return f"its scheduler was lost ({error}); check that it runs, and make a new pool"
        return self._end_of(error.last_worker.address) if isinstance(error, KilledWorker) else ""

    def _end_of(self, address: str) -> str:
        process = self._processes.get(address)
        if process is None:
            return f"worker {address} ended; read what it printed"
        deadline_s = now() + 5
        while process.is_alive() and now() < deadline_s:  # the scheduler may know before Dask's own watcher
            time.sleep(0.01)
        return f"worker (pid {process.pid}) {how_it_ended(process.exitcode)}"

    def _check_workers(self, reports: Sequence[Report]) -> None:
        super()._check_workers(reports)
        for address, process in self._processes.items():
            if not process.is_alive():
                raise WorkerDied(f"dask: expected all its workers at work, but {self._end_of(address)}")

    def _shut_down(self) -> None:
        self._scattered.clear()
        self._stack.close()

    def _kill(self) -> None:
        end_now(self._processes.values())
        self._shut_down()


def refuse_open(scheduler: str) -> None:
    """Raise ConfigError for an address beyond this machine that is not encrypted."""
    parts = urlsplit(scheduler)
    is_safe = parts.hostname in HERE if parts.scheme == "tcp" else parts.scheme == "tls" and parts.hostname
    if not is_safe:
        raise ConfigError(
            f"dask.scheduler: expected tls://host:port, or tcp://127.0.0.1:port on this machine, got {scheduler!r}; "
            "start the scheduler with certificates, and name them in Dask's configuration (distributed.comm.tls)"
        )


@contextmanager
def scratch_folder() -> Iterator[str]:
    """Make a temporary folder; loky's resource tracker removes it even when this process is killed."""
    from joblib.externals.loky.backend import resource_tracker

    folder = tempfile.mkdtemp(prefix="inferbench-dask-")
    resource_tracker.register(folder, "folder")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        resource_tracker.unregister(folder, "folder")
