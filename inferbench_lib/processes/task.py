"""Run in the workers of a third-party pool: keep a model, compute the batches that arrive, and record the times."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from inferbench_lib.errors import WrongOutput
from inferbench_lib.processes.child import live_with_parent
from inferbench_lib.processes.messages import answer
from inferbench_lib.processes.spans import ImportClock, now, spent
from inferbench_lib.records import Span

if TYPE_CHECKING:  # a worker imports numpy only if its model does
    from multiprocessing.connection import Connection

    import numpy as np

    from inferbench_lib.processes.shared_array import SharedArray

    Runner: TypeAlias = Callable[[np.ndarray], np.ndarray]
    LoadRunner: TypeAlias = Callable[[], Runner]


@dataclass(frozen=True, kw_only=True)
class Start:
    """A worker's identity, the time and CPU time of its first line, and the spans of loading its model."""

    pid: int
    first_line_s: float
    cpu_s: float
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of one task: its worker, when it was sent and arrived, its spans and its pickled outputs."""

    start: Start
    sent_s: float
    arrived_s: float
    spans: tuple[Span, ...]
    output: bytes


class Parcel:
    """The content of a task, which records when it is pickled and when it is unpickled."""

    def __init__(self, content: Any, sent_s: float = 0.0, arrived_s: float = 0.0) -> None:
        self.content, self.sent_s, self.arrived_s = content, sent_s, arrived_s

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self.content, now())


def _arrive(content: Any, sent_s: float) -> Parcel:
    return Parcel(content, sent_s, now())


class _Worker:
    """The state of this process from one task to the next."""

    start: Start
    start_answer: bytes
    runner: Runner
    rows: SharedArray
    """The last input: while it is kept, its mapping and its pages stay."""


def begin(environment: Mapping[str, str], by_main_thread: bool, load: bytes, lifeline: Connection | None) -> None:
    """Start a worker whose process inferbench made: set its environment, tie it to its parent, load its model."""
    first_line_s, cpu_s = now(), time.process_time()
    os.environ.update(environment)  # nothing that reads it has been imported
    live_with_parent(by_main_thread, lifeline)
    _Worker.start_answer = answer(_load, load, first_line_s, cpu_s)


def join(load: bytes) -> bytes:
    """Load the model of the pickled `load` in a process of another library; return its `Start`, or its error."""
    _Worker.start_answer = answer(_load, load, now(), time.process_time())
    return _Worker.start_answer


def greet() -> bytes:
    """Return this worker's `Start`, or the error of its model; slowly, so that every idle worker gets a question."""
    time.sleep(0.01)
    return _Worker.start_answer


def run_pickled(parcel: Parcel) -> bytes:
    """Return the pickled `Report` of a pickled batch, or its error; the model is empty if the worker has one."""
    return answer(_run_pickled, parcel)


def run_shared(parcel: Parcel) -> bytes:
    """Return the same for rows `start` to `stop` of a shared array."""
    return answer(_run_shared, parcel)


def run_rows(rows: np.ndarray) -> bytes:
    """Return the same for rows that are in this process already."""
    return answer(_report, Parcel(None, now(), now()), rows, [])


def compute(runner: Runner, rows: np.ndarray, spans: list[Span], worker: int = 0) -> np.ndarray:
    """Return the outputs of `rows` and record the call; raises WrongOutput unless there is one output per row."""
    with spent(spans, worker, "compute", len(rows)):
        output = runner(rows)
    if len(output) != len(rows):
        raise WrongOutput(f"runner: expected {len(rows):,} outputs, one per row, got {len(output):,}; correct it")
    return output


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
    output = compute(_Worker.runner, rows, spans)
    with spent(spans, 0, "serialize_result"):
        pickled = pickle.dumps(output, protocol=pickle.HIGHEST_PROTOCOL)
    return Report(
        start=_Worker.start, sent_s=parcel.sent_s, arrived_s=parcel.arrived_s, spans=tuple(spans), output=pickled
    )


def _with_imports(make: Callable[[], Any], kind: str, spans: list[Span]) -> Any:
    """Return the result of `make`; record its imports as if they all came first."""
    whole: list[Span] = []
    with ImportClock() as imports, spent(whole, 0, kind):
        value = make()
    span = whole[0]
    middle_s = span.start_s + imports.seconds
    cpu_s = max(0.0, span.cpu_s - imports.seconds)
    spans.append(Span(worker=0, kind="import", start_s=span.start_s, end_s=middle_s, cpu_s=span.cpu_s - cpu_s))
    spans.append(Span(worker=0, kind=kind, start_s=middle_s, end_s=span.end_s, cpu_s=cpu_s))
    return value
