"""Telemetry from outside the measuring process: a small process of its own reads the host at intervals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from inferbench_lib.records import Telemetry
from inferbench_lib.timing.readings import Reading
from inferbench_lib.timing.telemetry import summarize

_PACKAGE_FOLDER = Path(__file__).resolve().parents[2]


class Sampler:
    """Watches the host, this process and its children while it is open.

    `with Sampler() as sampler: …; telemetry = sampler.window(start_s, end_s)`, the moments from
    `time.monotonic()`. Ask between timed regions, never inside one. `gpu` is an NVML index or, surer, a UUID.
    """

    def __init__(self, *, interval_s: float = 0.5, gpu: int | str = 0) -> None:
        self._interval_s, self._gpu = interval_s, gpu
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Sampler:
        thread = "main" if threading.current_thread() is threading.main_thread() else "other"
        arguments = [str(os.getpid()), str(self._interval_s), str(self._gpu), thread]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "inferbench_lib.timing.observer", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_with_package_path(os.environ),
        )
        self.window(0.0, 0.0)  # answered once it reads
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    @property
    def pid(self) -> int | None:
        """The watching process, None while it is not open."""
        return None if self._process is None else self._process.pid

    def window(self, start_s: float, end_s: float) -> Telemetry:
        """What was seen between two moments of `time.monotonic()`, widened to the readings around them.

        Telemetry without readings, with its reason, when the watching process has ended.
        """
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return Telemetry(start_s=start_s, end_s=end_s, reason="the sampler is not open")
        try:
            process.stdin.write(json.dumps([start_s, end_s]) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            return Telemetry(start_s=start_s, end_s=end_s, reason=_why_ended(process))
        found, gpu_default_clock_hz, gpu_reason = json.loads(answer)
        readings = [Reading(**reading) for reading in found]
        return summarize(readings, gpu_default_clock_hz=gpu_default_clock_hz, gpu_reason=gpu_reason)


def _why_ended(process: subprocess.Popen[str]) -> str:
    last_line = (process.stderr.read().splitlines() if process.stderr else [])[-1:]
    return ": ".join((f"the watching process ended with exit code {process.wait()}", *last_line))


def _with_package_path(environment: Mapping[str, str]) -> dict[str, str]:
    inherited = environment.get("PYTHONPATH")
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, (str(_PACKAGE_FOLDER), inherited)))}
