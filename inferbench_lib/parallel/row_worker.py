"""The worker's side of the pools: a model, rows to compute and a place for the outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from inferbench_lib.errors import WrongOutput
from inferbench_lib.parallel.executor import batches, spent
from inferbench_lib.records import Span

if TYPE_CHECKING:
    import numpy as np

    from inferbench_lib.parallel.executor import LoadRunner
    from inferbench_lib.parallel.shared_array import SharedArray

    Row: TypeAlias = tuple[tuple[int, ...], np.dtype[Any]]
    Answer: TypeAlias = tuple[list[Span], Row | None]


class RowWorker:
    """Computes the rows it is told to. Each call returns its spans and, if known, a row's output shape and dtype."""

    def __init__(self, load_runner: LoadRunner, index: int) -> None:
        self._runner = load_runner()
        self._index = index
        self._row: Row | None = None
        self._first_row = 0
        self._held: list[tuple[int, np.ndarray]] = []

    def attach(self, x: SharedArray, out: SharedArray | None) -> Answer:
        """Take rows of `x` from now on; without `out`, hold the outputs until `store` brings it."""
        self._rows, self._out = x.array, out
        return [], None

    def own(self, x: SharedArray, start: int, stop: int) -> Answer:
        """Take a copy of rows `start` to `stop` of `x`, for `run_own`."""
        self._rows, self._first_row = x.array[start:stop].copy(), start
        return [], None

    def run(self, start: int, stop: int) -> Answer:
        """Compute rows `start` to `stop` of what was attached or copied."""
        spans: list[Span] = []
        with spent(spans, self._index, "compute", stop - start):
            output = self._runner(self._rows[start:stop])
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
