"""inferbench: what inference costs on this machine, why, and what to do about it.

What notebooks and users call; each name loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "cpu_multiprocess": "studies.cpu_multiprocess.measure",
    "cpu_vs_gpu": "studies.cpu_vs_gpu.measure",
    "batch_sweep": "studies.batch_sweep.measure",
    "hardware_analysis": "studies.hardware_analysis.measure",
    "calibration": "studies.calibration.measure",
    "compare": "studies.compare.measure",
    "explore": "report.explore",
    "parameters": "config",
    "executors.predict": "parallel.predict",
    "answer": "report.display",
    "show": "report.display",
    "table": "report.display",
    "read": "report.display",
    "markup": "report.display",
    "download": "report.display",
    "stored_run": "store",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"inferbench_lib has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"inferbench_lib.{_HOMES[name]}"), name)
