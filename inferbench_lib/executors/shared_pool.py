"""Run the model in warm workers over shared memory that take their next rows themselves: the fastest executor."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Self, TypeAlias

import numpy as np

from inferbench_lib.errors import WorkerDied, WorkerError, WorkerHung
from inferbench_lib.executors.base import Rows, share
from inferbench_lib.executors.worker_pool import WorkerPool
from inferbench_lib.processes.ledger import Ledger
from inferbench_lib.processes.messages import answer, dumps, open_answer
from inferbench_lib.processes.remote import Remote, to_receive
from inferbench_lib.processes.row_worker import Answer, RowWorker
from inferbench_lib.processes.scheduling import CpuDemand
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.spans import CALLER, idle_spans, now
from inferbench_lib.processes.task import LoadRunner, Runner
from inferbench_lib.records import Span
from inferbench_lib.timing.usable import usable_cpus

OnDeath: TypeAlias = Literal["raise", "retry"]
CALLER_CALL_S = 1.0
"""The longest call of a caller that computes too: between its calls it notices the death of a worker."""


@dataclass(kw_only=True, eq=False)
class _Job:
    """The state of one `map`: input, outputs once their shape is known, and the workers that were asked."""

    x: SharedArray
    out: SharedArray | None
    ledger: Ledger
    spans: list[Span]
    asked: set[Remote] = field(default_factory=set)
    standing_by: set[int] = field(default_factory=set)


class SharedPool(WorkerPool):
    """Workers that read one shared input and write one shared output.

    Only as many compute at a time as the CPUs can run, or `n_at_once` if given; the others are on standby. How many the
    CPUs can run follows from the measured CPU use of calls, at first `n_threads` each. With `caller_runner` the calling
    process is the last of the `n_processes`: it begins at once, and the workers join when they are up. Its calls last
    about a second at most, so that it notices the death of a worker. With `on_worker_death="retry"` the others compute
    what a dead or hung worker did not finish, with a RuntimeWarning and a line in `deaths`; WorkerDied when none is
    left.
    """

    name = "shared_pool"
    title = "the shared-memory pool"
    has_cold_start = True
    sizes_batches = True

    def __init__(
        self, load_runner: LoadRunner, *, n_processes: int, n_threads: int = 1, start_method: str = "spawn",
        timeout_s: float = 600.0, caller_runner: Runner | None = None, on_worker_death: OnDeath = "raise",
        n_at_once: int | None = None,
    ) -> None:  # fmt: skip
        if on_worker_death not in ("raise", "retry"):
            raise ValueError(f"shared_pool.on_worker_death: expected 'raise' or 'retry', got {on_worker_death!r}")
        if n_at_once is not None and n_at_once < 1:
            raise ValueError(f"shared_pool.n_at_once: expected at least 1, or None, got {n_at_once}")
        self.deaths: tuple[str, ...] = ()
        self._on_worker_death = on_worker_death
        self._n_at_once = n_at_once
        self._demand = CpuDemand(n_threads, usable_cpus()[0])
        self._job_of: dict[Remote, _Job] = {}
        self._caller: RowWorker | None = None
        super().__init__(
            load_runner, n_processes=n_processes, n_threads=n_threads, start_method=start_method, timeout_s=timeout_s,
            n_callers=int(caller_runner is not None),
        )  # fmt: skip
        if caller_runner is not None:
            self._caller = RowWorker(lambda: caller_runner, n_processes - 1)
            self._start_spans = [Span(worker=n_processes - 1, kind="start", start_s=self._began_s, end_s=now())]

    def __enter__(self) -> Self:
        return super().__enter__() if self._caller is None else self

    def _start(self) -> None:
        for worker in self._living():
            try:
                worker.ready()
            except (WorkerDied, WorkerHung) as error:
                self._bury(worker, error)

    def map(self, x: Rows | Path | str, batch_size: int | None = None) -> np.ndarray:
        """Return the outputs of all rows of `x`, in order; each idle worker takes the next `batch_size` rows.

        Without `batch_size`, the size of calls follows from their measured cost, smaller towards the end. `x` may be an
        `.npy` file or a memory map, also one larger than memory. A plain array is first copied into shared memory. The
        result is a view of shared memory that lives as long as it is used.
        """
        if self._stop_spans:
            raise WorkerDied(f"{self.name}: expected an open pool, got one that was closed; make a new one")
        if self._caller is None:
            self.ready()
        began_s = now()
        spans: list[Span] = []
        shared = share(x, spans, CALLER if self._caller is None else self._n_processes - 1)
        n_rows, n_bytes = len(shared.array), shared.array.nbytes
        row_bytes = n_bytes // max(1, n_rows)
        ledger = Ledger(n_rows, self._n_processes, batch_size, row_bytes=row_bytes, timeout_s=self._timeout_s)
        job = _Job(x=shared, out=self._room(n_rows), ledger=ledger, spans=spans)
        with self._ended_on_error():
            if self._caller is not None:
                self._caller.attach(shared, job.out)
            self._ask_all(job)
            while (has_worked := self._work_here(job)) or self._is_awaited(job):
                self._hear(job, wait=not has_worked)
        if job not in self._job_of.values():
            ledger.close()
        starts = [s for worker in self._workers for s in worker.start_spans if s.end_s > began_s]
        idle = idle_spans([*starts, *spans], range(self._n_processes), began_s, now(), job.standing_by)
        self._map_spans = (*spans, *idle)
        assert job.out is not None  # made with the first batch
        return job.out.array

    def _living(self) -> list[Remote]:
        return [worker for worker in self._workers if not worker.has_ended]

    def _ask_all(self, job: _Job) -> None:
        """Ask as many workers as may compute at a time, starting ones too; after the first call of a caller."""
        if self._caller is not None and job.out is None:
            return
        n_at_once = self._n_at_once or self._demand.n_at_once(self._n_processes)
        job.ledger.limit(n_at_once)
        for worker in self._living():
            if worker not in self._job_of and len(self._job_of) + (self._caller is not None) < n_at_once:
                self._ask(worker, job)
        job.standing_by = {worker.index for worker in self._living() if worker not in job.asked}

    def _ask(self, worker: Remote, job: _Job) -> None:
        self._job_of[worker] = job
        job.asked.add(worker)
        try:
            worker.submit("work", job.ledger, dumps((job.x, job.out)), task=partial(job.ledger.task, worker.index))
        except (WorkerDied, WorkerHung) as error:
            self._bury(worker, error, job)

    def _work_here(self, job: _Job) -> bool:
        """Compute the next rows in the caller, if it computes and rows are left; return whether it did."""
        if self._caller is None:
            return False
        rows = job.ledger.take(self._n_processes - 1, self._caller.cost(), CALLER_CALL_S)
        if rows is None:
            return False
        who, task = f"the calling process (pid {os.getpid()})", job.ledger.task(self._n_processes - 1)
        spans, row = open_answer(answer(self._caller.run, rows.start, rows.stop), who, task)  # errors as of a worker
        self._demand.note(spans)
        job.spans += spans
        job.x.forget(rows)
        if row is not None and (out := self._room(len(job.x.array), row)):
            job.out = out
            job.spans += self._caller.store(out)[0]
        return True

    def _is_awaited(self, job: _Job) -> bool:
        """Return whether an answer is to come; do not wait for a worker that is starting and has taken no rows."""
        return any(
            worker.is_busy and (worker.is_built or job.ledger.taken_s(worker.index) > 0) for worker in self._living()
        )

    def _hear(self, job: _Job, *, wait: bool) -> None:
        """Receive the answers that have come, after a wait for one if told to, and end workers that are overdue."""

        def left_s(worker: Remote) -> float:
            return max(worker.asked_s, job.ledger.taken_s(worker.index)) + self._timeout_s - now()

        busy = [worker for worker in self._living() if worker.is_busy]
        for worker in to_receive(busy, min(map(left_s, busy), default=0.0) if wait else 0.0):
            try:
                self._note(worker, worker.receive(), job)
            except (WorkerDied, WorkerHung) as error:
                self._bury(worker, error, job)
        for worker in busy:
            if worker.is_busy and left_s(worker) <= 0:
                self._bury(worker, worker.give_up(), job)
        if job.ledger.has_left:  # a worker died, the caller has begun, or the CPUs can run more than was known
            self._ask_all(job)

    def _note(self, worker: Remote, answer: Answer | None, job: _Job) -> None:
        if answer is None:  # it has started, and finds its request waiting
            return
        asked_for = self._job_of.pop(worker)
        spans, row = answer
        if asked_for is not job:  # it started after that `map` had ended
            if asked_for not in self._job_of.values():
                asked_for.ledger.close()
            self._ask(worker, job)
            return
        self._demand.note(spans)
        job.spans += spans
        if row is not None:  # its outputs wait for their place
            job.out = job.out or self._room(len(job.x.array), row)
            self._ask(worker, job)

    def _bury(self, worker: Remote, error: WorkerError, job: _Job | None = None) -> None:
        """Raise the error, or let the others compute the rows that the dead worker did not store."""
        if self._on_worker_death == "raise":
            raise error
        self.deaths = (*self.deaths, str(error))
        self._job_of.pop(worker, None)
        if not self._living() and self._caller is None:
            raise WorkerDied(
                f"{self.name}: expected one of {self._n_processes} workers to live, got these deaths: "
                + "; ".join(self.deaths)
            ) from error
        warnings.warn(f"{error}; the others compute its rows", RuntimeWarning, stacklevel=2)
        if job is not None:
            job.ledger.give_back(worker.index)
