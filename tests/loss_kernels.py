"""Importable models whose cost is known: CPU seconds a row, sleep, memory traffic."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Runner = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Burning:
    """Gives each row's first column; a row costs `cpu_s` CPU seconds, and the batch that holds row 0 also sleeps."""

    cpu_s: float
    sleep_s: float = 0.0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        end_s = time.thread_time() + self.cpu_s * len(rows)
        while time.thread_time() < end_s:
            pass
        if rows[0, 0] == 0:
            time.sleep(self.sleep_s)
        return np.array(rows[:, 0])


@dataclass(frozen=True, kw_only=True)
class LoadBurning:
    """A `load_runner`; all processes that call it share one CPU where `is_pinned`."""

    cpu_s: float
    sleep_s: float = 0.0
    is_pinned: bool = False

    def __call__(self) -> Runner:
        if self.is_pinned:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        return Burning(cpu_s=self.cpu_s, sleep_s=self.sleep_s)


def stream(rows: np.ndarray) -> np.ndarray:
    """Bound by memory: reads the batch four times and does next to nothing with it."""
    total: np.ndarray = rows.sum(axis=1)
    for factor in (2.0, 3.0, 4.0):
        total += factor * rows.sum(axis=1)
    return total


def load_stream() -> Runner:
    return stream


class SlowToPickle(np.ndarray):
    """Rows of which every piece takes `seconds` to pickle: a transfer of known cost."""

    seconds = 0.15

    def __reduce__(self) -> Any:
        time.sleep(self.seconds)
        return np.asarray(self).__reduce__()
