"""The worker's side of the executors that hand out tasks: keep a model, compute what comes, and note when."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inferbench_lib.errors import WrongOutput
from inferbench_lib.executors.executor import now, spent
from inferbench_lib.processes.answers import answer
from inferbench_lib.processes.imports import ImportClock
from inferbench_lib.processes.lifeline import live_with_parent
from inferbench_lib.records import Span

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import numpy as np

    from inferbench_lib.executors.executor import Runner
    from inferbench_lib.processes.shared_array import SharedArray


@dataclass(frozen=True, kw_only=True)
class Start:
    """Who a worker is, when its first line ran, the CPU time spent until then, and how it came by its model."""

    pid: int
    first_line_s: float
    cpu_s: float
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a worker tells of one task: who it is, the stamps of the task's way, its spans, its pickled outputs."""

    start: Start
    sent_s: float
    arrived_s: float
    spans: tuple[Span, ...]
    output: bytes


class Parcel:
    """What a task needs; it notes when it leaves and when it arrives."""

    def __init__(self, content: Any, sent_s: float = 0.0, arrived_s: float = 0.0) -> None:
        self.content, self.sent_s, self.arrived_s = content, sent_s, arrived_s

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self.content, now())


def _arrive(content: Any, sent_s: float) -> Parcel:
    return Parcel(content, sent_s, now())


class _Worker:
    """What this process keeps from one task to the next."""

    start: Start
    start_answer: bytes
    runner: Runner
    rows: SharedArray
    """The last input: as long as it is kept its mapping stays, pages and all."""


def begin(environment: Mapping[str, str], by_main_thread: bool, load: bytes, lifeline: Connection | None) -> None:
    """The first line of a worker of ours."""
    first_line_s, cpu_s = now(), time.process_time()
    os.environ.update(environment)  # nothing that reads it has been imported
    live_with_parent(by_main_thread, lifeline)
    _Worker.start_answer = answer(_load, load, first_line_s, cpu_s)


def join(load: bytes) -> bytes:
    """Take the model that the pickled `load` makes, in a process that is not ours; its `Start`, or its error."""
    _Worker.start_answer = answer(_load, load, now(), time.process_time())
    return _Worker.start_answer


def greet() -> bytes:
    """This worker's `Start`, or the error of its model. Slow enough for every idle worker to get its own question."""
    time.sleep(0.01)
    return _Worker.start_answer


def run_pickled(parcel: Parcel) -> bytes:
    """The pickled `Report`, or the error, of a pickled batch and its pickled model, if it is not this worker's own."""
    return answer(_run_pickled, parcel)


def run_shared(parcel: Parcel) -> bytes:
    """As `run_pickled`, of rows `start` to `stop` of a shared array."""
    return answer(_run_shared, parcel)


def run_rows(rows: np.ndarray) -> bytes:
    """As `run_pickled`, of rows that are here already."""
    return answer(_report, Parcel(None, now(), now()), rows, [])


def _load(load: bytes, first_line_s: float, cpu_s: float) -> Start:
    spans: list[Span] = []
    if load:
        _Worker.runner = _with_imports(lambda: pickle.loads(load)(), "load_model", spans)
    _Worker.start = Start(pid=os.getpid(), first_line_s=first_line_s, cpu_s=cpu_s, spans=tuple(spans))
    return _Worker.start


def _run_pickled(parcel: Parcel) -> Report:
    model, batch = parcel.content
    spans: list[Span] = []
    if model:
        _Worker.runner = _with_imports(lambda: pickle.loads(model), "deserialize_model", spans)
    rows = _with_imports(lambda: pickle.loads(batch), "deserialize_data", spans)
    return _report(parcel, rows, spans)


def _run_shared(parcel: Parcel) -> Report:
    _Worker.rows, start, stop = parcel.content
    return _report(parcel, _Worker.rows.array[start:stop], [])


def _report(parcel: Parcel, rows: np.ndarray, spans: list[Span]) -> Report:
    with spent(spans, 0, "compute", len(rows)):
        output = _Worker.runner(rows)
    if len(output) != len(rows):
        raise WrongOutput(f"runner: expected {len(rows):,} outputs, one a row, got {len(output):,}; correct it")
    with spent(spans, 0, "serialize_result"):
        pickled = pickle.dumps(output, protocol=pickle.HIGHEST_PROTOCOL)
    return Report(
        start=_Worker.start, sent_s=parcel.sent_s, arrived_s=parcel.arrived_s, spans=tuple(spans), output=pickled
    )


def _with_imports(make: Callable[[], Any], kind: str, spans: list[Span]) -> Any:
    """What `make` makes; its imports, which happen in between, are set down as if they came first."""
    whole: list[Span] = []
    with ImportClock() as imports, spent(whole, 0, kind):
        value = make()
    span = whole[0]
    middle_s = span.start_s + imports.seconds
    cpu_s = max(0.0, span.cpu_s - imports.seconds)
    spans.append(Span(worker=0, kind="import", start_s=span.start_s, end_s=middle_s, cpu_s=span.cpu_s - cpu_s))
    spans.append(Span(worker=0, kind=kind, start_s=middle_s, end_s=span.end_s, cpu_s=cpu_s))
    return value
