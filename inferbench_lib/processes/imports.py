"""How long a stretch of code spends importing modules."""

from __future__ import annotations

import builtins
from time import perf_counter
from typing import Any


class ImportClock:
    """While open, adds up in `seconds` the time of the outermost imports, wherever in the code they stand.

    Frameworks are imported where they are first needed, in the middle of a factory or of unpickling; this tells
    their cost apart. One thread; `importlib.import_module` itself is not seen, the imports inside it are.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._is_inside = False

    def __enter__(self) -> ImportClock:
        self._import = builtins.__import__
        builtins.__import__ = self._timed
        return self

    def __exit__(self, *_: object) -> None:
        builtins.__import__ = self._import

    def _timed(self, *args: Any, **kwargs: Any) -> Any:
        if self._is_inside:
            return self._import(*args, **kwargs)
        self._is_inside = True
        started = perf_counter()
        try:
            return self._import(*args, **kwargs)
        finally:
            self.seconds += perf_counter() - started
            self._is_inside = False
