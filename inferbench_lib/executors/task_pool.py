"""What the executors have in common whose tasks a library of others hands out and whose outputs it brings back."""

from __future__ import annotations

import os
import pickle
import signal
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inferbench_lib.errors import WorkerDied, WorkerHung, WrongOutput
from inferbench_lib.executors.executor import CALLER, Executor, batches, idle_spans, now, spent
from inferbench_lib.executors.worker_pool import share
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.task import Report, Start
from inferbench_lib.records import Span

if TYPE_CHECKING:
    import numpy as np

    from inferbench_lib.executors.executor import LoadRunner, Rows


START_LIMIT_S = 60.0
"""How long workers may at least take to start, however little time a batch is given."""


class TaskPool(Executor):
    """Warm workers with a model each, which a library feeds. After an error the pool is closed.

    Raises WorkerDied, also for a worker that the library replaced; WorkerRaised; WorkerHung (no answer to a batch for
    `timeout_s`); OutOfMemory; WrongOutput where outputs do not fit together.
    """

    name = "pool"
    maps_input = False

    def __init__(
        self, load_runner: LoadRunner, *, n_processes: int, n_threads: int = 1, timeout_s: float = 600.0
    ) -> None:
        if n_processes < 1:
            raise ValueError(f"{self.name}.n_processes: expected at least 1, got {n_processes}")
        self._load_runner, self._n_processes, self._n_threads = load_runner, n_processes, n_threads
        self._timeout_s, self._start_limit_s = timeout_s, max(timeout_s, START_LIMIT_S)
        self._is_open = False
        self._starts: list[Start] = []
        self._start_spans: list[Span] = []
        self._map_spans: tuple[Span, ...] = ()

    @property
    def pids(self) -> tuple[int, ...]:
        """The workers' process ids."""
        return tuple(start.pid for start in self._starts)

    def ready(self) -> None:
        """Start the workers and wait until each has loaded its model."""
        if not self.start_s:
            started_s = now()
            with self._closed_on_error():
                self._starts = self._open()
            self._is_open = True
            for worker, start in enumerate(self._starts):
                first_s = max(started_s, start.first_line_s)
                begin = Span(worker=worker, kind="start", start_s=started_s, end_s=first_s, cpu_s=start.cpu_s)
                self._start_spans += [begin, *(replace(span, worker=worker) for span in start.spans)]
            self.start_s = now() - started_s

    def map(self, x: Rows, batch_size: int) -> np.ndarray:
        self.ready()
        if not self._is_open:
            raise WorkerDied(f"{self.name}: expected live workers, got a pool that was closed; make a new one")
        rows = x.array if isinstance(x, SharedArray) else x
        tasks = batches(len(rows), batch_size)
        started_s = now()
        spans: list[Span] = []
        with self._closed_on_error():
            given = share(x, spans) if self.maps_input else x  # and kept until all is done
            futures = self._submit(given, tasks, spans)
            reports, output = self._collect(futures, spans)
            self._check_workers(reports)
        for worker, start in enumerate(self._starts):
            own = [report for report in reports if report.start == start]
            spans += lane(own, worker, started_s)
        self._map_spans = (*spans, *idle_spans(spans, range(self._n_processes), started_s, now()))
        return output

    def spans(self) -> tuple[Span, ...]:
        return (*self._start_spans, *self._map_spans)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._shut_down()

    @abstractmethod
    def _open(self) -> list[Start]:
        """Start the workers; who they are."""

    @abstractmethod
    def _submit(self, x: Rows, tasks: Sequence[range], spans: list[Span]) -> list[Any]:
        """A future for each batch of rows."""

    @abstractmethod
    def _answer(self, future: Any, task: str, timeout_s: float) -> Any:
        """What came of a task, or its error."""

    @abstractmethod
    def _shut_down(self) -> None:
        """End idle workers."""

    @abstractmethod
    def _kill(self) -> None:
        """End all workers, whatever they do."""

    def _check_workers(self, reports: Sequence[Report]) -> None:
        """WorkerDied where a batch was computed by a worker that was not there at the start."""
        if strangers := sorted({report.start.pid for report in reports if report.start not in self._starts}):
            raise self._replaced(strangers)

    def _silent(self, task: str, timeout_s: float) -> WorkerHung:
        return WorkerHung(
            f"{self.name}: expected an answer to {task} within {timeout_s:g} s, got none, so its workers were killed; "
            "give it more time or less work at once"
        )

    def _replaced(self, pids: Sequence[int | None]) -> WorkerDied:
        return WorkerDied(
            f"{self.name}: expected the workers that it started with, got another one in place of one that ended "
            f"(pid {', '.join(map(str, pids))}), so what this call took says nothing; use smaller batches or fewer rows"
        )

    def _collect(self, futures: Sequence[Any], spans: list[Span]) -> tuple[list[Report], np.ndarray]:
        import numpy as np

        reports: list[Report] = []
        outputs: list[np.ndarray] = []
        waits: list[Span] = []
        for number, future in enumerate(futures, 1):
            with spent(waits, CALLER, "collect"):
                report: Report = self._answer(future, f"batch {number} of {len(futures)}", self._timeout_s)
            reports.append(report)
            with spent(spans, CALLER, "deserialize_result"):
                outputs.append(pickle.loads(report.output))
            row, first = ((output.shape[1:], output.dtype) for output in (outputs[-1], outputs[0]))
            if row != first:
                raise WrongOutput(f"{self.name}: expected each row's output as {first} before, got {row}; correct it")
        last_s = max(report.spans[-1].end_s for report in reports)
        # While a worker still computes, waiting for it is no work of this process.
        spans += [replace(wait, start_s=max(wait.start_s, last_s)) for wait in waits if wait.end_s > last_s]
        with spent(spans, CALLER, "store"):
            return reports, np.concatenate(outputs)

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """Leave no worker behind when the block fails or is interrupted."""
        try:
            yield
        except BaseException:
            self._is_open = False
            self._kill()
            raise


def end_now(pid: int | None) -> None:
    """Kill a child of ours, unless it has ended: one that is stopped would heed nothing else."""
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def lane(reports: Sequence[Report], worker: int, free_s: float) -> Iterator[Span]:
    """One worker's time, free since `free_s`: it waits until its task is sent; from then on that is in transfer."""
    for report in sorted(reports, key=lambda report: report.arrived_s):
        sent_s = max(free_s, report.sent_s)
        if report.arrived_s > sent_s:
            yield Span(worker=worker, kind="transfer", start_s=sent_s, end_s=report.arrived_s)
        yield from (replace(span, worker=worker) for span in report.spans)
        free_s = report.spans[-1].end_s
