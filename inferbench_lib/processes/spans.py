"""Record what a worker spends its time on, as spans of one clock that all processes share."""

from __future__ import annotations

import builtins
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from inferbench_lib.records import Span

now = time.perf_counter
"""Comparable across processes: documented as system-wide, and CLOCK_MONOTONIC on Linux, as `time.monotonic` is."""

CALLER = -1
"""`Span.worker` of the calling process; workers count from 0."""

SPAN_KINDS = {
    "start": "from the start of the process to its first line",
    "import": "importing modules, at any moment while the model loads",
    "load_model": "the rest of making the model ready",
    "share": "copying the input into shared memory",
    "serialize_model": "pickling the model",
    "serialize_data": "pickling a batch",
    "transfer": "a pickled task in transit while its worker waits for it",
    "deserialize_model": "unpickling the model, without its imports",
    "deserialize_data": "unpickling a batch, without imports",
    "compute": "the model's own call on `n_rows` rows",
    "store": "writing outputs to their place",
    "serialize_result": "pickling outputs",
    "deserialize_result": "unpickling outputs",
    "collect": "outputs in transit after the last worker has finished computing",
    "wait": "a worker that is idle before or between its batches",
    "imbalance": "a worker that has nothing left to do while others work",
    "standby": "a worker that gets no work because the others keep all CPUs busy",
    "stop": "ending the processes",
}


@contextmanager
def spent(spans: list[Span], worker: int, kind: str, n_rows: int = 0) -> Iterator[None]:
    """Append the time of the block to `spans`, with the CPU time of all threads of this process."""
    start_s, start_cpu_s = now(), time.process_time()
    yield
    cpu_s = time.process_time() - start_cpu_s
    spans.append(Span(worker=worker, kind=kind, start_s=start_s, end_s=now(), cpu_s=cpu_s, n_rows=n_rows))


def idle_spans(
    spans: Iterable[Span], workers: Iterable[int], start_s: float, end_s: float, standing_by: Collection[int] = ()
) -> list[Span]:
    """Return the gaps that `spans` leave from `start_s` to `end_s`: `imbalance` after a worker's last compute.

    Earlier gaps are `wait`; all gaps of a worker in `standing_by` are `standby`.
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


class ImportClock:
    """A context that adds up in `seconds` the time of the outermost imports inside it.

    Frameworks are imported where they are first needed, in the middle of a factory or of unpickling; this separates
    their cost. One thread. It does not see `importlib.import_module` itself, only the imports inside.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._is_inside = False

    def __enter__(self) -> ImportClock:
        self._import = builtins.__import__
        builtins.__import__ = self._timed
        return self

    def __exit__(self, *_: object) -> None:
        builtins.__import__ = self._import

    def _timed(self, *args: Any, **kwargs: Any) -> Any:
        if self._is_inside:
            return self._import(*args, **kwargs)
        self._is_inside = True
        started_s = now()
        try:
            return self._import(*args, **kwargs)
        finally:
            self.seconds += now() - started_s
            self._is_inside = False
