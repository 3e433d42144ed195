"""Parallel prediction for production: one function over the shared-memory pool."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inferbench_lib.parallel.child import dumps
from inferbench_lib.parallel.pool import SharedPool
from inferbench_lib.parallel.shared_array import SharedArray

if TYPE_CHECKING:
    from inferbench_lib.parallel.executor import Runner

_BATCHES_PER_PROCESS = 4
"""Enough for a fast worker to take over from a slow one, few enough for each call to be long."""


def parallel_predict(
    model: Any, X: np.ndarray, *, n_processes: int, batch_size: int | None = None, method: str = "predict",
    timeout_s: float = 600.0,
) -> np.ndarray:  # fmt: skip
    """`model.predict(X)` by `n_processes` processes of one thread each; `method` may name `predict_proba`, say.

    `X` is `(n_rows, ...)`, the result `(n_rows, ...)` in the same order. `model` is pickled once and `X` copied once,
    into shared memory. Processes are started and ended by the call, which pays from some seconds of work on; keep a
    `SharedPool` for many calls. In a script, call it under `if __name__ == "__main__":`. Raises what `SharedPool` does.
    """
    batch_size = batch_size or max(1, -(-len(X) // (max(1, n_processes) * _BATCHES_PER_PROCESS)))
    pickled = np.frombuffer(dumps(getattr(model, method)), dtype=np.uint8)
    with SharedArray.of(pickled) as shared_model, SharedArray.of(X) as shared_rows:
        load = _LoadShared(pickled=shared_model)
        with SharedPool(load, n_processes=n_processes, timeout_s=timeout_s) as pool:
            return pool.map(shared_rows, batch_size)


@dataclass(frozen=True, kw_only=True)
class _LoadShared:
    pickled: SharedArray

    def __call__(self) -> Runner:
        runner: Runner = pickle.loads(self.pickled.array.data)
        return runner
