"""The worker's side of the pools: a model, rows to compute and a place for the outputs."""

from __future__ import annotations

import os
import pickle
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from inferbench_lib.errors import WrongOutput
from inferbench_lib.executors.chunk_size import CallCost
from inferbench_lib.executors.executor import batches, spent
from inferbench_lib.records import Span

if TYPE_CHECKING:
    import numpy as np

    from inferbench_lib.executors.executor import LoadRunner
    from inferbench_lib.processes.ledger import Ledger
    from inferbench_lib.processes.shared_array import SharedArray

    Row: TypeAlias = tuple[tuple[int, ...], np.dtype[Any]]
    Answer: TypeAlias = tuple[list[Span], Row | None]

_CALLS_REMEMBERED = 32


class RowWorker:
    """Computes rows. Calls return their spans and, if known, a row's output shape and dtype.

    Outputs of the first call are held until `store` brings the place for them, which nobody could make before.
    """

    def __init__(self, load_runner: LoadRunner, index: int) -> None:
        self._runner = load_runner()
        self._index = index
        self._row: Row | None = None
        self._first_row = 0
        self._held: list[tuple[int, np.ndarray]] = []
        self._calls: deque[tuple[float, float]] = deque(maxlen=_CALLS_REMEMBERED)

    def attach(self, x: SharedArray, out: SharedArray | None) -> None:
        """Take rows of `x` from now on, and store outputs in `out`."""
        self._x, self._rows, self._out = x, x.array, out

    def work(self, ledger: Ledger, arrays: bytes) -> Answer:
        """Compute what the ledger gives until it gives nothing more, or until a place for the outputs is needed.

        `arrays` are the arguments of `attach`, pickled: they may be gone when a late worker finds nothing to do.
        """
        spans: list[Span] = []
        if self._held:
            x, out = pickle.loads(arrays)
            self.attach(x, out)
            spans += self.store(out)[0]
        with ledger:
            while not self._held and (rows := ledger.take(self._index, self.cost())):
                self.attach(*pickle.loads(arrays))
                spans += self.run(rows.start, rows.stop)[0]
                self._x.forget(rows)
        return spans, self._row

    def own(self, x: SharedArray, start: int, stop: int) -> Answer:
        """Take a copy of rows `start` to `stop` of `x`, for `run_own`."""
        self._rows, self._first_row = x.array[start:stop].copy(), start
        return [], None

    def run(self, start: int, stop: int) -> Answer:
        """Compute rows `start` to `stop` of what was attached or copied."""
        spans: list[Span] = []
        with spent(spans, self._index, "compute", stop - start):
            output = self._runner(self._rows[start:stop])
        self._calls.append((stop - start, spans[0].end_s - spans[0].start_s))
        if len(output) != stop - start:
            raise WrongOutput(f"runner: expected {stop - start:,} outputs, one a row, got {len(output):,}; correct it")
        row = (output.shape[1:], output.dtype)
        self._row = self._row or row
        if row != self._row:
            raise WrongOutput(f"runner: expected each row's output as {self._row} before, got {row}; correct it")
        self._held.append((self._first_row + start, output))
        if self._out is not None:
            spans += self.store(self._out)[0]
        return spans, row

    def run_own(self, batch_size: int, out: SharedArray | None) -> Answer:
        """Compute all rows of the copy."""
        self._out = out
        done = [self.run(batch.start, batch.stop) for batch in batches(len(self._rows), batch_size)]
        return [span for spans, _ in done for span in spans], done[-1][1]

    def store(self, out: SharedArray) -> Answer:
        """Write what is held, and what is to come, to `out`."""
        self._out = out
        spans: list[Span] = []
        with spent(spans, self._index, "store"):
            for start, output in self._held:
                out.array[start : start + len(output)] = output
            self._held.clear()
        return spans, None

    def close(self) -> None:
        """End this process at once: taking a model and its libraries apart in order takes time that nobody needs."""
        os._exit(0)

    def cost(self) -> CallCost | None:
        """What its last calls took."""
        return CallCost.seen(self._calls)
