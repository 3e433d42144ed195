"""What this machine can do at most: processes that share nothing, each doing its part at the same moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferbench_lib.executors.executor import idle_spans, now
from inferbench_lib.executors.worker_pool import WorkerPool, share
from inferbench_lib.processes.remote import as_answered
from inferbench_lib.records import Span

if TYPE_CHECKING:
    import numpy as np

    from inferbench_lib.executors.executor import Rows


class Ceiling(WorkerPool):
    """Workers with a model and a copy of 1/n of the rows each, started together by one word.

    The first `map` of an input makes the copies, so time a later one. Nothing is handed out while they work: what they
    lose against n times one process alone is what processes share, memory bandwidth, cache and clock.
    """

    name = "ceiling"
    _x: Rows | None = None
    _n_rows = 0

    def map(self, x: Rows, batch_size: int) -> np.ndarray:
        self.ready()
        if x is not self._x:
            self._copy_parts(x)
            self._x = x
        started_s = now()
        spans: list[Span] = []
        out = known = self._known_out(self._n_rows)
        with self._closed_on_error():
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
        self._map_spans = (*spans, *idle_spans(spans, range(len(self._workers)), started_s, now()))
        return out.array

    def _copy_parts(self, x: Rows) -> None:
        shared = share(x, [])
        self._n_rows, n_parts = len(shared.array), len(self._workers)
        if self._n_rows < n_parts:
            raise ValueError(f"ceiling.map: expected at least a row for each of {n_parts} workers, got {self._n_rows}")
        edges = [self._n_rows * part // n_parts for part in range(n_parts + 1)]
        with self._closed_on_error():
            for worker, start, stop in zip(self._workers, edges, edges[1:], strict=False):
                worker.submit("own", shared, start, stop)
            for _ in as_answered(self._workers, self._timeout_s):
                pass
