"""Compute rows in a worker of the shared-memory pools: a model, an input and a place for the outputs."""

from __future__ import annotations

import os
import pickle
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from inferbench_lib.errors import WrongOutput
from inferbench_lib.processes.scheduling import CallCost, batches
from inferbench_lib.processes.spans import spent
from inferbench_lib.processes.task import LoadRunner, compute
from inferbench_lib.records import Span

if TYPE_CHECKING:
    import numpy as np

    from inferbench_lib.processes.ledger import Ledger
    from inferbench_lib.processes.shared_array import SharedArray

Row: TypeAlias = tuple[tuple[int, ...], "np.dtype[Any]"]
Answer: TypeAlias = tuple[list[Span], Row | None]
_CALLS_REMEMBERED = 32


class RowWorker:
    """A model and the rows it computes.

    The outputs of the first call are held until `store` brings their place: nobody knew their shape before. Calls
    return their spans and, while outputs are held, the shape and dtype of a row's output.
    """

    def __init__(self, load_runner: LoadRunner, index: int) -> None:
        self._runner = load_runner()
        self._index = index
        self._out: SharedArray | None = None
        self._first_row = 0
        self._held: list[tuple[int, np.ndarray]] = []
        self._calls: deque[tuple[float, float]] = deque(maxlen=_CALLS_REMEMBERED)

    def attach(self, x: SharedArray, out: SharedArray | None) -> None:
        """Read rows of `x` from now on, and store outputs in `out`."""
        self._x, self._rows, self._out = x, x.array, out

    def work(self, ledger: Ledger, arrays: bytes) -> Answer:
        """Compute rows until the ledger has none left, or until the outputs need a place.

        `arrays` are the pickled arguments of `attach`; they may be gone when a late worker finds nothing to do.
        """
        spans: list[Span] = []
        row = None
        if self._held:
            x, out = pickle.loads(arrays)
            self.attach(x, out)
            spans += self.store(out)[0]
        with ledger:
            while not self._held and (rows := ledger.take(self._index, self.cost())):
                self.attach(*pickle.loads(arrays))
                more, row = self.run(rows.start, rows.stop)
                spans += more
                self._x.forget(rows)
        return spans, row

    def own(self, x: SharedArray, n_parts: int) -> Answer:
        """Copy this worker's part of `x` for `run_own`."""
        start, stop = (len(x.array) * part // n_parts for part in (self._index, self._index + 1))
        self._rows, self._first_row = x.array[start:stop].copy(), start
        return [], None

    def run(self, start: int, stop: int) -> Answer:
        """Compute rows `start` to `stop` of the attached or copied rows."""
        spans: list[Span] = []
        output = compute(self._runner, self._rows[start:stop], spans, self._index)
        self._calls.append((stop - start, spans[0].end_s - spans[0].start_s))
        self._held.append((self._first_row + start, output))
        if self._out is not None:
            return spans + self.store(self._out)[0], None
        return spans, _row_of(output)

    def run_own(self, batch_size: int, out: SharedArray | None) -> Answer:
        """Compute all rows of the copy."""
        self._out = out
        done = [self.run(batch.start, batch.stop) for batch in batches(len(self._rows), batch_size)]
        return [span for spans, _ in done for span in spans], done[0][1]

    def store(self, out: SharedArray) -> Answer:
        """Write the held outputs, and those of later calls, to `out`; raises WrongOutput where they do not fit."""
        self._out = out
        spans: list[Span] = []
        with spent(spans, self._index, "store"):
            for start, output in self._held:
                if (row := _row_of(output)) != (expected := _row_of(out.array)):
                    raise WrongOutput(f"runner: expected each row's output as {expected} before, got {row}; correct it")
                out.array[start : start + len(output)] = output
            self._held.clear()
        return spans, None

    def close(self) -> None:
        """End this process at once: freeing a model and its libraries in order takes time and has no use."""
        os._exit(0)

    def cost(self) -> CallCost | None:
        """Return the cost of the last calls."""
        return CallCost.seen(self._calls)


def _row_of(outputs: np.ndarray) -> Row:
    return outputs.shape[1:], outputs.dtype
