"""The obvious way, and what it costs: a new pool for every call, the model and its batch pickled into every task."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from inferbench_lib.errors import WorkerDied, WorkerHung
from inferbench_lib.parallel.answers import open_answer
from inferbench_lib.parallel.child import dumps
from inferbench_lib.parallel.executor import CALLER, Executor, batches, idle_spans, now, spent
from inferbench_lib.parallel.lifeline import in_main_thread, starting_processes, thread_limits
from inferbench_lib.parallel.naive_task import Parcel, Report, begin, run
from inferbench_lib.parallel.remote import how_it_ended
from inferbench_lib.parallel.shared_array import SharedArray
from inferbench_lib.records import Span

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess

    import numpy as np

    from inferbench_lib.parallel.executor import LoadRunner, Rows


class NaivePool(Executor):
    """`concurrent.futures.ProcessPoolExecutor` as many use it; pool, imports and pickling are inside each `map`.

    Not `multiprocessing.Pool`, which waits for ever for a worker that was killed. Pickling is done by hand, once where
    the library would do it once, so that each part can be timed. Raises WorkerDied, WorkerRaised, WorkerHung (no answer
    to a batch for `timeout_s`), OutOfMemory.
    """

    def __init__(
        self, load_runner: LoadRunner, *, n_processes: int, n_threads: int = 1, start_method: str = "spawn",
        timeout_s: float = 600.0,
    ) -> None:  # fmt: skip
        if n_processes < 1:
            raise ValueError(f"naive_pool.n_processes: expected at least 1, got {n_processes}")
        self._load_runner, self._n_processes, self._limits = load_runner, n_processes, thread_limits(n_threads)
        self._start_method, self._timeout_s = start_method, timeout_s
        self._spans: tuple[Span, ...] = ()

    def ready(self) -> None:
        """Load the model here, where the caller would have it anyway."""
        if not self.start_s:
            started_s = now()
            self._runner = self._load_runner()
            dumps(self._runner)  # refused here rather than in a worker
            self.start_s = now() - started_s

    def map(self, x: Rows, batch_size: int) -> np.ndarray:
        import numpy as np

        self.ready()
        rows = x.array if isinstance(x, SharedArray) else x
        tasks = batches(len(rows), batch_size)
        started_s = now()
        spans: list[Span] = []
        self._children: list[BaseProcess] = []
        context = _recording_context(self._start_method, self._children)
        pool = ProcessPoolExecutor(self._n_processes, context, begin, (self._limits, in_main_thread()))
        try:
            submitted_s, futures = self._submit(pool, [rows[task.start : task.stop] for task in tasks], spans)
            reports, outputs = self._collect(futures, spans)
            with spent(spans, CALLER, "store"):
                output = np.concatenate(outputs)
            stop_s = now()
            with spent(spans, CALLER, "stop"):
                pool.shutdown()
        except BaseException:
            for child in self._started():
                child.kill()
            pool.shutdown(cancel_futures=True)
            raise
        spans += _worker_spans(reports, submitted_s)
        workers = range(self._n_processes)
        spans += [Span(worker=worker, kind="stop", start_s=stop_s, end_s=now()) for worker in workers]
        self._spans = (*spans, *idle_spans(spans, workers, started_s, now()))
        return output

    def spans(self) -> tuple[Span, ...]:
        return self._spans

    def _submit(
        self, pool: ProcessPoolExecutor, parts: list[np.ndarray], spans: list[Span]
    ) -> tuple[list[float], list[Future[bytes]]]:
        submitted_s, futures = [], []
        for part in parts:
            with spent(spans, CALLER, "serialize_model"):
                model = pickle.dumps(self._runner, protocol=pickle.HIGHEST_PROTOCOL)
            with spent(spans, CALLER, "serialize_data"):
                batch = pickle.dumps(part, protocol=pickle.HIGHEST_PROTOCOL)
            with starting_processes({}):  # a submission may start one more process
                submitted_s.append(now())
                futures.append(pool.submit(run, Parcel(model, batch)))
        return submitted_s, futures

    def _collect(self, futures: list[Future[bytes]], spans: list[Span]) -> tuple[list[Report], list[np.ndarray]]:
        reports, outputs = [], []
        for number, future in enumerate(futures, 1):
            task = f"batch {number} of {len(futures)}"
            try:
                answer = future.result(self._timeout_s)
            except TimeoutError:
                raise WorkerHung(
                    f"naive_pool: expected an answer to {task} within {self._timeout_s:g} s, got none, so its workers "
                    "were killed; give it more time or less work at once"
                ) from None
            except BrokenProcessPool:
                raise WorkerDied(f"naive_pool: expected an answer to {task}, but {self._first_death()}") from None
            reports.append(open_answer(answer, "naive_pool", task))
            with spent(spans, CALLER, "deserialize_result"):
                outputs.append(pickle.loads(reports[-1].output))
        return reports, outputs

    def _started(self) -> list[BaseProcess]:
        return [child for child in self._children if child.pid is not None]

    def _first_death(self) -> str:
        """The worker that broke the pool, which then ends the others by SIGTERM."""
        for child in self._started():
            child.join(5)
        codes = {child.pid: child.exitcode for child in self._started()}
        pid = next((pid for pid, code in codes.items() if code not in (0, None, -signal.SIGTERM)), next(iter(codes)))
        return f"worker (pid {pid}) {how_it_ended(codes[pid])}"


def _recording_context(start_method: str, children: list[BaseProcess]) -> BaseContext:
    """A context that notes the processes it makes, so that one which dies at once is known too."""
    context = type(multiprocessing.get_context(start_method))()

    def make(*args: Any, **options: Any) -> BaseProcess:
        child: BaseProcess = type(context).Process(*args, **options)  # type: ignore[attr-defined]
        children.append(child)
        return child

    context.Process = make  # type: ignore[attr-defined]
    return context


def _worker_spans(reports: Sequence[Report], submitted_s: Sequence[float]) -> Iterator[Span]:
    """The workers' time from their start to their last task, workers numbered in the order of their first line.

    The n-th process was started by the n-th submission. A worker that is free waits until its task is sent, and what
    passes from then until it has arrived is transfer.
    """
    in_order = sorted(reports, key=lambda report: (report.first_line_s, report.arrived_s))
    for worker, (_, own) in enumerate(groupby(in_order, lambda report: report.pid)):
        free_s = None
        for report in own:
            if free_s is None:
                free_s = report.first_line_s
                asked_s = min(submitted_s[worker], free_s)
                yield Span(worker=worker, kind="start", start_s=asked_s, end_s=free_s, cpu_s=report.start_cpu_s)
            sent_s = max(free_s, report.sent_s)
            yield Span(worker=worker, kind="transfer", start_s=sent_s, end_s=report.arrived_s)
            yield from (replace(span, worker=worker) for span in report.spans)
            free_s = report.spans[-1].end_s
