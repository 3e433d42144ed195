"""Run the model in the obvious way: a new pool per call, with the model and its batch pickled into every task."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from inferbench_lib.executors.base import in_memory
from inferbench_lib.executors.process_pool import ProcessPool
from inferbench_lib.executors.task_pool import lane
from inferbench_lib.processes.messages import dumps
from inferbench_lib.processes.scheduling import batches
from inferbench_lib.processes.spans import CALLER, idle_spans, now, spent
from inferbench_lib.processes.task import Parcel, Report
from inferbench_lib.records import Span

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent import futures

    import numpy as np

    from inferbench_lib.executors.base import Rows


class NaivePool(ProcessPool):
    """`concurrent.futures.ProcessPoolExecutor` as many use it; each `map` includes pool, imports and pickling."""

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
            self._submitted_s: list[float] = []
            reports, output = self._collect(self._submit(x, tasks, spans), spans)
            stop_s = now()
            with spent(spans, CALLER, "stop"):
                self._shut_down()
        end_s = now()
        workers = range(self._n_processes)
        spans += _worker_spans(reports, self._submitted_s)
        spans += [Span(worker=worker, kind="stop", start_s=stop_s, end_s=end_s) for worker in workers]
        self._map_spans = (*spans, *idle_spans(spans, workers, began_s, end_s))
        return output

    def _model(self, spans: list[Span]) -> bytes:
        with spent(spans, CALLER, "serialize_model"):
            return pickle.dumps(self._runner, protocol=pickle.HIGHEST_PROTOCOL)

    def _sent(self, function: Callable[..., bytes], *parcel: Parcel) -> futures.Future[bytes]:
        self._submitted_s.append(now())
        return super()._sent(function, *parcel)


def _worker_spans(reports: Sequence[Report], submitted_s: Sequence[float]) -> Iterator[Span]:
    """Yield the spans of the workers from start to last task; workers are numbered in the order of their first line.

    The n-th submission started the n-th process.
    """
    starts = sorted({report.start for report in reports}, key=lambda start: start.first_line_s)
    for worker, start in enumerate(starts):
        asked_s = min(submitted_s[worker], start.first_line_s)
        yield Span(worker=worker, kind="start", start_s=asked_s, end_s=start.first_line_s, cpu_s=start.cpu_s)
        yield from lane([report for report in reports if report.start == start], worker, start.first_line_s)
