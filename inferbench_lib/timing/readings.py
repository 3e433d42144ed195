"""Read the host once: counters and gauges of `/proc` and `/sys` at this moment.

Readers take a root folder, parsers take text; a value that the machine does not provide is None. Counters only grow:
`telemetry` takes the difference of two readings.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inferbench_lib.timing.nvml import GpuReading
from inferbench_lib.timing.procfs import read_number, read_text
from inferbench_lib.timing.usable import throttling

# hwmon names and thermal zone types of CPU sensors (Linux: Documentation/hwmon, drivers/thermal).
CPU_SENSORS = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal"})
CPU_ZONES = frozenset({"x86_pkg_temp", "cpu-thermal", "cpu_thermal", "soc_thermal"})


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The host at `at_s` of the system-wide monotonic clock, and its watched GPUs by torch's names for them.

    `total_s`, `busy_s` and `steal_s` (taken by the hypervisor) are CPU seconds since boot, `own_s` those of the process
    tree that is watched.
    """

    at_s: float
    n_cpus: int = 0
    load_1min: float | None = None
    total_s: float | None = None
    busy_s: float | None = None
    steal_s: float | None = None
    own_s: float | None = None
    swap_bytes: int | None = None
    throttled_s: float | None = None
    throttled_periods: int | None = None
    frequency_hz: float | None = None
    temperature_c: float | None = None
    thermal_throttle_events: int | None = None
    gpus: Mapping[str, GpuReading] = field(default_factory=dict)


def read_host(pid: int, root: Path = Path("/")) -> Reading:
    """Return the state of the host, and the CPU seconds of the process tree below `pid`."""
    cpus = _allowed_cpus(pid)
    load = read_text(root / "proc/loadavg").split()
    heat = _numbers(root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count"))
    return Reading(
        at_s=time.monotonic(),
        n_cpus=len(cpus) or os.cpu_count() or 1,
        load_1min=float(load[0]) if load else None,
        **parse_cpu_times(read_text(root / "proc/stat"), cpus, os.sysconf("SC_CLK_TCK")),
        own_s=read_tree_cpu_s(pid, root),
        swap_bytes=parse_swap_bytes(read_text(root / "proc/vmstat"), os.sysconf("SC_PAGE_SIZE")),
        **throttling(root),
        frequency_hz=read_frequency_hz(root, cpus),
        temperature_c=read_temperature_c(root),
        thermal_throttle_events=sum(heat) if heat else None,
    )


def parse_cpu_times(stat: str, cpus: Iterable[int], ticks_per_s: int) -> dict[str, Any]:
    """Return the times of `/proc/stat`, summed over `cpus` (all where it is empty). User time includes guest time."""
    wanted = {f"cpu{cpu}" for cpu in cpus} or {"cpu"}
    rows = [[int(word) for word in line.split()[1:9]] for line in stat.splitlines() if line.split(" ", 1)[0] in wanted]
    if not rows:
        return {}
    padded = (row + [0] * (8 - len(row)) for row in rows)
    user, nice, system, idle, iowait, irq, softirq, steal = (sum(column) for column in zip(*padded, strict=True))
    busy = user + nice + system + irq + softirq
    ticks = {"total_s": busy + idle + iowait + steal, "busy_s": busy, "steal_s": steal}
    return {name: n_ticks / ticks_per_s for name, n_ticks in ticks.items()}


def parse_swap_bytes(vmstat: str, page_bytes: int) -> int | None:
    """Return the bytes swapped out and in since boot, from `/proc/vmstat`."""
    words = dict(line.split(None, 1) for line in vmstat.splitlines() if " " in line)
    if "pswpin" not in words or "pswpout" not in words:
        return None
    return (int(words["pswpin"]) + int(words["pswpout"])) * page_bytes


def parse_process_cpu_s(stat: str, ticks_per_s: int) -> float:
    """Return the CPU seconds of a process and of its reaped children, from `/proc/<pid>/stat`."""
    after_name = stat.rpartition(")")[2].split()  # the name may hold blanks and parentheses
    return sum(int(after_name[field_number - 3]) for field_number in (14, 15, 16, 17)) / ticks_per_s


def read_tree_cpu_s(pid: int, root: Path = Path("/")) -> float | None:
    """Return the CPU seconds of a process and all its descendants; None when the process is gone."""
    stat = read_text(root / f"proc/{pid}/stat")
    if not stat:
        return None
    children = [int(pid) for path in root.glob(f"proc/{pid}/task/*/children") for pid in read_text(path).split()]
    own_s = parse_process_cpu_s(stat, os.sysconf("SC_CLK_TCK"))
    return own_s + sum(read_tree_cpu_s(child, root) or 0.0 for child in children)


def read_frequency_hz(root: Path, cpus: Iterable[int]) -> float | None:
    """Return the highest current clock among `cpus`: idle CPUs are slow, so the fastest is a busy one."""
    clocks_khz = _numbers(root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in cpus)
    return max(clocks_khz) * 1e3 if clocks_khz else None


def read_temperature_c(root: Path) -> float | None:
    """Return the temperature of the hottest CPU sensor."""
    sensors = (
        sensor
        for monitor in root.glob("sys/class/hwmon/hwmon*")
        if read_text(monitor / "name") in CPU_SENSORS
        for sensor in monitor.glob("temp*_input")
    )
    zones = (
        zone / "temp" for zone in root.glob("sys/class/thermal/thermal_zone*") if read_text(zone / "type") in CPU_ZONES
    )
    millidegrees = _numbers((*sensors, *zones))
    return max(millidegrees) / 1e3 if millidegrees else None


def _numbers(paths: Iterable[Path]) -> list[int]:
    """Read the files that hold a number."""
    return [number for path in paths if (number := read_number(path)) is not None]


def _allowed_cpus(pid: int) -> tuple[int, ...]:
    if not hasattr(os, "sched_getaffinity"):
        return ()
    try:
        return tuple(sorted(os.sched_getaffinity(pid)))
    except ProcessLookupError:
        return ()
