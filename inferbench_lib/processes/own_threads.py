"""Holding this very process to few threads for a while, as workers are held from their start."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec


@contextmanager
def threads_held_to(n_threads: int) -> Iterator[None]:
    """BLAS, OpenMP, torch and joblib's `n_jobs=-1` use `n_threads` here while the block runs; then what they had."""
    with ExitStack() as restore:
        # What joblib takes for the number of CPUs whenever it is asked.
        restore.callback(_set_variable, "LOKY_MAX_CPU_COUNT", os.environ.get("LOKY_MAX_CPU_COUNT"))
        _set_variable("LOKY_MAX_CPU_COUNT", str(n_threads))
        if find_spec("threadpoolctl"):  # comes with scikit-learn
            from threadpoolctl import threadpool_limits

            restore.enter_context(threadpool_limits(n_threads))
        if torch := sys.modules.get("torch"):
            restore.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(n_threads)
        yield


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
