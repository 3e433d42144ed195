"""Pickle requests for another process, and turn its answer, error or exit code into a result or a named error."""

from __future__ import annotations

import io
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from types import FunctionType
from typing import Any

from inferbench_lib.errors import ConfigError, InferbenchError, OutOfMemory, WorkerRaised


def dumps(value: Any) -> bytes:
    """Pickle `value` for another process; raises ConfigError where it was defined in a notebook cell."""
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


def answer(function: Callable[..., Any], *args: Any) -> bytes:
    """Pickle the result of `function(*args)`, or its exception; as text where the exception cannot be pickled."""
    try:
        return pickle.dumps(("returned", function(*args)), protocol=pickle.HIGHEST_PROTOCOL)
    except InferbenchError as error:
        return pickle.dumps(("ours", error))
    except Exception as error:  # sent to the parent, which raises it
        kind = "memory" if isinstance(error, MemoryError) else "raised"
        summary = "".join(traceback.format_exception_only(error)).strip()
        return pickle.dumps((kind, (summary, traceback.format_exc())))


def open_answer(answer: bytes, worker: str, task: str) -> Any:
    """Return the result; raises errors of inferbench as they are, OutOfMemory, and WorkerRaised for all others."""
    try:
        kind, content = pickle.loads(answer)
    except Exception as error:  # becomes an error of ours, never a result
        raise WorkerRaised(
            f"{worker}: expected a result of {task} that can be unpickled here, got {type(error).__name__}: {error}; "
            "return plain arrays and numbers"
        ) from error
    if kind == "returned":
        return content
    if kind == "ours":
        raise content
    summary, text = content
    if kind == "memory":
        raise OutOfMemory(f"{worker}: {task} ran out of memory ({summary}); use smaller batches or fewer processes")
    raised = WorkerRaised(f"{worker}: {task} raised {summary}")
    raised.add_note(text)
    raise raised


def how_it_ended(exit_code: int | None) -> str:
    """Explain an exit code of `multiprocessing.Process`, and say what to do about it."""
    if exit_code is None:
        return "closed its pipe and was killed; start a new one"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}; see what it printed"
    if -exit_code == signal.SIGKILL:
        return "was ended by SIGKILL, likely out of memory; use smaller batches or fewer processes"
    names = {number.value: number.name for number in signal.Signals}  # a real-time signal has none
    return f"was ended by {names.get(-exit_code, f'signal {-exit_code}')}; start a new one"
