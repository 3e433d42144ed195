"""Take telemetry from outside the measuring process: a small process of its own reads the host at intervals.

That process runs this same file: `python -m inferbench_lib.timing.sampler <pid> <interval_s> <gpu> <main|other>`.
`pid` is its parent, the process that it watches; the last word is the parent's thread that started it. A line
`[start_s, end_s]` on its standard input is answered with one JSON line: the readings between those moments, with a new
one at the end. It ends when its input closes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import ClassVar

from inferbench_lib.errors import MeasurementError, NotAvailable
from inferbench_lib.timing.nvml import GpuProbe, open_gpu
from inferbench_lib.timing.readings import Reading, read_host
from inferbench_lib.timing.telemetry import Telemetry, select, summarize

KEPT_READINGS = 100_000
_PACKAGE_FOLDER = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Watcher:
    """The watching process, as its parent sees it."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.settings, self.owner_pid, self.n_users = settings, os.getpid(), 0
        self._asking = threading.Lock()
        thread = "main" if threading.current_thread() is threading.main_thread() else "other"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "inferbench_lib.timing.sampler", str(os.getpid()), *settings.values(), thread],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_with_package_path(os.environ),
        )

    def ask(self, start_s: float, end_s: float) -> str:
        """Return the answer to one question, empty when the process has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self._asking:
            try:
                self.process.stdin.write(json.dumps([start_s, end_s]) + "\n")
                self.process.stdin.flush()
                return self.process.stdout.readline()
            except BrokenPipeError:
                return ""

    def why_ended(self) -> str:
        """Return the exit code and the last line of the error output."""
        last_line = (self.process.stderr.read().splitlines() if self.process.stderr else [])[-1:]
        return ": ".join((f"the watching process ended with exit code {self.process.wait()}", *last_line))


class Sampler:
    """A watch on the host, this process and its children, while it is open.

    `with Sampler() as sampler: …; telemetry = sampler.window(start_s, end_s)`, the moments from
    `time.monotonic()`. Ask between timed regions, never inside one. `gpu` is an NVML index or, safer, a UUID.
    One watching process serves all samplers that this process has open; they must have the same settings.
    """

    _running: ClassVar[Watcher | None] = None
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, *, interval_s: float = 0.5, gpu: int | str = 0) -> None:
        self._settings = {"interval_s": str(interval_s), "gpu": str(gpu)}
        self._watcher: Watcher | None = None

    def __enter__(self) -> Sampler:
        with Sampler._opening:
            running = Sampler._running
            if running is None or running.owner_pid != os.getpid():  # a forked child has its parent's in memory
                running = Sampler._running = Watcher(self._settings)
            elif running.settings != self._settings:
                raise MeasurementError(
                    f"sampler: expected the settings of the open one ({_listed(running.settings)}), "
                    f"got {_listed(self._settings)}; close that one first"
                )
            running.n_users += 1
        self._watcher = running
        self.window(0.0, 0.0)  # answered once it reads
        return self

    def __exit__(self, *_: object) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is None:
            return
        with Sampler._opening:
            watcher.n_users -= 1
            if watcher.n_users:
                return
            Sampler._running = None
        watcher.process.kill()
        watcher.process.communicate()

    @property
    def pid(self) -> int | None:
        """The watching process, None while the sampler is not open."""
        return None if self._watcher is None else self._watcher.process.pid

    def window(self, start_s: float, end_s: float) -> Telemetry:
        """Return the telemetry between two moments of `time.monotonic()`, widened to the readings around them.

        It has no readings, but a reason, when the watching process has ended.
        """
        if self._watcher is None:
            return Telemetry(start_s=start_s, end_s=end_s, reason="the sampler is not open")
        answer = self._watcher.ask(start_s, end_s)
        if not answer:
            return Telemetry(start_s=start_s, end_s=end_s, reason=self._watcher.why_ended())
        found, gpu_default_clock_hz, gpu_reason = json.loads(answer)
        readings = [Reading(**reading) for reading in found]
        return summarize(readings, gpu_default_clock_hz=gpu_default_clock_hz, gpu_reason=gpu_reason)


def _listed(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _with_package_path(environment: Mapping[str, str]) -> dict[str, str]:
    inherited = environment.get("PYTHONPATH")
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, (str(_PACKAGE_FOLDER), inherited)))}


def watch(pid: int, interval_s: float, gpu: str, thread: str) -> None:
    """Read the host every `interval_s` seconds, and answer questions, until standard input closes."""
    _end_with_parent(pid, started_by_main_thread=thread == "main")
    probe, gpu_reason = _open_gpu(gpu)
    default_clock_hz = None if probe is None else probe.gpu.default_clock_hz
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_forward_input, args=(lines,), daemon=True).start()
    readings: deque[Reading] = deque(maxlen=KEPT_READINGS)
    while True:
        readings.append(_read(pid, probe))
        try:
            line = lines.get(timeout=interval_s)
        except Empty:
            continue
        if not line:
            return
        readings.append(_read(pid, probe))
        start_s, end_s = json.loads(line)
        found = [reading.as_dict() for reading in select(list(readings), start_s, end_s)]
        print(json.dumps([found, default_clock_hz, gpu_reason]), flush=True)


def _end_with_parent(parent_pid: int, *, started_by_main_thread: bool) -> None:
    """On Linux, let the kernel kill this process when its parent ends; leave Ctrl-C to the parent.

    The kernel watches the *thread* that started this process (see prctl(2)), so it is asked only where that is the
    parent's main thread. Everywhere the end of standard input ends this process too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "linux" or not started_by_main_thread:
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it ended before the kernel was asked
        os._exit(1)


def _forward_input(lines: SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


def _open_gpu(gpu: str) -> tuple[GpuProbe | None, str]:
    try:
        return open_gpu(int(gpu) if gpu.isdigit() else gpu), ""
    except NotAvailable as error:
        return None, str(error)


def _read(pid: int, probe: GpuProbe | None) -> Reading:
    reading = read_host(pid)
    return reading if probe is None else replace(reading, gpu=asdict(probe.read()))


if __name__ == "__main__":
    watch(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4])
