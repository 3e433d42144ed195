"""inferbench: what inference costs on this machine, why, and what to do about it.

Each question is a function (`batch_sweep`, …); the other names are for the cells of a notebook. Every name is imported
on first use, so `import inferbench_lib` loads no framework.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.2.0"

QUESTIONS = sorted(path.parent.name for path in Path(__file__).parent.glob("studies/*/measure.py"))
_CALLS = {
    "executors.predict": ("parallel_predict",),
    "report.display": ("answer", "download", "markup", "read", "show", "table"),
    "report.explore": ("explore",),
    "report.page_parts": ("method", "system"),
    "studies": ("parameters", "study"),
}
_HOME = {name: module for module, names in _CALLS.items() for name in names}
__all__ = sorted([*QUESTIONS, *_HOME])


def __getattr__(name: str) -> Any:
    if name in QUESTIONS:
        return import_module(f"{__name__}.studies").function(name)
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"{__name__} has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
