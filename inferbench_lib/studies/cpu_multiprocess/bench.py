"""Many rows through one executor: warm, or each time from a cold start. A sample is one pass over all rows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inferbench_lib.errors import NotAvailable
from inferbench_lib.executors import listed
from inferbench_lib.measure.benches import CellSeries, LoopBench, WarmUp
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.spans import CALLER, spent
from inferbench_lib.records import Case, Measurement, Span, Verification
from inferbench_lib.timing.memory import PeakMemory, TreeMemory, memory_of_tree
from inferbench_lib.work.cnn import Cnn
from inferbench_lib.work.engines.native import load_forest, load_network
from inferbench_lib.work.forest import Forest

if TYPE_CHECKING:
    from inferbench_lib.processes.task import LoadRunner

N_WINDOWS = 4
"""Different inputs that an executor is asked for in turn, each `n_rows` long."""
WINDOW_STEP = 4096


@dataclass(frozen=True, kw_only=True)
class Passes:
    """What an executor is asked to do: inputs that take turns, what each must give, and the model."""

    inputs: Sequence[SharedArray]
    references: Sequence[np.ndarray]
    agree: Callable[[np.ndarray, np.ndarray], Verification]
    load_runner: LoadRunner


class PassBench(LoopBench):
    """One executor, its start timed apart. A batch size of 0 leaves it to the executor."""

    def __init__(self, passes: Passes, case: Case, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._windows, self._references, self._agree = list(passes.inputs), passes.references, passes.agree
        self._first = passes.inputs[0].handle
        self._load_runner = passes.load_runner
        self._kind = listed()[case.executor]
        self._new = partial(
            self._kind,
            passes.load_runner,
            n_processes=case.n_processes,
            n_threads=case.n_threads,
            **options or {},
        )
        self._spans: tuple[Span, ...] = ()
        self._executor: Any = None
        self._idle_bytes: float | None = None

    def start(self) -> None:
        """Start the executor."""
        self._executor = self._new()
        self._executor.ready()
        self.startup_s = {"executor_s": self._executor.start_s}

    def prepare(self, case: Case, warmup: WarmUp) -> tuple[float, ...]:
        """What the processes have before the data comes, all benches started; then first call and warm-up."""
        self._idle_bytes = self._idle_bytes or _memory_bytes()
        return super().prepare(case, warmup)

    def open(self, case: Case) -> CellSeries:
        # The ceiling copies each worker's part when an input is new: it keeps its one.
        return CellSeries(
            case=case,
            call=lambda number: self._map(self._windows[number], case.batch_size or None),
            batches=cycle(range(1 if case.executor == "ceiling" else len(self._windows))),
            agree=lambda number, output: self._agree(output, self._references[number]),
            inputs_per_call=self._first.shape[0],
        )

    def _map(self, rows: SharedArray, batch_size: int | None) -> np.ndarray:
        started_s = time.perf_counter()
        outputs: np.ndarray = self._executor.map(rows, batch_size)
        self._called = (started_s, time.perf_counter())
        self._spans = self._executor.spans()
        return outputs

    def after_call(self, cell: CellSeries) -> None:
        """Keep where the time of this sample went."""
        start_s, end_s = self._called
        call = Span(worker=CALLER, kind="call", start_s=start_s, end_s=end_s)
        cell.spans.append((call, *self._spans))

    def run(self, case: Case, n_calls: int) -> None:
        """One pass over a copy that these processes alone hold: of pages that others map too, PSS counts a part."""
        self._windows.clear()
        if self._kind.starts_per_call:  # its interpreters come with each call: what they take over next to no rows
            few = SharedArray.empty((case.n_processes, *self._first.shape[1:]), self._first.dtype)
            with few, PeakMemory(os.getpid()) as peak:
                self._map(few, 1)
            self._idle_bytes = None if peak.value is None else _bytes(peak.value)
        with SharedArray.empty(self._first.shape, self._first.dtype) as rows, Path(self._first.path).open("rb") as file:
            file.seek(self._first.offset)
            file.readinto(rows.array.reshape(-1).view(np.uint8).data)
            self._map(rows, case.batch_size or None)

    def finish(self, case: Case) -> Measurement:
        """The cell as it was measured, with the bytes of the data and of the processes before they had it."""
        row = super().finish(case)
        shape, itemsize = self._first.shape, self._first.dtype.itemsize
        sizes = {"data_bytes": float(np.prod(shape) * itemsize), "idle_bytes": self._idle_bytes}
        return replace(row, figures={name: size for name, size in sizes.items() if size is not None})

    def close(self) -> None:
        if self._executor is not None:
            self._executor.close()


class ExecutorBench(PassBench):
    """The forest through one executor."""

    @staticmethod
    def prepare_files(forest: Forest, n_rows: int) -> int:
        """Make what the benches read, before any of them is timed; the number of rows in the pool."""
        n_pool = n_rows + (N_WINDOWS - 1) * WINDOW_STEP
        forest.reference_path(n_pool)
        return n_pool

    def __init__(self, forest: Forest, case: Case, n_rows: int, options: Mapping[str, Any] | None = None) -> None:
        n_pool = self.prepare_files(forest, n_rows)
        self._path, self._starts = forest.inputs_path(n_pool), range(0, N_WINDOWS * WINDOW_STEP, WINDOW_STEP)
        classes = np.load(forest.reference_path(n_pool))
        passes = Passes(
            inputs=[SharedArray.map_file(self._path, range(start, start + n_rows)) for start in self._starts],
            references=[classes[start : start + n_rows] for start in self._starts],
            agree=forest.agree,
            load_runner=partial(load_forest, forest.model_path, case.n_threads),
        )
        super().__init__(passes, case, options)


class ScalingBench(ExecutorBench):
    """The forest through one executor that stays, over several numbers of rows, told by the size of their batches."""

    def __init__(
        self, forest: Forest, case: Case, n_rows: Mapping[int, int], options: Mapping[str, Any] | None = None
    ) -> None:
        self._n_rows = n_rows
        super().__init__(forest, case, max(n_rows.values()), options)

    def open(self, case: Case) -> CellSeries:
        n_rows = self._n_rows[case.batch_size]
        inputs = [SharedArray.map_file(self._path, range(start, start + n_rows)) for start in self._starts]
        return CellSeries(
            case=case,
            call=lambda number: self._map(inputs[number], case.batch_size),
            batches=cycle(range(len(inputs))),
            agree=lambda number, output: self._agree(output, self._references[number][:n_rows]),
            inputs_per_call=n_rows,
        )


class ColdBench(ExecutorBench):
    """The forest through an executor that is made for each call and ended in it, as a script would that runs once.

    The calling process has the model and its libraries, as one that computes alone has; the shared pool lets it work.
    """

    def start(self) -> None:
        """Load the calling process's model, which each call finds there."""
        runner = self._load_runner()
        if "caller_runner" in self._kind.options():
            self._new = partial(self._new, caller_runner=runner)

    def _map(self, rows: SharedArray, batch_size: int | None) -> np.ndarray:
        stopped: list[Span] = []
        started_s = time.perf_counter()
        executor: Any = self._new()
        try:
            outputs: np.ndarray = executor.map(rows, batch_size)
        finally:
            with spent(stopped, CALLER, "stop"):
                executor.close()
        self._called = (started_s, time.perf_counter())
        spans = executor.spans()
        says_so = any(span.kind == "stop" and span.end_s > stopped[0].start_s for span in spans)
        self._spans = spans if says_so else (*spans, *stopped)
        return outputs

    def close(self) -> None:
        """Nothing is held from one call to the next."""


class NetworkPassBench(PassBench):
    """A network over its images through one executor."""

    def __init__(self, cnn: Cnn, case: Case, options: Mapping[str, Any] | None = None) -> None:
        passes = Passes(
            inputs=[SharedArray.of(cnn.images().numpy())],
            references=[cnn.reference()],
            agree=cnn.agree,
            load_runner=partial(load_network, cnn, case.n_threads),
        )
        super().__init__(passes, case, options)


def _memory_bytes() -> float | None:
    """PSS of this process and its workers, RSS where there is none; None where it cannot be read."""
    try:
        return _bytes(memory_of_tree(os.getpid()))
    except NotAvailable:
        return None


def _bytes(seen: TreeMemory) -> float:
    return float(seen.rss_bytes if seen.pss_bytes is None else seen.pss_bytes)
