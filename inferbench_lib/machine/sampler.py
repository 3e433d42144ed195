"""Take telemetry from outside the measuring process: a small process of its own reads the host at intervals."""

from __future__ import annotations

import os
import threading
from collections import deque
from dataclasses import replace
from functools import partial

from inferbench_lib.errors import NotAvailable, WorkerError
from inferbench_lib.processes.remote import Remote
from inferbench_lib.timing.nvml import GpuProbe, open_gpu
from inferbench_lib.timing.readings import Reading, read_host
from inferbench_lib.timing.telemetry import Telemetry, select, summarize

KEPT_READINGS = 100_000


class Sampler:
    """A watch on the host, this process and its children, while it is open.

    `with Sampler() as sampler: …; telemetry = sampler.window(start_s, end_s)`, the moments from
    `time.monotonic()`. Ask between timed regions, never inside one.
    """

    _watcher: Remote  # there once it is open

    def __init__(self, *, interval_s: float = 0.5) -> None:
        self._interval_s = interval_s

    def __enter__(self) -> Sampler:
        self._watcher = Remote(partial(Watcher, os.getpid(), self._interval_s), name="telemetry", timeout_s=60.0)
        self.window(0.0, 0.0)  # answered once it reads
        return self

    def __exit__(self, *_: object) -> None:
        self._watcher.close()

    def window(self, start_s: float, end_s: float) -> Telemetry:
        """Return the telemetry between two moments of `time.monotonic()`, widened to the readings around them.

        It has no readings, but a reason, when the watching process has ended.
        """
        try:
            telemetry: Telemetry = self._watcher.call("window", start_s, end_s)
        except WorkerError as error:
            return Telemetry(start_s=start_s, end_s=end_s, reason=str(error))
        return telemetry


class Watcher:
    """The watching process's side: a thread reads the host, and the process tree below `pid`, every `interval_s`."""

    def __init__(self, pid: int, interval_s: float) -> None:
        self._pid, self._interval_s = pid, interval_s
        self._probe: GpuProbe | None = None
        self._gpu_reason = ""
        try:
            self._probe = open_gpu()
        except NotAvailable as error:
            self._gpu_reason = str(error)
        self._readings: deque[Reading] = deque(maxlen=KEPT_READINGS)
        self._reading = threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    def window(self, start_s: float, end_s: float) -> Telemetry:
        """Return the telemetry between two moments, with a new reading at the end."""
        self._read()
        return summarize(
            select(list(self._readings), start_s, end_s),
            gpu_default_clock_hz=None if self._probe is None else self._probe.gpu.default_clock_hz,
            gpu_reason=self._gpu_reason,
        )

    def _watch(self) -> None:
        waiting = threading.Event()
        while not waiting.wait(self._interval_s):
            self._read()

    def _read(self) -> None:
        with self._reading:
            reading = read_host(self._pid)
            self._readings.append(reading if self._probe is None else replace(reading, **self._probe.read()))
