"""What every process of ours needs: its environment before its first import, and an end when its parent ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait

LIFELINE = "lifeline"
"""The name of the thread that waits for the parent's end."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_starting = threading.Lock()


def thread_limits(n_threads: int) -> dict[str, str]:
    """Environment variables that hold the libraries of a worker to `n_threads` threads; read when they are loaded."""
    libraries = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR")
    limits = {f"{library}_NUM_THREADS": str(n_threads) for library in libraries}
    # Accelerate on macOS, and what joblib takes for the number of CPUs (so that n_jobs=-1 means the worker's share).
    return limits | {"VECLIB_MAXIMUM_THREADS": str(n_threads), "LOKY_MAX_CPU_COUNT": str(n_threads)}


@contextmanager
def starting_processes(environment: Mapping[str, str]) -> Iterator[None]:
    """Processes started inside inherit `environment` beside ours, and Ctrl-C blocked until they ignore it."""
    with _starting:
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if sys.platform != "win32" else None
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
            if blocked is not None:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def in_main_thread() -> bool:
    """Whether the caller is the thread that lives as long as its process."""
    return threading.current_thread() is threading.main_thread()


def live_with_parent(started_by_main_thread: bool, lifeline: Connection | None = None) -> None:
    """End this process, at once and whatever it does, when its parent ends; leave Ctrl-C to the parent.

    The kernel's death signal also ends a stopped process, but it is sent when the starting *thread* ends (prctl(2)),
    so it is used only where that is the parent's main thread. Everywhere a thread waits for the parent's pipe to close:
    that of multiprocessing or, in processes of others, `lifeline`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if sys.platform == "linux" and started_by_main_thread:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = parent_process()
    if lifeline is not None or parent is not None:
        end = lifeline or parent.sentinel  # type: ignore[union-attr]
        threading.Thread(target=_end_after, args=(end,), daemon=True, name=LIFELINE).start()


def _end_after(parent: Connection | int) -> None:
    wait([parent])
    os._exit(1)
