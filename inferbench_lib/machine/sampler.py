"""Take telemetry from outside the measuring process: a small process of its own reads the host at intervals."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from dataclasses import replace
from functools import partial

from inferbench_lib.errors import NotAvailable, WorkerError
from inferbench_lib.processes.remote import Remote
from inferbench_lib.records import CPU
from inferbench_lib.timing.nvml import GpuProbe, open_device
from inferbench_lib.timing.readings import Reading, read_host
from inferbench_lib.timing.telemetry import Telemetry, select, summarize, within

KEPT_READINGS = 100_000


class Sampler:
    """A watch on the host, this process and its children, while it is open.

    `with Sampler() as sampler: sampler.watch("cuda:0"); …; telemetry = sampler.window(start_s, end_s, "cuda:0")`, the
    moments from `time.monotonic()`. Ask between timed regions, never inside one.
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

    def watch(self, device: str) -> None:
        """Read the GPU of torch's name `device` too, from now on."""
        with suppress(WorkerError):  # every later window gives the reason
            self._watcher.call("watch", device)

    def window(self, start_s: float, end_s: float, device: str = CPU) -> Telemetry:
        """Return the telemetry between two moments of `time.monotonic()`, widened to the readings around them.

        The GPU that work ran on is part of it where `device` names one. It has no readings, but a reason, when the
        watching process has ended.
        """
        try:
            telemetry: Telemetry = self._watcher.call("window", start_s, end_s, device)
        except WorkerError as error:
            return Telemetry(start_s=start_s, end_s=end_s, reason=str(error))
        return telemetry


class Watcher:
    """The watching process's side: a thread reads the host, and the process tree below `pid`, every `interval_s`."""

    def __init__(self, pid: int, interval_s: float) -> None:
        self._pid, self._interval_s = pid, interval_s
        self._probes: dict[str, GpuProbe] = {}
        self._reasons: dict[str, str] = {}
        self._readings: deque[Reading] = deque(maxlen=KEPT_READINGS)
        self._reading = threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    def watch(self, device: str) -> None:
        """Add a device to the GPUs that each reading holds; where it cannot be read, its windows give the reason."""
        try:
            self._probes = {**self._probes, device: open_device(device)}
        except NotAvailable as error:
            self._reasons[device] = str(error)

    def window(self, start_s: float, end_s: float, device: str = CPU) -> Telemetry:
        """Return the telemetry between two moments, with a new reading at the end."""
        self._read()
        readings = select(list(self._readings), start_s, end_s)
        if device == CPU:
            return summarize(readings)
        probe = self._probes.get(device)
        return summarize(
            readings,
            gpu=within(readings, device, start_s, end_s),
            gpu_default_clock_hz=probe.gpu.default_clock_hz if probe else None,
            gpu_reason="" if probe else self._reasons.get(device, f"{device}: nobody asked for it"),
        )

    def _watch(self) -> None:
        waiting = threading.Event()
        while not waiting.wait(self._interval_s):
            self._read()

    def _read(self) -> None:
        with self._reading:
            gpus = {device: probe.read() for device, probe in self._probes.items()}
            self._readings.append(replace(read_host(self._pid), gpus=gpus))
