"""Parallel prediction for production: one function over the shared-memory pool."""

from __future__ import annotations

import pickle
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inferbench_lib.executors.pool import SharedPool
from inferbench_lib.processes.child import dumps
from inferbench_lib.processes.own_threads import threads_held_to
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.timing.usable import usable_cpus

if TYPE_CHECKING:
    from inferbench_lib.executors.executor import LoadRunner, Runner
    from inferbench_lib.executors.pool import OnDeath


def parallel_predict(
    model: Any, X: np.ndarray | Path | str, n_processes: int | None = None, batch_size: int | None = None, *,
    method: str = "predict", on_worker_death: OnDeath = "raise", timeout_s: float = 600.0,
) -> np.ndarray:  # fmt: skip
    """`model.predict(X)` by `n_processes` processes of one thread each, this one among them, which begins at once.

    `X` is `(n_rows, ...)`: an array, a memory map or an `.npy` file, also one larger than memory; the result is
    `(n_rows, ...)` in the same order. `model` is anything that can be pickled and has `method`, or the path of one that
    joblib or pickle wrote (reading it runs its code: only one that you trust). Without `n_processes` there are as
    many as usable CPUs; of more, as many work at a time as the CPUs carry. Without `batch_size` it follows from what
    calls cost. Processes are started and ended by the call, which pays from some seconds of work on; keep a
    `SharedPool` for many calls. In a script, call it under `if __name__ == "__main__":`. Raises, and warns of dead
    workers, as `SharedPool` does.
    """
    with ExitStack() as until_done:
        if isinstance(model, Path | str):
            load: LoadRunner = _LoadFile(path=Path(model).resolve(), method=method)
            runner = load()
        else:
            runner = getattr(model, method)
            pickled = until_done.enter_context(SharedArray.of(np.frombuffer(dumps(runner), dtype=np.uint8)))
            load = _LoadShared(pickled=pickled)
        until_done.enter_context(threads_held_to(1))
        pool = SharedPool(
            load, n_processes=usable_cpus()[0] if n_processes is None else n_processes, caller_runner=runner,
            on_worker_death=on_worker_death, timeout_s=timeout_s,
        )  # fmt: skip
        return until_done.enter_context(pool).map(X, batch_size)


@dataclass(frozen=True, kw_only=True)
class _LoadShared:
    pickled: SharedArray

    def __call__(self) -> Runner:
        runner: Runner = pickle.loads(self.pickled.array.data)
        return runner


@dataclass(frozen=True, kw_only=True)
class _LoadFile:
    path: Path
    method: str

    def __call__(self) -> Runner:
        import joblib  # reads what pickle wrote too

        runner: Runner = getattr(joblib.load(self.path), self.method)
        return runner
