"""Predict in parallel in production, by one function over the shared-memory pool."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from inferbench_lib.executors.shared_pool import OnDeath, SharedPool
from inferbench_lib.processes.child import environment_set
from inferbench_lib.processes.messages import dumps
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.task import LoadRunner, Runner
from inferbench_lib.timing.usable import usable_cpus


def parallel_predict(
    model: Any, X: np.ndarray | Path | str, n_processes: int | None = None, batch_size: int | None = None, *,
    method: str = "predict", on_worker_death: OnDeath = "raise", timeout_s: float = 600.0,
) -> np.ndarray:  # fmt: skip
    """Return `model.predict(X)`, computed by this process and `n_processes - 1` others of one thread each.

    `X` is `(n_rows, ...)`: an array, a memory map or an `.npy` file, also one larger than memory. The result is
    `(n_rows, ...)` in the same order. `model` has `method` and can be pickled, or is the path of a file that joblib or
    pickle wrote. Reading such a file runs its code, so trust it first. `n_processes` defaults to the usable CPUs. Of
    more, only as many compute at a time as the CPUs can run. `batch_size` defaults to sizes that follow from the
    measured cost of calls. The call starts and ends its processes, which pays off from some seconds of work; keep a
    `SharedPool` for many calls. In a script, call it under `if __name__ == "__main__":`. Raises, and warns of dead
    workers, as `SharedPool` does.
    """
    with ExitStack() as until_done:
        if isinstance(model, Path | str):
            load: LoadRunner = partial(_load_file, Path(model).resolve(), method)
            runner = load()
        else:
            runner = getattr(model, method)
            pickled = until_done.enter_context(SharedArray.of(np.frombuffer(dumps(runner), dtype=np.uint8)))
            load = partial(_load_shared, pickled)
        until_done.enter_context(threads_held_to(1))
        pool = SharedPool(
            load, n_processes=usable_cpus()[0] if n_processes is None else n_processes, caller_runner=runner,
            on_worker_death=on_worker_death, timeout_s=timeout_s,
        )  # fmt: skip
        return until_done.enter_context(pool).map(X, batch_size)


def _load_shared(pickled: SharedArray) -> Runner:
    runner: Runner = pickle.loads(pickled.array.data)
    return runner


def _load_file(path: Path, method: str) -> Runner:
    import joblib  # reads what pickle wrote too

    runner: Runner = getattr(joblib.load(path), method)
    return runner


@contextmanager
def threads_held_to(n_threads: int) -> Iterator[None]:
    """Limit BLAS, OpenMP, torch and joblib's `n_jobs=-1` in this process to `n_threads` while the block runs."""
    with ExitStack() as restore:
        # joblib reads the number of CPUs from it at each call.
        restore.enter_context(environment_set({"LOKY_MAX_CPU_COUNT": str(n_threads)}))
        if find_spec("threadpoolctl"):  # comes with scikit-learn
            from threadpoolctl import threadpool_limits

            restore.enter_context(threadpool_limits(n_threads))
        if torch := sys.modules.get("torch"):
            restore.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(n_threads)
        yield
