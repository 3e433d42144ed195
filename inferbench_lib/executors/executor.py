"""What every way of running a model over many rows has in common, and how a worker's time is written down."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Self, TypeAlias

from inferbench_lib.records import Span

if TYPE_CHECKING:  # workers import this file, and numpy only if their model does
    import numpy as np

    from inferbench_lib.processes.shared_array import SharedArray

    Runner: TypeAlias = Callable[[np.ndarray], np.ndarray]
    LoadRunner: TypeAlias = Callable[[], Runner]
    Rows: TypeAlias = np.ndarray | SharedArray

now = time.perf_counter
"""Comparable across processes: documented as system-wide, and CLOCK_MONOTONIC on Linux, as `time.monotonic` is."""

CALLER = -1
"""`Span.worker` of the calling process; workers count from 0."""

SPAN_KINDS = {
    "start": "from the start of the process to its first line",
    "import": "importing modules, wherever that happened while the model came",
    "load_model": "the rest of making the model ready",
    "share": "copying the input into shared memory",
    "serialize_model": "pickling the model",
    "serialize_data": "pickling a batch",
    "transfer": "a pickled task on its way, its worker waiting for it",
    "deserialize_model": "unpickling the model, without its imports",
    "deserialize_data": "unpickling a batch, without imports",
    "compute": "the model's own call; `n_rows` says of how many rows",
    "store": "writing outputs where they belong",
    "serialize_result": "pickling outputs",
    "deserialize_result": "unpickling outputs",
    "collect": "outputs on their way back, when no worker computes any more",
    "wait": "a worker that has nothing to do yet, between or before its batches",
    "imbalance": "a worker that has nothing left to do while others work",
    "standby": "a worker that is given nothing to do, because the others keep all CPUs busy",
    "stop": "ending the processes",
}


class Executor(ABC):
    """One way to run a model over many rows: `ready`, any number of `map`, `close`; a context manager does both ends.

    `start_s` is what `ready` waited for, the model's loading included; a `map` without `ready` pays it itself.
    """

    start_s = 0.0

    @abstractmethod
    def ready(self) -> None:
        """Start and load what stays from one `map` to the next; once."""

    @abstractmethod
    def map(self, x: Rows, batch_size: int) -> np.ndarray:
        """The outputs of all rows of `x`, in order, computed `batch_size` rows at a time."""

    @abstractmethod
    def spans(self) -> tuple[Span, ...]:
        """Where the time of the start and of the last `map` went: kinds as in `SPAN_KINDS`."""

    def close(self) -> None:
        """End what `ready` started."""
        return

    def __enter__(self) -> Self:
        self.ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def spent(spans: list[Span], worker: int, kind: str, n_rows: int = 0) -> Iterator[None]:
    """Append to `spans` what the block takes, CPU time of all threads of this process included."""
    start_s, start_cpu_s = now(), time.process_time()
    yield
    cpu_s = time.process_time() - start_cpu_s
    spans.append(Span(worker=worker, kind=kind, start_s=start_s, end_s=now(), cpu_s=cpu_s, n_rows=n_rows))


def idle_spans(
    spans: Iterable[Span], workers: Iterable[int], start_s: float, end_s: float, standing_by: Collection[int] = ()
) -> list[Span]:
    """What `spans` leave open from `start_s` to `end_s`: `imbalance` after a worker's last compute, `wait` before.

    Who is among `standing_by` is idle for that.
    """
    spans, idle = list(spans), []
    for worker in workers:
        own = sorted((span for span in spans if span.worker == worker), key=lambda span: span.start_s)
        last_compute_s = max((span.end_s for span in own if span.kind == "compute"), default=start_s)
        edges = [(start_s, start_s), *((span.start_s, span.end_s) for span in own), (end_s, end_s)]
        for (_, free_s), (busy_s, _) in pairwise(edges):
            kind = "wait" if free_s < last_compute_s else "imbalance"
            kind = "standby" if worker in standing_by else kind
            if busy_s > free_s:
                idle.append(Span(worker=worker, kind=kind, start_s=free_s, end_s=busy_s))
    return idle


def batches(n_rows: int, batch_size: int) -> list[range]:
    """The rows of each batch; the last may be shorter. ValueError without a row or a batch."""
    if n_rows < 1 or batch_size < 1:
        raise ValueError(f"map: expected at least 1 row and batches of at least 1, got {n_rows} rows and {batch_size}")
    return [range(start, min(start + batch_size, n_rows)) for start in range(0, n_rows, batch_size)]
