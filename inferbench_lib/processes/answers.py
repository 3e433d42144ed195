"""How a result or an error travels from a worker to its parent: as bytes that never fail to arrive."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from typing import Any

from inferbench_lib.errors import InferbenchError, OutOfMemory, WorkerRaised


def answer(function: Callable[..., Any], *args: Any) -> bytes:
    """The pickled result of `function(*args)`, or of what it raised; text where an exception could not be pickled."""
    try:
        return pickle.dumps(("returned", function(*args)), protocol=pickle.HIGHEST_PROTOCOL)
    except InferbenchError as error:
        return pickle.dumps(("ours", error))
    except Exception as error:  # told to the parent, which raises it
        kind = "memory" if isinstance(error, MemoryError) else "raised"
        summary = "".join(traceback.format_exception_only(error)).strip()
        return pickle.dumps((kind, (summary, traceback.format_exc())))


def open_answer(answer: bytes, worker: str, task: str) -> Any:
    """The result; errors of ours as they are, MemoryError as OutOfMemory, all others as WorkerRaised."""
    try:
        kind, content = pickle.loads(answer)
    except Exception as error:  # becomes an error of ours, never a result
        raise WorkerRaised(
            f"{worker}: expected a result of {task} that can be unpickled here, got {type(error).__name__}: {error}; "
            "return plain arrays and numbers",
            traceback.format_exc(),
        ) from error
    if kind == "returned":
        return content
    if kind == "ours":
        raise content
    summary, text = content
    if kind == "memory":
        raise OutOfMemory(f"{worker}: {task} ran out of memory ({summary}); use smaller batches or fewer processes")
    raised = WorkerRaised(f"{worker}: {task} raised {summary}", text)
    raised.add_note(text)
    raise raised
