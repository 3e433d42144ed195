"""Measure in a process that holds nothing yet: one thread, no framework, no notebook behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from inferbench_lib.errors import MeasurementError

_PACKAGE_FOLDER = Path(__file__).resolve().parents[2]


def answer_of(module: str, *arguments: str, timeout_s: float) -> Any:
    """The JSON that `python -m <module> <arguments>` prints.

    Raises MeasurementError when it fails, prints something else, or takes longer than `timeout_s`.
    """
    path = os.pathsep.join(filter(None, (str(_PACKAGE_FOLDER), os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MeasurementError(
            f"{module}: expected an answer within {timeout_s:.0f} s, got none; measure again on a quieter machine"
        ) from None
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or ["nothing on its error output"])[-1]
        raise MeasurementError(f"{module}: expected exit code 0, got {done.returncode}: {last_line}")
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise MeasurementError(f"{module}: expected JSON on its output, got {done.stdout[:40]!r}") from None
