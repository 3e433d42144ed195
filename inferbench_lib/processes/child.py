"""Start a child process safely, serve calls in it, and end it with its parent."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from inferbench_lib.errors import ConfigError
from inferbench_lib.processes.messages import answer
from inferbench_lib.processes.spans import Start, load, now

LIFELINE = "lifeline"
"""The name of the thread that waits for the parent's end."""
ENDING_S = 0.5
"""Seconds that the threads of a pool that was just closed may take to end."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_starting = threading.Lock()


def thread_limits(n_threads: int) -> dict[str, str]:
    """Return the environment variables that limit a worker's libraries to `n_threads`; read when they are loaded."""
    libraries = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR")
    limits = {f"{library}_NUM_THREADS": str(n_threads) for library in libraries}
    # Accelerate on macOS, and what joblib takes for the number of CPUs (so that n_jobs=-1 means the worker's share).
    return limits | {"VECLIB_MAXIMUM_THREADS": str(n_threads), "LOKY_MAX_CPU_COUNT": str(n_threads)}


def start_context(start_method: str, target: Callable[..., Any]) -> BaseContext:
    """Return the context of "spawn", "fork", or "forkserver", whose server imports the module of `target` once for all.

    Raises ConfigError for another name, and for "fork" where the child could hang. A fork copies locks as they are but
    only one thread, so a copied OpenMP pool waits for threads that do not exist.
    """
    available = multiprocessing.get_all_start_methods()
    if start_method not in available:
        raise ConfigError(f"start_method: expected one of {', '.join(sorted(available))}, got {start_method!r}")
    context = multiprocessing.get_context(start_method)
    if start_method == "forkserver":
        while isinstance(target, partial):
            target = target.func
        context.set_forkserver_preload([target.__module__])
    if start_method == "fork":
        _refuse_unsafe_fork()
    return context


def _refuse_unsafe_fork() -> None:
    if sys.platform != "linux":
        raise ConfigError(
            f"start_method: expected spawn or forkserver on {sys.platform}, where fork is not safe, got fork"
        )
    deadline_s = now() + ENDING_S
    while (others := _other_threads()) > 0 and now() < deadline_s:
        time.sleep(0.01)
    if others > 0:
        raise ConfigError(
            f"start_method: expected no other thread in a process that forks, got {others} (OpenMP, OpenBLAS, torch or "
            "Python have started them); use spawn or forkserver, or set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1 "
            "before the first import"
        )


def _other_threads() -> int:
    """Count the threads beside the one that forks and the lifeline, which only waits and holds no lock."""
    ours = 1 + sum(thread.name == LIFELINE for thread in threading.enumerate())
    return len([*Path("/proc/self/task").iterdir()]) - ours


@contextmanager
def environment_set(environment: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


@contextmanager
def starting_processes(environment: Mapping[str, str]) -> Iterator[None]:
    """Let processes that start inside inherit `environment` too, with Ctrl-C blocked until they ignore it."""
    with _starting, environment_set(environment):
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def recording(context: BaseContext, children: list[BaseProcess]) -> BaseContext:
    """Return a context of the same kind that records its processes, so that one which dies at once is known too."""
    kind = type(context)
    recording = kind()

    def make(*args: Any, **options: Any) -> BaseProcess:
        child: BaseProcess = kind.Process(*args, **options)  # type: ignore[attr-defined]
        children.append(child)
        return child

    recording.Process = make  # type: ignore[attr-defined]
    return recording


def end_now(children: Iterable[BaseProcess]) -> None:
    """Kill the child processes that have not ended, even stopped ones."""
    for child in children:
        if child.pid is not None and child.is_alive():
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)  # loky's processes have no `kill`


def in_main_thread() -> bool:
    """Return whether the caller is the thread that lives as long as its process."""
    return threading.current_thread() is threading.main_thread()


def live_with_parent(started_by_main_thread: bool, lifeline: Connection | None = None) -> None:
    """End this process at once, whatever it does, when its parent ends; leave Ctrl-C to the parent.

    A thread waits for the parent's pipe to close: that of multiprocessing or, where another library starts the
    processes, `lifeline`. On Linux the kernel's death signal also ends a stopped process. The kernel sends it when the
    starting *thread* ends (prctl(2)), so it is used only where that was the parent's main thread.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if sys.platform == "linux" and started_by_main_thread:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if lifeline is not None or parent is not None:
        end = lifeline or parent.sentinel  # type: ignore[union-attr]
        threading.Thread(target=_end_after, args=(end,), daemon=True, name=LIFELINE).start()


def _end_after(parent: Connection | int) -> None:
    wait([parent])
    os._exit(1)


def serve(connection: Connection, environment: Mapping[str, str], payload: bytes, by_main_thread: bool) -> None:
    """Build the object of the pickled factory, report its `Start`, and answer calls until the parent hangs up."""
    os.environ.update(environment)  # for a fork server, whose environment is older than this worker
    live_with_parent(by_main_thread)
    made: list[Any] = []

    def build() -> Start:
        instance, start = load(payload)
        made.append(instance)
        return start

    with suppress(EOFError, ConnectionError):  # the parent's end has closed
        connection.send_bytes(answer(build))
        while made:
            connection.send_bytes(answer(_call, made[0], connection.recv_bytes()))
    for instance in made:
        getattr(instance, "close", lambda: None)()


def _call(instance: Any, request: bytes) -> Any:
    method, args = pickle.loads(request)
    return getattr(instance, method)(*args)
