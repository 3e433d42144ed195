"""How a process of a pool comes to be: spawned anew, forked from a server that has imported already, or forked."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from inferbench_lib.errors import ConfigError
from inferbench_lib.processes.lifeline import LIFELINE

ENDING_S = 0.5
"""How long a thread of a pool that was closed just now may take to be gone."""


def start_context(start_method: str, preload: Sequence[str] = ()) -> BaseContext:
    """The context of "spawn", "forkserver" (its server imports `preload` when the first process starts) or "fork".

    Raises ConfigError for another name, and for "fork" where the copy could hang: a fork copies locks as they are, but
    of all threads only the one that forks, so a copied OpenMP pool waits for threads that are not there.
    """
    available = multiprocessing.get_all_start_methods()
    if start_method not in available:
        raise ConfigError(f"start_method: expected one of {', '.join(sorted(available))}, got {start_method!r}")
    context = multiprocessing.get_context(start_method)
    if start_method == "forkserver":
        context.set_forkserver_preload([*preload])
    if start_method == "fork":
        _refuse_unsafe_fork()
    return context


def module_of(function: Callable[..., Any]) -> str:
    """The module that a process must import to have `function`, which may be partial."""
    while isinstance(function, partial):
        function = function.func
    return function.__module__


def _refuse_unsafe_fork() -> None:
    if sys.platform != "linux":
        raise ConfigError(
            f"start_method: expected spawn or forkserver on {sys.platform}, where fork is not safe, got fork"
        )
    deadline_s = time.monotonic() + ENDING_S
    while (others := _other_threads()) > 0 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    if others > 0:
        raise ConfigError(
            f"start_method: expected no other thread in a process that forks, got {others} (OpenMP, OpenBLAS, torch or "
            "Python have started them); use spawn or forkserver, or set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1 "
            "before the first import"
        )


def _other_threads() -> int:
    """Threads beside the one that forks and the lifeline, which only waits and holds no lock."""
    ours = 1 + sum(thread.name == LIFELINE for thread in threading.enumerate())
    return len([*Path("/proc/self/task").iterdir()]) - ours
