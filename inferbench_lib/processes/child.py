"""The worker's side of a `Remote`: build the object, then answer calls. It imports nothing but what it is asked for."""

from __future__ import annotations

import io
import os
import pickle
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from types import FunctionType
from typing import Any

from inferbench_lib.errors import ConfigError
from inferbench_lib.executors.executor import now
from inferbench_lib.processes.answers import answer
from inferbench_lib.processes.imports import ImportClock
from inferbench_lib.processes.lifeline import live_with_parent


def serve(connection: Connection, environment: Mapping[str, str], payload: bytes, by_main_thread: bool) -> None:
    """Build what `payload` makes, tell how long that took, answer calls until the parent's end of the pipe closes."""
    first_line_s, start_cpu_s = now(), time.process_time()
    os.environ.update(environment)  # for a fork server, whose environment is older than this worker
    live_with_parent(by_main_thread)
    made: list[Any] = []

    def build() -> tuple[float, float, float, float, float]:
        with ImportClock() as imports:
            made.append(pickle.loads(payload)())
        return first_line_s, imports.seconds, now(), start_cpu_s, time.process_time() - start_cpu_s

    with suppress(EOFError, ConnectionError):  # the parent's end has closed
        connection.send_bytes(answer(build))
        while made:
            connection.send_bytes(answer(_call, made[0], connection.recv_bytes()))
    for instance in made:
        getattr(instance, "close", lambda: None)()


def dumps(value: Any) -> bytes:
    """`value` pickled for another process; ConfigError where it was defined in a notebook cell."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type | FunctionType) and value.__module__ == "__main__" and not _can_import_main():
            raise ConfigError(
                f"`{value.__qualname__}`: expected something that another process can import, got a definition in a "
                f"notebook cell or a prompt; move `{value.__qualname__}` into a module and import it"
            )
        return NotImplemented


def _can_import_main() -> bool:
    main = sys.modules["__main__"]
    return hasattr(main, "__file__") or getattr(main, "__spec__", None) is not None


def _call(instance: Any, request: bytes) -> Any:
    method, args = pickle.loads(request)
    return getattr(instance, method)(*args)
