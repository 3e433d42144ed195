"""Time the first import of a framework in a process."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable


def import_s(module: str, read_ns: Callable[[], int] = time.perf_counter_ns) -> float | None:
    """Return the seconds to import a module for the first time in this process; None when it is loaded already."""
    if module in sys.modules:
        return None
    started_ns = read_ns()
    importlib.import_module(module)
    return (read_ns() - started_ns) / 1e9
