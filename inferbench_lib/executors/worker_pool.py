"""Workers that start together, keep a model each, and end together: what the pools have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inferbench_lib.errors import WrongOutput
from inferbench_lib.executors.executor import CALLER, Executor, now, spent
from inferbench_lib.processes.lifeline import thread_limits
from inferbench_lib.processes.remote import Remote
from inferbench_lib.processes.row_worker import RowWorker
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.start_method import start_context
from inferbench_lib.records import Span

if TYPE_CHECKING:
    from inferbench_lib.executors.executor import LoadRunner, Rows
    from inferbench_lib.processes.row_worker import Row


class WorkerPool(Executor):
    """`n_processes` workers that start at once; each calls the picklable `load_runner` and keeps its own model.

    A worker that dies, raises, or is silent for `timeout_s` over one batch ends the pool: the error names the worker,
    how it ended, and the batch (errors as in `Remote`; WrongOutput where outputs do not fit together).
    """

    name = "pool"

    def __init__(
        self, load_runner: LoadRunner, *, n_processes: int, n_threads: int = 1, start_method: str = "spawn",
        preload: Sequence[str] = (), timeout_s: float = 600.0, n_callers: int = 0,
    ) -> None:  # fmt: skip
        if n_processes < 1:
            raise ValueError(f"{self.name}.n_processes: expected at least 1, got {n_processes}")
        self._timeout_s = timeout_s
        self._row: Row | None = None
        self._map_spans: tuple[Span, ...] = ()
        self._stop_spans: list[Span] = []
        self._workers: list[Remote] = []
        self._created_s = now()
        start_context(start_method, preload)  # refuses what is not safe here, and tells the fork server what to import
        with self._closed_on_error():
            for index in range(n_processes - n_callers):
                worker = Remote(
                    partial(RowWorker, load_runner, index), environment=thread_limits(n_threads), index=index,
                    name=f"{self.name} {index}", timeout_s=timeout_s, start_method=start_method,
                )  # fmt: skip
                self._workers.append(worker)

    @property
    def pids(self) -> tuple[int, ...]:
        """The workers' process ids."""
        return tuple(worker.pid for worker in self._workers)

    def ready(self) -> None:
        """The start barrier: wait until every worker has loaded its model."""
        if not self.start_s:
            with self._closed_on_error():
                for worker in self._workers:
                    worker.ready()
            self.start_s = now() - self._created_s

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
        """`out`, or a new one, for `n_rows` outputs like `row`; WrongOutput where they do not fit it."""
        self._row = row
        out = out or SharedArray.empty((n_rows, *row[0]), row[1])
        if (out.array.shape, out.array.dtype) != ((n_rows, *row[0]), row[1]):
            raise WrongOutput(
                f"{self.name}: expected outputs for {out.array.shape} of {out.array.dtype}, got {(n_rows, *row[0])} of "
                f"{row[1]}; every batch must give rows of one shape and dtype, and `out` must have room for them"
            )
        return out

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """Leave no worker behind when the block fails or is interrupted."""
        try:
            yield
        except BaseException:
            self.close()
            raise


def share(x: Rows | Path | str, spans: list[Span], worker: int = CALLER) -> SharedArray:
    """`x` itself where it is shared, the file where it lies in one, else a shared copy, its cost noted."""
    if isinstance(x, SharedArray):
        return x
    if isinstance(x, Path | str):
        return SharedArray.map_file(Path(x))
    if isinstance(x, np.memmap) and (mapped := SharedArray.map_memmap(x)):
        return mapped
    with spent(spans, worker, "share", len(x)):
        return SharedArray.of(x)
