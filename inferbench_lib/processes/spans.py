"""Record what a worker spends its time on, as spans of one clock that all processes share."""

from __future__ import annotations

import builtins
import os
import pickle
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from inferbench_lib.records import Span

now = time.perf_counter
"""Comparable across processes: documented as system-wide, and CLOCK_MONOTONIC on Linux, as `time.monotonic` is."""

CALLER = -1
"""`Span.worker` of the calling process; workers count from 0."""

SPAN_KINDS = {
    "start": "from the start of the process until it loads its model",
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


@contextmanager
def imports_timed() -> Iterator[list[float]]:
    """Yield a list that receives the seconds of each outermost import inside the block.

    Frameworks are imported where they are first needed, in the middle of a factory or of unpickling; this separates
    their cost. One thread. It does not see `importlib.import_module` itself, only the imports inside.
    """
    import_module, seconds, is_inside = builtins.__import__, [], False

    def timed(*args: Any, **kwargs: Any) -> Any:
        nonlocal is_inside
        if is_inside:
            return import_module(*args, **kwargs)
        is_inside, started_s = True, now()
        try:
            return import_module(*args, **kwargs)
        finally:
            seconds.append(now() - started_s)
            is_inside = False

    builtins.__import__ = timed
    try:
        yield seconds
    finally:
        builtins.__import__ = import_module


def spent_making(make: Callable[[], Any], kind: str, spans: list[Span]) -> Any:
    """Return the result of `make`; record its imports as if they all came first, and the rest as `kind`."""
    whole: list[Span] = []
    with imports_timed() as import_s, spent(whole, 0, kind):
        made = make()
    (span,) = whole
    middle_s = span.start_s + sum(import_s)
    cpu_s = max(0.0, span.cpu_s - sum(import_s))
    spans.append(replace(span, kind="import", end_s=middle_s, cpu_s=span.cpu_s - cpu_s))
    spans.append(replace(span, start_s=middle_s, cpu_s=cpu_s))
    return made


@dataclass(frozen=True, kw_only=True)
class Start:
    """A worker's identity, when it began to load its model, the CPU time until then, and the spans of loading."""

    pid: int
    began_s: float
    cpu_s: float
    spans: tuple[Span, ...] = ()

    def lane(self, worker: int, asked_s: float) -> tuple[Span, ...]:
        """Return the spans from `asked_s`, when the process was asked for, until its model was loaded."""
        began_s = max(asked_s, self.began_s)
        start = Span(worker=worker, kind="start", start_s=asked_s, end_s=began_s, cpu_s=self.cpu_s)
        return (start, *(replace(span, worker=worker) for span in self.spans))


def load(payload: bytes) -> tuple[Any, Start]:
    """Return what the pickled factory makes, None without one, and the `Start` of this process."""
    spans: list[Span] = []
    cpu_s = time.process_time()
    made = spent_making(lambda: pickle.loads(payload)(), "load_model", spans) if payload else None
    began_s = spans[0].start_s if spans else now()
    return made, Start(pid=os.getpid(), began_s=began_s, cpu_s=cpu_s, spans=tuple(spans))
