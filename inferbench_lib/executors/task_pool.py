"""Base classes for executors built on a third-party pool, which hands out the tasks and returns their outputs."""

from __future__ import annotations

import pickle
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from inferbench_lib.errors import WorkerDied, WorkerHung, WrongOutput
from inferbench_lib.executors.base import Executor, Rows, in_memory, share
from inferbench_lib.processes.messages import open_answer
from inferbench_lib.processes.scheduling import batches
from inferbench_lib.processes.spans import CALLER, Start, idle_spans, now, spent
from inferbench_lib.processes.task import LoadRunner, Report
from inferbench_lib.records import Span

START_LIMIT_S = 60.0
"""Workers get at least this long to start, however short the limit of a batch is."""


class TaskPool(Executor):
    """Base class for warm workers that a library feeds; each keeps a model. After an error the pool is closed.

    Raises WorkerDied, also for a worker that the library replaced; WorkerRaised; WorkerHung (no answer to a batch for
    `timeout_s`); OutOfMemory; WrongOutput where outputs do not fit together.
    """

    maps_input = False

    def __init__(
        self, load_runner: LoadRunner, *, n_processes: int, n_threads: int = 1, timeout_s: float = 600.0
    ) -> None:
        super().__init__(load_runner, n_processes=n_processes, n_threads=n_threads)
        self._timeout_s, self._start_limit_s = timeout_s, max(timeout_s, START_LIMIT_S)
        self._is_open = False
        self._starts: list[Start] = []

    @property
    def pids(self) -> tuple[int, ...]:
        """Return the process ids of the workers."""
        return tuple(start.pid for start in self._starts)

    def _start(self) -> None:
        began_s = now()
        self._starts = self._open()
        self._is_open = True
        for worker, start in enumerate(self._starts):
            self._start_spans += start.lane(worker, began_s)

    def map(self, x: Rows, batch_size: int) -> np.ndarray:
        self.ready()
        if not self._is_open:
            raise WorkerDied(f"{self.name}: expected live workers, got a pool that was closed; make a new one")
        tasks = batches(len(in_memory(x)), batch_size)
        began_s = now()
        spans: list[Span] = []
        with self._ended_on_error():
            given = share(x, spans) if self.maps_input else x  # kept until all is done
            reports, output = self._collect(self._submit(given, tasks, spans), spans)
            self._check_workers(reports)
        for worker, start in enumerate(self._starts):
            spans += lane([report for report in reports if report.start == start], worker, began_s)
        self._map_spans = (*spans, *idle_spans(spans, range(self._n_processes), began_s, now()))
        return output

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._shut_down()

    def _abandon(self) -> None:
        self._is_open = False
        self._kill()

    @abstractmethod
    def _open(self) -> list[Start]:
        """Start the workers and return their identities."""

    @abstractmethod
    def _submit(self, x: Rows, tasks: Sequence[range], spans: list[Span]) -> list[Any]:
        """Return a future for each batch of rows."""

    @abstractmethod
    def _death(self, error: Exception) -> str:
        """Describe the end of a worker that raised the error here; empty for any other error."""

    @abstractmethod
    def _shut_down(self) -> None:
        """End idle workers."""

    @abstractmethod
    def _kill(self) -> None:
        """End all workers at once."""

    def _answer(self, future: Any, task: str, timeout_s: float) -> Any:
        """Return the result of a task, or raise its error."""
        try:
            answer = future.result(timeout_s)
        except TimeoutError:
            raise self._silent(task, timeout_s) from None
        except Exception as error:
            if death := self._death(error):
                raise WorkerDied(f"{self.name}: expected an answer to {task}, but {death}") from None
            raise
        return open_answer(answer, self.name, task)

    def _check_workers(self, reports: Sequence[Report]) -> None:
        """Raise WorkerDied where a worker that was not there at the start computed a batch."""
        if strangers := sorted({report.start.pid for report in reports if report.start not in self._starts}):
            raise self._replaced(strangers)

    def _silent(self, task: str, timeout_s: float) -> WorkerHung:
        return WorkerHung(
            f"{self.name}: expected an answer to {task} within {timeout_s:g} s, got none, so its workers were killed; "
            "give it more time or less work at once"
        )

    def _replaced(self, pids: Sequence[int | None]) -> WorkerDied:
        return WorkerDied(
            f"{self.name}: expected the workers that it started with, got a new one in place of one that ended "
            f"(pid {', '.join(map(str, pids))}), so the time of this call means nothing; use smaller batches or fewer "
            "rows"
        )

    def _collect(self, futures: Sequence[Any], spans: list[Span]) -> tuple[list[Report], np.ndarray]:
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


def lane(reports: Sequence[Report], worker: int, free_s: float) -> Iterator[Span]:
    """Yield the spans of one worker, free since `free_s`, with a `transfer` before each task that was already sent."""
    for report in sorted(reports, key=lambda report: report.arrived_s):
        sent_s = max(free_s, report.sent_s)
        if report.arrived_s > sent_s:
            yield Span(worker=worker, kind="transfer", start_s=sent_s, end_s=report.arrived_s)
        yield from (replace(span, worker=worker) for span in report.spans)
        free_s = report.spans[-1].end_s
