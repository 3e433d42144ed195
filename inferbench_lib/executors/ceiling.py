"""Measure what this machine can do at most: processes that share nothing and compute at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferbench_lib.executors.base import share
from inferbench_lib.executors.worker_pool import WorkerPool
from inferbench_lib.processes.remote import as_answered
from inferbench_lib.processes.spans import idle_spans, now
from inferbench_lib.records import Span

if TYPE_CHECKING:
    import numpy as np

    from inferbench_lib.executors.base import Rows


class Ceiling(WorkerPool):
    """Workers that start each `map` together, each with a model and a copy of 1/n of the rows.

    The first `map` of an input makes the copies, so time a later one. No rows are handed out while they work. They lose
    time against n times one process only by what processes share: memory bandwidth, cache and clock.
    """

    name = "ceiling"
    title = "independent processes"
    _x: Rows | None = None
    _n_rows = 0

    def map(self, x: Rows, batch_size: int) -> np.ndarray:
        self.ready()
        if x is not self._x:
            self._copy_parts(x)
            self._x = x
        began_s = now()
        spans: list[Span] = []
        out = known = self._known_out(self._n_rows)
        with self._ended_on_error():
            for worker in self._workers:
                worker.submit("run_own", batch_size, known, task=f"its part of {self._n_rows:,} rows")
            for _, (worker_spans, row) in as_answered(self._workers, self._timeout_s):
                spans += worker_spans
                out = self._out_for(row, out, self._n_rows)
            assert out is not None  # there is at least one worker
            if known is None:
                for worker in self._workers:
                    worker.submit("store", out)
                for _, (worker_spans, _) in as_answered(self._workers, self._timeout_s):
                    spans += worker_spans
        self._map_spans = (*spans, *idle_spans(spans, range(len(self._workers)), began_s, now()))
        return out.array

    def _copy_parts(self, x: Rows) -> None:
        shared = share(x, [])
        self._n_rows, n_parts = len(shared.array), len(self._workers)
        if self._n_rows < n_parts:
            raise ValueError(f"ceiling.map: expected at least {n_parts} rows, one per worker, got {self._n_rows}")
        edges = [self._n_rows * part // n_parts for part in range(n_parts + 1)]
        with self._ended_on_error():
            for worker, start, stop in zip(self._workers, edges, edges[1:], strict=False):
                worker.submit("own", shared, start, stop)
            for _ in as_answered(self._workers, self._timeout_s):
                pass
