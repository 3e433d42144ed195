"""Take telemetry from outside the measuring process: a small process of its own reads the host at intervals.

That process runs this same file: `python -m inferbench_lib.timing.sampler <pid> <interval_s> <main|other>`.
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
from dataclasses import asdict, replace
from pathlib import Path
from queue import Empty, SimpleQueue

from inferbench_lib.errors import NotAvailable
from inferbench_lib.timing.nvml import GpuProbe, open_gpu
from inferbench_lib.timing.readings import Reading, read_host
from inferbench_lib.timing.telemetry import Telemetry, select, summarize

KEPT_READINGS = 100_000
_PACKAGE_FOLDER = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Sampler:
    """A watch on the host, this process and its children, while it is open.

    `with Sampler() as sampler: …; telemetry = sampler.window(start_s, end_s)`, the moments from
    `time.monotonic()`. Ask between timed regions, never inside one.
    """

    def __init__(self, *, interval_s: float = 0.5) -> None:
        self._interval_s = interval_s
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Sampler:
        thread = "main" if threading.current_thread() is threading.main_thread() else "other"
        path = os.pathsep.join(filter(None, (str(_PACKAGE_FOLDER), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "inferbench_lib.timing.sampler", str(os.getpid()), str(self._interval_s), thread],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
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
        """The watching process, None while the sampler is not open."""
        return None if self._process is None else self._process.pid

    def window(self, start_s: float, end_s: float) -> Telemetry:
        """Return the telemetry between two moments of `time.monotonic()`, widened to the readings around them.

        It has no readings, but a reason, when the watching process has ended.
        """
        process = self._process
        if process is None:
            return Telemetry(start_s=start_s, end_s=end_s, reason="the sampler is not open")
        assert process.stdin is not None
        assert process.stdout is not None
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


def watch(pid: int, interval_s: float, thread: str) -> None:
    """Read the host every `interval_s` seconds, and answer questions, until standard input closes."""
    _end_with_parent(pid, started_by_main_thread=thread == "main")
    probe, gpu_reason, default_clock_hz = None, "", None
    try:
        probe = open_gpu()
        default_clock_hz = probe.gpu.default_clock_hz
    except NotAvailable as error:
        gpu_reason = str(error)
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
        found = [asdict(reading) for reading in select(list(readings), start_s, end_s)]
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


def _read(pid: int, probe: GpuProbe | None) -> Reading:
    reading = read_host(pid)
    return reading if probe is None else replace(reading, **probe.read())


if __name__ == "__main__":
    watch(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
