"""Run in the workers of a third-party pool: keep a model, compute the batches that arrive, and record the times.

Tasks are sent as arguments of `messages.answer`, so that their errors come back as they are.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from inferbench_lib.errors import WrongOutput
from inferbench_lib.processes.child import live_with_parent
from inferbench_lib.processes.spans import Start, load, now, spent, spent_making
from inferbench_lib.records import Span

if TYPE_CHECKING:  # a worker imports numpy only if its model does
    from multiprocessing.connection import Connection

    import numpy as np

    from inferbench_lib.processes.shared_array import SharedArray

Runner: TypeAlias = "Callable[[np.ndarray], np.ndarray]"
LoadRunner: TypeAlias = Callable[[], Runner]


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of one task: its worker, when it was sent and arrived, its spans and its pickled outputs."""

    start: Start
    sent_s: float
    arrived_s: float
    spans: tuple[Span, ...]
    output: bytes


@dataclass(frozen=True)
class Parcel:
    """The content of a task, which records when it is pickled and when it is unpickled."""

    content: Any
    sent_s: float = 0.0
    arrived_s: float = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self.content, now())


def _arrive(content: Any, sent_s: float) -> Parcel:
    return Parcel(content, sent_s, now())


class _Worker:
    """The state of this process from one task to the next."""

    start: Start
    error: Exception | None = None
    runner: Runner
    rows: SharedArray
    """The last input: while it is kept, its mapping and its pages stay."""


def begin(environment: Mapping[str, str], by_main_thread: bool, payload: bytes, lifeline: Connection | None) -> None:
    """Start a worker whose process inferbench made: set its environment, tie it to its parent, load its model."""
    os.environ.update(environment)  # nothing that reads it has been imported
    live_with_parent(by_main_thread, lifeline)
    try:
        join(payload)
    except Exception as error:  # `greet` raises it: here it would end the pool without its text
        _Worker.error = error


def join(payload: bytes) -> Start:
    """Load the model of the pickled `payload`, if any, in this process."""
    _Worker.runner, _Worker.start = load(payload)
    return _Worker.start


def greet() -> Start:
    """Return this worker's `Start`, or raise the error of its model; slowly, so that every idle worker is asked."""
    time.sleep(0.01)
    if _Worker.error is not None:
        raise _Worker.error
    return _Worker.start


def run_pickled(parcel: Parcel) -> Report:
    """Compute a pickled batch; the model is empty if the worker has one."""
    model, batch = parcel.content
    spans: list[Span] = []
    if model:
        _Worker.runner = spent_making(lambda: pickle.loads(model), "deserialize_model", spans)
    return _report(parcel, spent_making(lambda: pickle.loads(batch), "deserialize_data", spans), spans)


def run_shared(parcel: Parcel) -> Report:
    """Compute rows `start` to `stop` of a shared array."""
    _Worker.rows, start, stop = parcel.content
    return _report(parcel, _Worker.rows.array[start:stop], [])


def run_rows(rows: np.ndarray) -> Report:
    """Compute rows that are in this process already."""
    return _report(Parcel(None, now(), now()), rows, [])


def compute(runner: Runner, rows: np.ndarray, spans: list[Span], worker: int = 0) -> np.ndarray:
    """Return the outputs of `rows` and record the call; raises WrongOutput unless there is one output per row."""
    with spent(spans, worker, "compute", len(rows)):
        output = runner(rows)
    if len(output) != len(rows):
        raise WrongOutput(f"runner: expected {len(rows):,} outputs, one per row, got {len(output):,}; correct it")
    return output


def _report(parcel: Parcel, rows: np.ndarray, spans: list[Span]) -> Report:
    output = compute(_Worker.runner, rows, spans)
    with spent(spans, 0, "serialize_result"):
        pickled = pickle.dumps(output, protocol=pickle.HIGHEST_PROTOCOL)
    return Report(
        start=_Worker.start, sent_s=parcel.sent_s, arrived_s=parcel.arrived_s, spans=tuple(spans), output=pickled
    )
