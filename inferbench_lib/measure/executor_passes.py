"""Many inputs of a workload through one executor: warm, or each time from a cold start. A call is one pass over all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from inferbench_lib.errors import NotAvailable
from inferbench_lib.executors import listed
from inferbench_lib.executors.base import Executor
from inferbench_lib.measure.source import Source
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.spans import CALLER, spent
from inferbench_lib.records import Case, Span
from inferbench_lib.timing.cell import Inputs
from inferbench_lib.timing.memory import PeakMemory, memory_of_tree
from inferbench_lib.work.base import Engine, Load, Runner, Workload

N_WINDOWS = 4
"""Different inputs that an executor is asked for in turn."""
MOST_STEP = 4096


def step(n_inputs: int) -> int:
    """Return how far apart the windows of so many inputs begin."""
    return max(1, min(MOST_STEP, n_inputs // 4))


def prepare_files(workload: Workload, n_inputs: int) -> int:
    """Make what the passes read, before any of them is timed; return how many inputs the pool holds."""
    n_pool = n_inputs + (N_WINDOWS - 1) * step(n_inputs)
    workload.reference_path(n_pool)
    return n_pool


@dataclass(kw_only=True)
class Passes(Source):
    """A workload's inputs through one executor, whose start is timed apart.

    A batch size of 0 leaves the batches to the executor. `by_batch` says where a batch size has fewer inputs.
    """

    workload: Workload
    engine: type[Engine]
    case: Case
    n_inputs: int
    by_batch: Mapping[int, int] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    returns_warm = False
    _executor: Any = field(default=None, init=False)
    _idle_bytes: float | None = field(default=None, init=False)
    _input_bytes: int = field(default=0, init=False)
    _called_s: tuple[float, float] = field(default=(0.0, 0.0), init=False)
    _stopped: tuple[Span, ...] = field(default=(), init=False)

    def load(self) -> Mapping[str, float]:
        """Start the executor."""
        self._executor = self._new()
        self._executor.ready()
        return {"executor_s": self._executor.start_s}

    def runner(self, case: Case) -> Runner:
        """Return the executor's pass over one window; idle memory is read first, when all executors have started."""
        with suppress(NotAvailable):  # without figures of memory, the passes are still measured
            self._idle_bytes = self._idle_bytes or float(memory_of_tree(os.getpid()))
        return Runner(run=partial(self._pass, batch_size=case.batch_size or None))

    def inputs(self, case: Case) -> Inputs:
        """Return the windows in turn, as memory that the executor's processes map; a key is a window's first input."""
        n_inputs = self.inputs_per_call(case)
        n_pool = prepare_files(self.workload, self.n_inputs)
        path, reference = self.workload.inputs_path(n_pool), np.load(self.workload.reference_path(n_pool))
        n_windows = 1 if self._kind.keeps_input else N_WINDOWS
        starts = range(0, n_windows * step(self.n_inputs), step(self.n_inputs))
        windows = [(start, SharedArray.map_file(path, range(start, start + n_inputs))) for start in starts]
        self._windows = windows
        self._input_bytes = windows[0][1].array[0].nbytes
        return Inputs(
            batches=(windows[number % n_windows] for number in count()),  # the memory pass empties the list
            check=lambda start, output: self.workload.agree(output, reference[start : start + n_inputs]),
        )

    def inputs_per_call(self, case: Case) -> int:
        """Count the inputs of one pass."""
        return self.by_batch.get(case.batch_size, self.n_inputs)

    def spans(self) -> tuple[Span, ...]:
        """Return where the time of the last pass went, the pass itself first."""
        start_s, end_s = self._called_s
        return (Span(worker=CALLER, kind="call", start_s=start_s, end_s=end_s), *self._executor.spans(), *self._stopped)

    def run_untimed(self, case: Case, run: Callable[[], None], n_calls: int) -> None:
        """Make one pass over a copy that no other process maps: of shared pages, PSS counts a part only."""
        first = self._windows[0][1].handle
        self._windows.clear()
        if self._kind.starts_per_call:  # its interpreters come with each call: what they take over next to no inputs
            few = SharedArray.empty((case.n_processes, *first.shape[1:]), first.dtype)
            with few, PeakMemory(os.getpid()) as peak:
                self._pass(few, 1)
            self._idle_bytes = float(peak.n_bytes)
        with SharedArray.empty(first.shape, first.dtype) as copy, Path(first.path).open("rb") as file:
            file.seek(first.offset)
            file.readinto(copy.array.reshape(-1).view(np.uint8).data)
            self._pass(copy, case.batch_size or None)

    def figures(self, case: Case) -> Mapping[str, float]:
        """Return the bytes of the data, and of the processes before they had it."""
        sizes = {"data_bytes": float(self.inputs_per_call(case) * self._input_bytes), "idle_bytes": self._idle_bytes}
        return {name: size for name, size in sizes.items() if size is not None}

    def close(self) -> None:
        """End the executor's processes."""
        if self._executor is not None:
            self._executor.close()

    @property
    def _kind(self) -> type[Executor]:
        return listed()[self.case.executor]

    def _new(self, **more: Any) -> Any:
        case, options = self.case, {**self.options, **more}
        return self._kind(self._load_runner(), n_processes=case.n_processes, n_threads=case.n_threads, **options)

    def _load_runner(self) -> Load:
        return Load(workload=self.workload, engine=self.engine, n_threads=self.case.n_threads)

    def _pass(self, rows: SharedArray, batch_size: int | None) -> np.ndarray:
        start_s = time.perf_counter()
        with self._started():
            outputs: np.ndarray = self._executor.map(rows, batch_size)
        self._called_s = (start_s, time.perf_counter())
        return outputs

    @contextmanager
    def _started(self) -> Iterator[None]:
        """Keep the executor for one pass: here it stays from one to the next."""
        yield


class ColdPasses(Passes):
    """The same by an executor that is made for each pass and ended in it, as a script would that runs once.

    The calling process has the model and its libraries, as one that computes alone has; the shared pool lets it work.
    """

    def load(self) -> Mapping[str, float]:
        """Load the calling process's model, which each pass finds there."""
        runner = self._load_runner()()
        self._more = {"caller_runner": runner} if "caller_runner" in self._kind.options() else {}
        return {}

    @contextmanager
    def _started(self) -> Iterator[None]:
        stopped: list[Span] = []
        self._executor = self._new(**self._more)
        try:
            yield
        finally:
            with spent(stopped, CALLER, "stop"):
                self._executor.close()
        says_so = any(span.kind == "stop" and span.end_s > stopped[0].start_s for span in self._executor.spans())
        self._stopped = () if says_so else tuple(stopped)
