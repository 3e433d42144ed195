"""Run the model in this process, one call per batch."""

from __future__ import annotations

import numpy as np

from inferbench_lib.executors.base import Executor, Rows, in_memory
from inferbench_lib.processes.scheduling import batches
from inferbench_lib.processes.spans import spent
from inferbench_lib.processes.task import compute
from inferbench_lib.records import Span


class Single(Executor):
    """This process alone."""

    name = "single"
    title = "one process"
    is_one_process = True

    def _start(self) -> None:
        self._runner = self._load_runner()

    def map(self, x: Rows, batch_size: int) -> np.ndarray:
        self.ready()
        rows = in_memory(x)
        spans: list[Span] = []
        tasks = batches(len(rows), batch_size)
        outputs = [compute(self._runner, rows[task.start : task.stop], spans) for task in tasks]
        with spent(spans, 0, "store"):
            output = np.concatenate(outputs)
        self._map_spans = tuple(spans)
        return output


class Threads(Single):
    """This process with the threads of scikit-learn, which `load_runner` sets."""

    name = "threads"
    title = "scikit-learn threads"
    has_threads = True
