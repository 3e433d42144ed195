"""Hold one measured limit with its range, and measure limits in a process that holds nothing yet."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferbench_lib.errors import MeasurementError

_PACKAGE_FOLDER = Path(__file__).resolve().parents[2]
_CALL = (
    "import importlib, json, sys; module, name, arguments = sys.argv[1:]; "
    "print(json.dumps(getattr(importlib.import_module(module), name)(*json.loads(arguments))))"
)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A rate that this machine reaches or a cost that it pays, with the lowest and the highest of its repeats."""

    value: float
    low: float
    high: float
    unit: str
    repeats: int


def ceiling(seconds: Sequence[float], amount: float, unit: str) -> Limit:
    """Return the highest rate: `amount` of work over the shortest time, because disturbance can only slow a repeat."""
    return _limit([amount / one for one in seconds], max, unit)


def cost(seconds: Sequence[float]) -> Limit:
    """Return the median time, in seconds."""
    return _limit(seconds, statistics.median, "s")


def least(seconds: Sequence[float]) -> Limit:
    """Return the shortest time, in seconds, for a cost that disturbance can only lengthen."""
    return _limit(seconds, min, "s")


def _limit(values: Sequence[float], chosen: Callable[[Sequence[float]], float], unit: str) -> Limit:
    return Limit(value=chosen(values), low=min(values), high=max(values), unit=unit, repeats=len(values))


def fourfold(smallest: int, largest: int) -> tuple[int, ...]:
    """Return `smallest`, and its multiples by four up to `largest`."""
    sizes = [smallest]
    while 4 * sizes[-1] <= largest:
        sizes.append(4 * sizes[-1])
    return tuple(sizes)


def call_in_a_process(function: Callable[..., Any], *arguments: Any, timeout_s: float) -> Any:
    """Return what a module's function returns in a new Python: one thread, no framework and no notebook behind it.

    Arguments and result are JSON values. Raises MeasurementError when the process fails, prints something else, or
    takes longer than `timeout_s`.
    """
    name = f"{function.__module__}.{function.__name__}"
    path = os.pathsep.join(filter(None, (str(_PACKAGE_FOLDER), os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CALL, function.__module__, function.__name__, json.dumps(arguments)],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MeasurementError(
            f"{name}: expected an answer within {timeout_s:.0f} s, got none; measure again on a quieter machine"
        ) from None
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or ["nothing on its error output"])[-1]
        raise MeasurementError(f"{name}: expected exit code 0, got {done.returncode}: {last_line}")
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise MeasurementError(f"{name}: expected JSON on its output, got {done.stdout[:40]!r}") from None
