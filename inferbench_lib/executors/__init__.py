"""The executors, found by listing this folder: a new file with a named `Executor` changes no other file.

Classes without a `name` are bases of others. Listing loads no framework: executors import those where they need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from inferbench_lib.executors.base import Executor


@cache
def listed() -> Mapping[str, type[Executor]]:
    """Return every executor by its name, in alphabetical order."""
    modules = [import_module(f"{__name__}.{path.stem}") for path in Path(__file__).parent.glob("[!_]*.py")]
    values = [value for module in modules for value in vars(module).values()]
    kinds = {value for value in values if isinstance(value, type) and issubclass(value, Executor) and value.name}
    return {kind.name: kind for kind in sorted(kinds, key=lambda kind: kind.name)}
