"""Summarize readings of the host as `Telemetry`, and derive flags from it. Pure.

Every flag is an observation, its limit and what to do. The limits:
- steal above 2 %: it still shows in medians;
- load of other programs above 10 % of the usable CPUs;
- swap above 1 MiB: more than the kernel moves without memory pressure;
- any throttling by a quota or by heat;
- a GPU clock below 75 % of its default for no known reason, or throttling by heat or the board: both invalidate what
  ran on that GPU meanwhile (nvbench's rule, `--throttle-threshold 75`).
A watch that ended is a flag too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inferbench_lib.records import Flag
from inferbench_lib.timing.nvml import EXPLAINED, SLOWED, GpuReading
from inferbench_lib.timing.readings import Reading

STEAL_LIMIT = 0.02
OTHER_LOAD_LIMIT = 0.10
SWAP_LIMIT_BYTES = 1 << 20
GPU_CLOCK_LIMIT = 0.75
NOT_WATCHED = "not_watched"
INVALIDATING = ("gpu_lost", "gpu_throttled", "gpu_clock")
GAUGES = ("load_1min", "frequency_hz", "temperature_c")
GPU_GAUGES = ("temperature_c", "power_w", "clock_hz", "memory_bytes")
"""Values that rise and fall, of which a summary keeps each one."""
COUNTERS = ("swap_bytes", "throttled_s", "throttled_periods", "thermal_throttle_events")
"""Values that only grow, of which a summary keeps the growth."""


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """Observations from outside the measuring process, between two moments of the monotonic clock.

    What this machine does not tell is None or left out; shares are between 0 and 1. `other_load_share` is the share of
    the usable CPUs that other processes took. `grown` holds the growth of each counter, `series` each gauge as it was
    sampled, at the moments in `at_s`. Only what ran on a GPU has its figures; `gpu_clock_hz` is its highest clock,
    without the moments at which it had a known reason to be slow. `reason` and `gpu_reason` say why something was not
    seen.
    """

    start_s: float
    end_s: float
    reason: str = ""
    steal_share: float | None = None
    other_load_share: float | None = None
    own_cpus: float | None = None
    grown: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    gpu_clock_hz: float | None = None
    gpu_default_clock_hz: float | None = None
    gpu_throttle_reasons: tuple[str, ...] = ()
    gpu_lost: bool = False
    gpu_reason: str = ""


def select(readings: Sequence[Reading], start_s: float, end_s: float) -> tuple[Reading, ...]:
    """Return the readings between two moments, with the nearest one before and the nearest one after."""
    first = max((i for i, reading in enumerate(readings) if reading.at_s <= start_s), default=0)
    last = min((i for i, reading in enumerate(readings) if reading.at_s >= end_s), default=len(readings) - 1)
    return tuple(readings[first : last + 1])


def within(readings: Sequence[Reading], device: str, start_s: float, end_s: float) -> tuple[GpuReading, ...]:
    """Return a GPU's part of each reading, empty before and after the stretch: there it may have been idle."""
    nothing = GpuReading()
    return tuple(one.gpus.get(device, nothing) if start_s <= one.at_s <= end_s else nothing for one in readings)


