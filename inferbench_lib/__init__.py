"""inferbench: what inference costs on this machine, why, and what to do about it.

Each question is a function (`batch_sweep`, …); the other names are what a notebook's cells call. Each is loaded when
it is first used, so that `import inferbench_lib` loads no framework.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.2.0"

QUESTIONS = sorted(path.parent.name for path in Path(__file__).parent.glob("studies/*/measure.py"))
CALLS = {"parallel_predict": "executors.predict"} | dict.fromkeys(
    ("answer", "download", "explore", "markup", "method", "parameters", "read", "show", "study", "system", "table"),
    "notebook",
)
__all__ = sorted([*QUESTIONS, *CALLS])


def __getattr__(name: str) -> Any:
    if name in QUESTIONS:
        return import_module(f"{__name__}.studies").function(name)
    if name in CALLS:
        return getattr(import_module(f"{__name__}.{CALLS[name]}"), name)
    raise AttributeError(f"{__name__} has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
