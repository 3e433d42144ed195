"""Base class for pools of our own workers, which start together, keep a model each, and end together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from inferbench_lib.errors import WrongOutput
from inferbench_lib.executors.base import Executor
from inferbench_lib.processes.child import start_context, thread_limits
from inferbench_lib.processes.remote import Remote
from inferbench_lib.processes.row_worker import RowWorker
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.spans import CALLER, now, spent
from inferbench_lib.records import Span

if TYPE_CHECKING:
    from inferbench_lib.processes.row_worker import Row
    from inferbench_lib.processes.task import LoadRunner


class WorkerPool(Executor):
    """`n_processes` workers that start at once; each calls the picklable `load_runner` and keeps its own model.

    A worker that dies, raises, or is silent for `timeout_s` over one batch ends the pool. The error names the worker,
    its end and the batch (errors as in `Remote`; WrongOutput where outputs do not fit together).
    """

    def __init__(
        self, load_runner: LoadRunner, *, n_processes: int, n_threads: int = 1, start_method: str = "spawn",
        preload: Sequence[str] = (), timeout_s: float = 600.0, n_callers: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(load_runner, n_processes=n_processes, n_threads=n_threads)
        self._timeout_s = timeout_s
        self._row: Row | None = None
        self._stop_spans: list[Span] = []
        self._workers: list[Remote] = []
        self._began_s = now()
        start_context(start_method, preload)  # refuses what is not safe here, and tells the fork server what to import
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
        return (*started, *self._map_spans, *self._stop_spans)

    def close(self) -> None:
        spans: list[Span] = []
        with spent(spans, CALLER, "stop"):
            for worker in self._workers:
                worker.hang_up()
            for worker in self._workers:
                worker.close()
        self._stop_spans = self._stop_spans or spans

    def _known_out(self, n_rows: int) -> SharedArray | None:
        return self._out_for(self._row, None, n_rows) if self._row else None

    def _out_for(self, row: Row, out: SharedArray | None, n_rows: int) -> SharedArray:
        """Return `out`, or a new array, for `n_rows` outputs like `row`; raises WrongOutput where they do not fit."""
        self._row = row
        out = out or SharedArray.empty((n_rows, *row[0]), row[1])
        if (out.array.shape, out.array.dtype) != ((n_rows, *row[0]), row[1]):
            raise WrongOutput(
                f"{self.name}: expected outputs for {out.array.shape} of {out.array.dtype}, got {(n_rows, *row[0])} of "
                f"{row[1]}; every batch must give rows of one shape and dtype, and `out` must have room for them"
            )
        return out
