"""The process that watches: `python -m inferbench_lib.timing.observer <pid> <interval_s> <gpu> <main|other>`.

`pid` is its parent, the process that is watched; the last word is the thread of it that started this one.

It takes a reading every `interval_s` seconds. A line `[start_s, end_s]` on its standard input is answered with one
JSON line: the readings between those moments, a fresh one at the end. It ends when its input closes.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from dataclasses import asdict, replace
from queue import Empty, SimpleQueue

from inferbench_lib.errors import NotAvailable
from inferbench_lib.timing.nvml import GpuProbe, open_gpu
from inferbench_lib.timing.parent import end_with_parent
from inferbench_lib.timing.readings import Reading, read_host
from inferbench_lib.timing.telemetry import select

KEPT_READINGS = 100_000


def main(pid: int, interval_s: float, gpu: str, thread: str) -> None:
    """Reads until standard input closes."""
    end_with_parent(pid, started_by_main_thread=thread == "main")
    probe, gpu_reason = _open(gpu)
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


def _forward_input(lines: SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


def _open(gpu: str) -> tuple[GpuProbe | None, str]:
    try:
        return open_gpu(int(gpu) if gpu.isdigit() else gpu), ""
    except NotAvailable as error:
        return None, str(error)


def _read(pid: int, probe: GpuProbe | None) -> Reading:
    reading = read_host(pid)
    return reading if probe is None else replace(reading, gpu=asdict(probe.read()))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4])
