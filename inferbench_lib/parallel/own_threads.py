"""The CPUs that there are for threads, and holding this very process to few, as workers are from their start."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

from inferbench_lib.timing.cgroup import cpu_quota


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


def usable_cpus() -> int:
    """Under affinity and quota, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, int(cpu_quota() or allowed)))


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
