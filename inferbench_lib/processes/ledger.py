"""A table in shared memory from which every worker takes its next rows by itself.

No process has to wake up to hand out rows. The kernel releases the lock of the table when its holder dies. The order of
the writes keeps the rows that a worker took and did not store in its line, whenever it dies.
"""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from inferbench_lib.errors import WorkerHung
from inferbench_lib.processes.scheduling import LARGEST_BYTES, CallCost, of_dynamic, refuse_nothing
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.spans import now

# The first line describes the work, each further line one worker. float64 is exact for rows up to 2**53.
_N_ROWS, _NEXT, _BATCH_SIZE, _LARGEST, _N_TAKEN, _TIMEOUT_S, _N_AT_ONCE = range(7)
_NUMBER, _START, _STOP, _TAKEN_S, _READY_S, _IS_LOST = range(6)
_LOCK_RETRY_S = 5e-5


class Ledger(AbstractContextManager["Ledger"]):
    """The `n_rows` rows of a `map`, which `n_workers` share; a pickled ledger is the same table.

    Calls get `batch_size` rows, the last one the rest. Without `batch_size`, `scheduling` sizes them by their cost, for
    all workers unless `limit` says fewer. Raises ValueError for no rows or an empty batch. Every method raises
    WorkerHung where the lock stays taken for `timeout_s`.
    """

    def __init__(
        self,
        n_rows: int,
        n_workers: int,
        batch_size: int | None = None,
        *,
        row_bytes: int = 1,
        timeout_s: float = 600.0,
    ) -> None:
        refuse_nothing(n_rows, batch_size)
        self._open(SharedArray.empty((1 + n_workers, 7), float))
        largest = max(1, LARGEST_BYTES // max(1, row_bytes))
        self._table[0] = (n_rows, 0, batch_size or 0, largest, 0, timeout_s, n_workers)

    def _open(self, table: SharedArray) -> None:
        self._shared, self._table = table, table.array
        self._lock = os.open(table.handle.path, os.O_RDWR)  # a lock belongs to what one call of open gave
        self._close_lock = weakref.finalize(self, os.close, self._lock)

    def take(self, worker: int, cost: CallCost | None = None, limit_s: float | None = None) -> range | None:
        """Return the next rows of `worker`, for at most `limit_s` by its `cost`; None when no rows are left.

        The rows that it took before count as stored. Rows of a dead worker come first.
        """
        head, lines = self._table[0], self._table[1:]
        line = lines[worker]
        with self._locked():
            line[_STOP] = 0  # what it took before is stored
            lost = next((other for other in lines if other[_IS_LOST]), None)
            if lost is not None:
                start, stop = int(lost[_START]), int(lost[_STOP])
            else:
                start = int(head[_NEXT])
                stop = start + self._n_next(worker, int(head[_N_ROWS]) - start, cost, limit_s)
            if stop == start:
                return None
            head[_N_TAKEN] += 1
            line[_NUMBER], line[_TAKEN_S], line[_START] = head[_N_TAKEN], now(), start
            line[_READY_S] = line[_TAKEN_S] + (cost.call_s(stop - start) if cost else 0.0)
            line[_STOP] = stop  # taken: a death before the next line makes others compute them again
            if lost is not None:
                lost[_IS_LOST] = lost[_STOP] = 0
            else:
                head[_NEXT] = stop
        return range(start, stop)

    def limit(self, n_at_once: int) -> None:
        """Set the number of workers that take rows at a time."""
        self._table[0, _N_AT_ONCE] = n_at_once

    def give_back(self, worker: int) -> None:
        """Let others take the rows that the dead `worker` did not store."""
        with self._locked():
            line = self._table[1 + worker]
            line[_IS_LOST] = line[_STOP] > line[_START]

    @property
    def has_left(self) -> bool:
        """Return whether rows are left that no worker took, or that a dead worker lost."""
        head = self._table[0]
        return bool(head[_NEXT] < head[_N_ROWS] or self._table[1:, _IS_LOST].any())

    def taken_s(self, worker: int) -> float:
        """Return when the worker last took rows; 0 if never."""
        return float(self._table[1 + worker, _TAKEN_S])

    def task(self, worker: int) -> str:
        """Describe the current rows of a worker for an error message."""
        line, n_rows = self._table[1 + worker], int(self._table[0, _N_ROWS])
        if line[_STOP] <= line[_START]:
            return f"its part of {n_rows:,} rows"
        return f"batch {line[_NUMBER]:.0f} (rows {line[_START]:,.0f} to {line[_STOP]:,.0f} of {n_rows:,})"

    def close(self) -> None:
        """Release the table in this process; closing twice does nothing."""
        self._close_lock()
        self._shared.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[SharedArray], Ledger], tuple[SharedArray]]:
        return _reopened, (self._shared,)

    def _n_next(self, worker: int, n_left: int, cost: CallCost | None, limit_s: float | None) -> int:
        head, ready_s, now_s = self._table[0], self._table[1:, _READY_S], now()
        if head[_BATCH_SIZE]:
            return min(n_left, int(head[_BATCH_SIZE]))
        busy_s = sorted(max(0.0, ready_s[other] - now_s) for other in range(len(ready_s)) if other != worker)
        at_work = busy_s[len(ready_s) - int(head[_N_AT_ONCE]) :]  # workers that take no rows are the least busy
        return of_dynamic(n_left, int(head[_N_ROWS]), at_work, int(head[_LARGEST]), cost, limit_s)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        deadline_s = now() + self._table[0, _TIMEOUT_S]
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if now() > deadline_s:
                    raise WorkerHung(
                        f"row table: expected its lock within {self._table[0, _TIMEOUT_S]:g} s, got none; "
                        "end the stopped process that holds it"
                    ) from None
                time.sleep(_LOCK_RETRY_S)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)


def _reopened(table: SharedArray) -> Ledger:
    ledger = Ledger.__new__(Ledger)
    ledger._open(table)
    return ledger
