"""The obvious way, and what it costs: a new pool for every call, the model and its batch pickled into every task."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from inferbench_lib.executors.executor import CALLER, batches, idle_spans, now, spent
from inferbench_lib.executors.process_pool import ProcessPool
from inferbench_lib.executors.task_pool import lane
from inferbench_lib.processes.child import dumps
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.task import Parcel, Report, run_pickled
from inferbench_lib.records import Span

if TYPE_CHECKING:
    import numpy as np

    from inferbench_lib.executors.executor import Rows


class NaivePool(ProcessPool):
    """`concurrent.futures.ProcessPoolExecutor` as many use it; pool, imports and pickling are inside each `map`."""

    name = "naive_pool"

    def ready(self) -> None:
        """Load the model here, where the caller would have it anyway."""
        if not self.start_s:
            started_s = now()
            self._runner = self._load_runner()
            dumps(self._runner)  # refused here rather than in a worker
            self.start_s = now() - started_s

    def map(self, x: Rows, batch_size: int) -> np.ndarray:
        self.ready()
        rows = x.array if isinstance(x, SharedArray) else x
        tasks = batches(len(rows), batch_size)
        started_s = now()
        spans: list[Span] = []
        self._children = []
        with self._closed_on_error():
            self._futures = self._pool(b"")
            self._submitted_s: list[float] = []
            reports, output = self._collect(self._submit(rows, tasks, spans), spans)
            stop_s = now()
            with spent(spans, CALLER, "stop"):
                self._shut_down()
        workers = range(self._n_processes)
        spans += _worker_spans(reports, self._submitted_s)
        spans += [Span(worker=worker, kind="stop", start_s=stop_s, end_s=now()) for worker in workers]
        self._map_spans = (*spans, *idle_spans(spans, workers, started_s, now()))
        return output

    def _submit(self, x: Rows, tasks: Sequence[range], spans: list[Span]) -> list[Future[bytes]]:
        rows = x.array if isinstance(x, SharedArray) else x
        futures = []
        for task in tasks:
            with spent(spans, CALLER, "serialize_model"):
                model = pickle.dumps(self._runner, protocol=pickle.HIGHEST_PROTOCOL)
            with spent(spans, CALLER, "serialize_data"):
                batch = pickle.dumps(rows[task.start : task.stop], protocol=pickle.HIGHEST_PROTOCOL)
            self._submitted_s.append(now())
            futures.append(self._sent(run_pickled, Parcel((model, batch))))
        return futures


def _worker_spans(reports: Sequence[Report], submitted_s: Sequence[float]) -> Iterator[Span]:
    """The workers' time from their start to their last task, workers numbered in the order of their first line.

    The n-th process was started by the n-th submission.
    """
    starts = sorted({report.start for report in reports}, key=lambda start: start.first_line_s)
    for worker, start in enumerate(starts):
        asked_s = min(submitted_s[worker], start.first_line_s)
        yield Span(worker=worker, kind="start", start_s=asked_s, end_s=start.first_line_s, cpu_s=start.cpu_s)
        yield from lane([report for report in reports if report.start == start], worker, start.first_line_s)
