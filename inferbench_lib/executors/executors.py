"""The ways of running a model over many rows, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from inferbench_lib.executors.ceiling import Ceiling
from inferbench_lib.executors.dask_pool import DaskPool
from inferbench_lib.executors.executor import Executor, batches, now, spent
from inferbench_lib.executors.loky_pool import LokyPool
from inferbench_lib.executors.naive_pool import NaivePool
from inferbench_lib.executors.pool import SharedPool
from inferbench_lib.executors.process_pool import ProcessPool
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.records import Span

if TYPE_CHECKING:
    import numpy as np

    from inferbench_lib.executors.executor import LoadRunner, Rows


class Sequential(Executor):
    """This process alone, one call a batch. On several threads where `load_runner` makes a runner that uses them."""

    def __init__(self, load_runner: LoadRunner, *, n_processes: int = 1, n_threads: int = 1) -> None:
        if n_processes != 1:
            raise ValueError(f"single.n_processes: expected 1, got {n_processes}; use a pool for more")
        self._load_runner = load_runner
        self._spans: list[Span] = []

    def ready(self) -> None:
        if not self.start_s:
            started_s = now()
            self._runner = self._load_runner()
            self.start_s = now() - started_s

    def map(self, x: Rows, batch_size: int) -> np.ndarray:
        import numpy as np

        self.ready()
        rows = x.array if isinstance(x, SharedArray) else x
        self._spans = []
        outputs = []
        for batch in batches(len(rows), batch_size):
            with spent(self._spans, 0, "compute", len(batch)):
                outputs.append(self._runner(rows[batch.start : batch.stop]))
        with spent(self._spans, 0, "store"):
            return np.concatenate(outputs)

    def spans(self) -> tuple[Span, ...]:
        return tuple(self._spans)


EXECUTORS: Mapping[str, Callable[..., Executor]] = {
    "single": Sequential,
    "threads": Sequential,  # the library's own threads: the runner is loaded with them
    "naive_pool": NaivePool,
    "process_pool": ProcessPool,
    "loky": LokyPool,
    "dask": DaskPool,
    "shared_pool": SharedPool,
    "ceiling": Ceiling,
}
"""Each is called with `load_runner` and the keywords `n_processes` and `n_threads` (of one process)."""
