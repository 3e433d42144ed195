"""Run the model in workers of our own, which start together, keep a model each, and end together."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from inferbench_lib.executors.base import Executor, Rows, in_memory, share
from inferbench_lib.processes.child import start_context, thread_limits
from inferbench_lib.processes.remote import Remote, as_answered
from inferbench_lib.processes.row_worker import Row, RowWorker
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.spans import CALLER, idle_spans, now, spent
from inferbench_lib.processes.task import LoadRunner
from inferbench_lib.records import Span


class WorkerPool(Executor):
    """Base class for `n_processes` workers that start at once; each calls the picklable `load_runner` for its model.

    A worker that dies, raises, or is silent for `timeout_s` over one batch ends the pool. The error names the worker,
    its end and the batch (errors as in `Remote`; WrongOutput where outputs do not fit together).
    """

    def __init__(
        self, load_runner: LoadRunner, *, n_processes: int, n_threads: int = 1, start_method: str = "spawn",
        timeout_s: float = 600.0, n_callers: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(load_runner, n_processes=n_processes, n_threads=n_threads)
        self._timeout_s = timeout_s
        self._row: Row | None = None
        self._stop_spans: list[Span] = []
        self._workers: list[Remote] = []
        self._began_s = now()
        start_context(start_method, load_runner)  # refuses what is not safe, tells the fork server what to load
        with self._ended_on_error():
            for index in range(n_processes - n_callers):
                worker = Remote(
                    partial(RowWorker, load_runner, index), environment=thread_limits(n_threads), index=index,
                    name=f"{self.name} {index}", timeout_s=timeout_s, start_method=start_method,
                )  # fmt: skip
                self._workers.append(worker)

    @property
    def pids(self) -> tuple[int, ...]:
        """Return the process ids of the workers."""
        return tuple(worker.pid for worker in self._workers)

    def _start(self) -> None:
        for worker in self._workers:
            worker.ready()

    def spans(self) -> tuple[Span, ...]:
        started = (span for worker in self._workers for span in worker.start_spans)
        return (*started, *super().spans(), *self._stop_spans)

    def close(self) -> None:
        spans: list[Span] = []
        with spent(spans, CALLER, "stop"):
            for worker in self._workers:
                worker.hang_up()
            for worker in self._workers:
                worker.close()
        self._stop_spans = self._stop_spans or spans

    def _room(self, n_rows: int, row: Row | None = None) -> SharedArray | None:
        """Return room for `n_rows` outputs like `row`, or like those seen before; None where there were none."""
        self._row = row or self._row
        return SharedArray.empty((n_rows, *self._row[0]), self._row[1]) if self._row else None


class Ceiling(WorkerPool):
    """The most that this machine can do: workers that start each `map` together, each with 1/n of the rows.

    The first `map` of an input makes the copies, so time a later one. No rows are handed out while they work. They lose
    time against n times one process only by what processes share: memory bandwidth, cache and clock.
    """

    name = "ceiling"
    title = "independent processes"
    keeps_input = True
    _x: Rows | None = None

    def map(self, x: Rows, batch_size: int) -> np.ndarray:
        self.ready()
        n_rows, n_parts = len(in_memory(x)), len(self._workers)
        if n_rows < n_parts:
            raise ValueError(f"ceiling.map: expected at least {n_parts} rows, one per worker, got {n_rows}")
        with self._ended_on_error():
            if x is not self._x:
                self._ask_all("own", share(x, []), n_parts)
                self._x = x
            began_s = now()
            out = self._room(n_rows)
            spans, row = self._ask_all("run_own", batch_size, out, task=f"its part of {n_rows:,} rows")
            if out is None:
                out = self._room(n_rows, row)
                spans += self._ask_all("store", out)[0]
        self._map_spans = (*spans, *idle_spans(spans, range(n_parts), began_s, now()))
        assert out is not None  # made with the first outputs
        return out.array

    def _ask_all(self, method: str, *args: Any, task: str = "") -> tuple[list[Span], Row | None]:
        """Ask every worker the same at once; return their spans, and the shape and dtype of outputs that they hold."""
        for worker in self._workers:
            worker.submit(method, *args, task=task)
        answers = [answer for _, answer in as_answered(self._workers)]
        return [span for spans, _ in answers for span in spans], answers[0][1]
