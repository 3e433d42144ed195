"""The fast path: warm workers over shared memory. Only row numbers travel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferbench_lib.parallel.executor import batches, idle_spans, now
from inferbench_lib.parallel.remote import as_answered
from inferbench_lib.parallel.worker_pool import WorkerPool, share
from inferbench_lib.records import Span

if TYPE_CHECKING:
    import numpy as np

    from inferbench_lib.parallel.executor import Rows
    from inferbench_lib.parallel.shared_array import SharedArray


class SharedPool(WorkerPool):
    """Workers that read one shared input and write one shared output."""

    name = "shared_pool"

    def map(self, x: Rows, batch_size: int, out: SharedArray | None = None) -> np.ndarray:
        """The outputs of all rows of `x`, in order; whoever is idle takes the next `batch_size` rows.

        A plain array is first copied into shared memory. `out` receives the outputs; without it, the first batch's
        outputs tell what to make. The result is a view of shared memory that lives as long as it is used.
        """
        self.ready()
        started_s = now()
        spans: list[Span] = []
        shared = share(x, spans)
        n_rows = len(shared.array)
        tasks = batches(n_rows, batch_size)
        waiting = iter(enumerate(tasks, 1))
        out = out or self._known_out(n_rows)
        with self._closed_on_error():
            for worker in self._workers:
                worker.submit("attach", shared, out)
            to_store = set() if out else set(self._workers)
            for worker, (worker_spans, row) in as_answered(self._workers, self._timeout_s):
                spans += worker_spans
                if row is not None:
                    out = self._out_for(row, out, n_rows)
                if worker in to_store and out is not None:
                    to_store.remove(worker)
                    worker.submit("store", out)
                elif (task := next(waiting, None)) is not None:
                    number, rows = task
                    text = f"batch {number} of {len(tasks)} (rows {rows.start:,} to {rows.stop:,})"
                    worker.submit("run", rows.start, rows.stop, task=text)
        self._map_spans = (*spans, *idle_spans(spans, range(len(self._workers)), started_s, now()))
        assert out is not None  # made with the first batch
        return out.array