def summarize(
    readings: Sequence[Reading],
    *,
    gpu: Sequence[GpuReading] = (),
    gpu_default_clock_hz: float | None = None,
    gpu_reason: str = "",
) -> Telemetry:
    """Return the telemetry of consecutive readings and of a GPU at the same moments; counters need two of them."""
    if not readings:
        return Telemetry(start_s=0.0, end_s=0.0, reason="no reading was taken", gpu_reason=gpu_reason)
    first, last = readings[0], readings[-1]

    def grown(counter: str) -> Any:
        before, after = getattr(first, counter), getattr(last, counter)
        return None if before is None or after is None or len(readings) < 2 else after - before

    total_s, busy_s, steal_s, own_s = (grown(name) for name in ("total_s", "busy_s", "steal_s", "own_s"))
    elapsed_s = last.at_s - first.at_s
    others_s = None if busy_s is None or own_s is None else max(0.0, busy_s - own_s)
    series = {name: tuple(getattr(one, name) for one in readings) for name in ("at_s", *GAUGES)}
    series |= {f"gpu_{name}": tuple(getattr(one, name) for one in gpu) for name in GPU_GAUGES}
    clocks_hz = [one.clock_hz for one in gpu if EXPLAINED.isdisjoint(one.throttle_reasons)]
    lost_reasons = [one.lost_reason for one in gpu if one.lost_reason]
    return Telemetry(
        start_s=first.at_s,
        end_s=last.at_s,
        steal_share=steal_s / total_s if steal_s is not None and total_s else None,
        other_load_share=others_s / (elapsed_s * first.n_cpus) if others_s is not None and elapsed_s else None,
        own_cpus=own_s / elapsed_s if own_s is not None and elapsed_s else None,
        grown={name: growth for name in COUNTERS if (growth := grown(name)) is not None},
        series={name: values for name, values in series.items() if any(value is not None for value in values)},
        gpu_clock_hz=max((clock for clock in clocks_hz if clock is not None), default=None),
        gpu_default_clock_hz=gpu_default_clock_hz,
        gpu_throttle_reasons=tuple(sorted({reason for one in gpu for reason in one.throttle_reasons})),
        gpu_lost=bool(lost_reasons),
        gpu_reason=lost_reasons[0] if lost_reasons else gpu_reason,
    )


def flags(seen: Telemetry) -> tuple[Flag, ...]:
    """Return what a reader must know about a measurement that was taken under this telemetry; the GPU's invalidate."""
    steal, other_load = seen.steal_share or 0.0, seen.other_load_share or 0.0
    swap_bytes, throttled_s, n_throttled, n_hot = (seen.grown.get(name, 0) for name in COUNTERS)
    slowed = [reason for reason in seen.gpu_throttle_reasons if reason in SLOWED]
    clock_hz, default_hz = seen.gpu_clock_hz, seen.gpu_default_clock_hz
    clock_share = 1.0 if clock_hz is None or not default_hz else clock_hz / default_hz
    rules = (
        (NOT_WATCHED, seen.reason,
         f"not watched: {seen.reason}. Nobody knows what else this machine did meanwhile."),
        ("steal", steal > STEAL_LIMIT,
         f"the hypervisor took {_percent(steal, 1)} of the CPU time (limit {_percent(STEAL_LIMIT)}). "
         "Run again when the host is quieter, or on a dedicated machine."),
        ("other_load", other_load > OTHER_LOAD_LIMIT,
         f"other programs used {_percent(other_load)} of the CPUs. Close them and run again."),
        ("swap", swap_bytes > SWAP_LIMIT_BYTES,
         f"{swap_bytes / 1e6:.1f} MB went through swap (limit {SWAP_LIMIT_BYTES / 1e6:.1f} MB). "
         "Free memory or use a smaller data set."),
        ("cgroup_throttled", n_throttled,
         f"the CPU quota stopped the process in {n_throttled} periods, {throttled_s:.2f} s "
         "in all (limit 0). Use fewer processes and threads, or raise the quota."),
        ("cpu_thermal", n_hot,
         f"the CPU slowed down from heat {n_hot} times (limit 0). "
         "Let it cool, and improve the cooling."),
        ("gpu_lost", seen.gpu_lost,
         f"the GPU stopped answering ({seen.gpu_reason}). Check the kernel log, then restart the machine."),
        ("gpu_throttled", slowed,
         f"the GPU throttled its clock ({', '.join(slowed)}). "
         "Improve its cooling, or lock its clock at a rate that it can hold."),
        ("gpu_clock", clock_share < GPU_CLOCK_LIMIT,
         f"the GPU ran at {(clock_hz or 0.0) / 1e6:.0f} MHz, {_percent(clock_share)} of its default "
         f"(limit {_percent(GPU_CLOCK_LIMIT)}). Warm it up longer and check its power and temperature limits."),
    )  # fmt: skip
    return tuple(
        Flag(name=name, text=text, invalidates=name in INVALIDATING) for name, is_seen, text in rules if is_seen
    )


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"
