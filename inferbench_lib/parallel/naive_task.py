"""The worker's side of the naive pool: unpickle model and batch, compute, pickle the outputs, and note when."""

from __future__ import annotations

import io
import os
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferbench_lib.parallel.answers import answer
from inferbench_lib.parallel.executor import now, spent
from inferbench_lib.parallel.imports import ImportClock
from inferbench_lib.parallel.lifeline import live_with_parent
from inferbench_lib.records import Span

_first_line_s = _start_cpu_s = 0.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a worker tells of one task: who it is, since when, the stamps of the task's way, its spans, its outputs."""

    pid: int
    first_line_s: float
    start_cpu_s: float
    sent_s: float
    arrived_s: float
    spans: tuple[Span, ...]
    output: bytes


class Parcel:
    """A pickled model and batch that note when they leave and when they arrive."""

    def __init__(self, model: bytes, batch: bytes, sent_s: float = 0.0, arrived_s: float = 0.0) -> None:
        self.model, self.batch, self.sent_s, self.arrived_s = model, batch, sent_s, arrived_s

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self.model, self.batch, now())


def _arrive(model: bytes, batch: bytes, sent_s: float) -> Parcel:
    return Parcel(model, batch, sent_s, now())


def begin(environment: Mapping[str, str], by_main_thread: bool) -> None:
    """The worker's first line."""
    global _first_line_s, _start_cpu_s
    _first_line_s, _start_cpu_s = now(), time.process_time()
    os.environ.update(environment)  # nothing that reads it has been imported
    live_with_parent(by_main_thread)


def run(parcel: Parcel) -> bytes:
    """The pickled `Report` of the task, or its error."""
    return answer(_report, parcel)


def _report(parcel: Parcel) -> Report:
    spans: list[Span] = []
    model = _unpickled(parcel.model, "deserialize_model", spans)
    batch = _unpickled(parcel.batch, "deserialize_data", spans)
    with spent(spans, 0, "compute", len(batch)):
        output = model(batch)
    with spent(spans, 0, "serialize_result"):
        pickled = pickle.dumps(output, protocol=pickle.HIGHEST_PROTOCOL)
    return Report(
        pid=os.getpid(), first_line_s=_first_line_s, start_cpu_s=_start_cpu_s, sent_s=parcel.sent_s,
        arrived_s=parcel.arrived_s, spans=tuple(spans), output=pickled,
    )  # fmt: skip


def _unpickled(pickled: bytes, kind: str, spans: list[Span]) -> Any:
    """The object; its imports, which happen in between, are set down as if they came first."""
    whole: list[Span] = []
    with ImportClock() as imports, spent(whole, 0, kind):
        value = pickle.load(io.BytesIO(pickled))
    span = whole[0]
    middle_s = span.start_s + imports.seconds
    cpu_s = max(0.0, span.cpu_s - imports.seconds)
    spans.append(Span(worker=0, kind="import", start_s=span.start_s, end_s=middle_s, cpu_s=span.cpu_s - cpu_s))
    spans.append(Span(worker=0, kind=kind, start_s=middle_s, end_s=span.end_s, cpu_s=cpu_s))
    return value
