"""Run the model in pools of `concurrent.futures`: the standard library's, warm or new per call, and joblib's loky."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from time import sleep

import numpy as np

from inferbench_lib.errors import WorkerDied
from inferbench_lib.executors.base import Rows, in_memory
from inferbench_lib.executors.task_pool import TaskPool, lane
from inferbench_lib.processes.child import (
    end_now,
    in_main_thread,
    recording,
    start_context,
    starting_processes,
    thread_limits,
)
from inferbench_lib.processes.messages import answer, dumps, how_it_ended
from inferbench_lib.processes.scheduling import batches
from inferbench_lib.processes.spans import CALLER, Start, idle_spans, now, spent
from inferbench_lib.processes.task import LoadRunner, Parcel, Report, begin, greet, run_pickled, run_shared
from inferbench_lib.records import Span


class FuturesPool(TaskPool):
    """Base class for pools of `concurrent.futures`; it records their processes, so that it can explain a death."""

    _futures: futures.Executor | None = None
    _children: list[BaseProcess]

    @abstractmethod
    def _pool(self, load: bytes) -> futures.Executor:
        """Return a new pool whose workers `begin` with the pickled `load`; its processes come into `_children`."""

    def _open(self) -> list[Start]:
        self._children = []
        self._futures = self._pool(dumps(self._load_runner))
        deadline_s = now() + self._start_limit_s
        starts: dict[int, Start] = {}
        while len(starts) < self._n_processes:  # a worker that is up may answer for one that is not
            if now() > deadline_s:
                raise self._silent("its start", self._start_limit_s)
            for future in [self._sent(greet) for _ in range(self._n_processes)]:
                start: Start = self._answer(future, "its start", self._start_limit_s)
                starts[start.pid] = start
        return sorted(starts.values(), key=lambda start: start.began_s)

    def _sent(self, function: Callable[..., Start | Report], *parcel: Parcel) -> futures.Future[bytes]:
        assert self._futures is not None
        with starting_processes(thread_limits(self._n_threads)):  # a submission may start one more process
            try:
                return self._futures.submit(answer, function, *parcel)
            except BrokenProcessPool as error:
                raise WorkerDied(f"{self.name}: expected live workers, but {self._death(error)}") from None

    def _shut_down(self) -> None:
        if self._futures is not None:
            self._futures.shutdown()
            self._futures = None

    def _kill(self) -> None:
        end_now(self._children)
        self._shut_down()

    def _started(self) -> list[BaseProcess]:
        return [child for child in self._children if child.pid is not None]

    def _death(self, error: Exception) -> str:
        """Name the worker that broke the pool, which then ends the others itself, by SIGTERM or SIGKILL."""
        if not isinstance(error, BrokenProcessPool):
            return ""
        codes = {child.pid: _exit_code(child) for child in self._started()}
        for by_the_pool in ((0, None, -signal.SIGTERM, -signal.SIGKILL), (0, None, -signal.SIGTERM), ()):
            if first := [pid for pid, code in codes.items() if code not in by_the_pool]:
                break
        return f"worker (pid {' or '.join(map(str, first))}) {how_it_ended(codes[first[0]])}"


class ProcessPool(FuturesPool):
    """`concurrent.futures.ProcessPoolExecutor` with an initializer that loads the model.

    `multiprocessing.Pool` would wait for ever for a worker that was killed. Tasks are pickled here instead of by the
    library, so that each part can be timed. `start_method` as in `start_context`.
    """

    name = "process_pool"
    title = "ProcessPoolExecutor, kept warm"
    has_cold_start = True

    def __init__(
        self, load_runner: LoadRunner, *, n_processes: int, n_threads: int = 1, start_method: str = "spawn",
        timeout_s: float = 600.0,
    ) -> None:  # fmt: skip
        super().__init__(load_runner, n_processes=n_processes, n_threads=n_threads, timeout_s=timeout_s)
        self._context = start_context(start_method, load_runner)

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


class NaivePool(ProcessPool):
    """The same as many use it: each `map` makes the pool, imports, and pickles model and batch into every task."""

    name = "naive_pool"
    title = "a new ProcessPoolExecutor per call"
    has_cold_start = False
    starts_per_call = True

    def _start(self) -> None:
        """Load the model here, where the caller would have it anyway."""
        self._children = []
        self._runner = self._load_runner()
        dumps(self._runner)  # refused here rather than in a worker

    def map(self, x: Rows, batch_size: int) -> np.ndarray:
        self.ready()
        tasks = batches(len(in_memory(x)), batch_size)
        began_s = now()
        spans: list[Span] = []
        self._children = []
        with self._ended_on_error():
            self._futures = self._pool(b"")
            sent = self._submit(x, tasks, spans)
            sent_s = [span.end_s for span in spans if span.kind == "serialize_data"]
            reports, output = self._collect(sent, spans)
            stop_s = now()
            with spent(spans, CALLER, "stop"):
                self._shut_down()
        end_s = now()
        starts = sorted({report.start for report in reports}, key=lambda start: start.began_s)
        for worker, start in enumerate(starts):  # the n-th submission started the n-th process
            spans += start.lane(worker, min(sent_s[worker], start.began_s))
            spans += lane([report for report in reports if report.start == start], worker, start.began_s)
        workers = range(self._n_processes)
        spans += [Span(worker=worker, kind="stop", start_s=stop_s, end_s=end_s) for worker in workers]
        self._map_spans = (*spans, *idle_spans(spans, workers, began_s, end_s))
        return output

    def _model(self, spans: list[Span]) -> bytes:
        with spent(spans, CALLER, "serialize_model"):
            return pickle.dumps(self._runner, protocol=pickle.HIGHEST_PROTOCOL)


class LokyPool(FuturesPool):
    """The executor behind `joblib.Parallel`. Here it keeps workers that were idle for some seconds.

    Workers map the shared input, only row numbers travel, outputs are pickled. loky replaces a worker that has grown by
    300 MB, the mapped input included (`_MAX_MEMORY_LEAK_SIZE` in loky/process_executor.py). A call in which that
    happens raises WorkerDied.
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


def _exit_code(child: BaseProcess) -> int | None:
    """Return how a child ended; the thread of the pool may have reaped it, and notes the code a moment later."""
    child.join(5)
    deadline_s = now() + 1
    while child.exitcode is None and now() < deadline_s:
        sleep(0.001)
    return child.exitcode
