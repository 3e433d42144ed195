"""Summarize readings of the host as `Telemetry`, and derive flags from it. Pure.

Every flag is an observation, its limit and what to do. The limits:
- steal above 2 %: it still shows in medians;
- load of other programs above 10 % of the usable CPUs;
- swap above 1 MiB: more than the kernel moves without memory pressure;
- any throttling by a quota or by heat;
- a GPU clock below 75 % of its default, or throttling by heat or power: both invalidate (nvbench's rule,
  `--throttle-threshold 75`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inferbench_lib.records import Flag
from inferbench_lib.timing.nvml import IDLE, THERMAL_OR_POWER
from inferbench_lib.timing.readings import Reading

STEAL_LIMIT = 0.02
OTHER_LOAD_LIMIT = 0.10
SWAP_LIMIT_BYTES = 1 << 20
GPU_CLOCK_LIMIT = 0.75
GAUGES = {
    "load_1min": max, "frequency_hz": min, "temperature_c": max, "gpu_temperature_c": max, "gpu_power_w": max,
    "gpu_clock_hz": min, "gpu_memory_bytes": max,
}  # fmt: skip
"""Values that rise and fall, with the extreme that a summary shows."""
COUNTERS = ("swap_bytes", "throttled_s", "throttled_periods", "thermal_throttle_events")
"""Values that only grow, of which a summary shows the growth."""


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """Observations from outside the measuring process, between two moments of the monotonic clock.

    A value is None where this machine does not tell it; shares are between 0 and 1. Counters (swap, throttling, steal)
    are differences over the stretch, temperatures and power its highest, clocks its lowest. `other_load_share` is the
    share of the usable CPUs that other processes took. `series` holds each gauge as it was sampled, at the moments in
    `at_s`. `reason` and `gpu_reason` say why something was not seen.
    """

    start_s: float
    end_s: float
    n_samples: int = 0
    reason: str = ""
    load_1min: float | None = None
    steal_share: float | None = None
    other_load_share: float | None = None
    own_cpus: float | None = None
    swap_bytes: int | None = None
    throttled_s: float | None = None
    throttled_periods: int | None = None
    frequency_hz: float | None = None
    temperature_c: float | None = None
    thermal_throttle_events: int | None = None
    gpu_temperature_c: float | None = None
    gpu_power_w: float | None = None
    gpu_clock_hz: float | None = None
    gpu_default_clock_hz: float | None = None
    gpu_throttle_reasons: tuple[str, ...] = ()
    gpu_memory_bytes: int | None = None
    gpu_lost: bool = False
    gpu_reason: str = ""
    series: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def select(readings: Sequence[Reading], start_s: float, end_s: float) -> tuple[Reading, ...]:
    """Return the readings between two moments, with the nearest one before and the nearest one after."""
    first = max((i for i, reading in enumerate(readings) if reading.at_s <= start_s), default=0)
    last = min((i for i, reading in enumerate(readings) if reading.at_s >= end_s), default=len(readings) - 1)
    return tuple(readings[first : last + 1])


def summarize(
    readings: Sequence[Reading], *, gpu_default_clock_hz: float | None = None, gpu_reason: str = ""
) -> Telemetry:
    """Return the telemetry of consecutive readings; counters need at least two of them, clocks a GPU that works."""
    if not readings:
        return Telemetry(start_s=0.0, end_s=0.0, reason="no reading was taken", gpu_reason=gpu_reason)
    first, last = readings[0], readings[-1]

    def grown(counter: str) -> Any:
        before, after = getattr(first, counter), getattr(last, counter)
        return None if before is None or after is None or len(readings) < 2 else after - before

    gauges = {name: [getattr(one, name) for one in readings] for name in GAUGES}
    whole = {name: tuple(values) for name, values in gauges.items() if None not in values}
    is_idle = [IDLE in one.gpu_throttle_reasons for one in readings]
    gauges["gpu_clock_hz"] = [clock for clock, idle in zip(gauges["gpu_clock_hz"], is_idle, strict=True) if not idle]
    extremes: dict[str, Any] = {
        name: extreme((value for value in gauges[name] if value is not None), default=None)
        for name, extreme in GAUGES.items()
    }
    growth = {name: grown(name) for name in COUNTERS}
    total_s, busy_s, steal_s, own_s = (grown(name) for name in ("total_s", "busy_s", "steal_s", "own_s"))
    elapsed_s = last.at_s - first.at_s
    others_s = None if busy_s is None or own_s is None else max(0.0, busy_s - own_s)
    lost_reasons = [one.gpu_lost_reason for one in readings if one.gpu_lost_reason]
    return Telemetry(
        start_s=first.at_s,
        end_s=last.at_s,
        n_samples=len(readings),
        steal_share=steal_s / total_s if steal_s is not None and total_s else None,
        other_load_share=others_s / (elapsed_s * first.n_cpus) if others_s is not None and elapsed_s else None,
        own_cpus=own_s / elapsed_s if own_s is not None and elapsed_s else None,
        gpu_default_clock_hz=gpu_default_clock_hz,
        gpu_throttle_reasons=tuple(sorted({reason for one in readings for reason in one.gpu_throttle_reasons})),
        gpu_lost=bool(lost_reasons),
        gpu_reason=lost_reasons[0] if lost_reasons else gpu_reason,
        series={"at_s": tuple(one.at_s for one in readings), **whole},
        **growth,
        **extremes,
    )


def flags(seen: Telemetry) -> tuple[Flag, ...]:
    """Return what a reader must know about a measurement that was taken under this telemetry; the GPU's invalidate."""
    steal, other_load, swap_bytes = seen.steal_share or 0.0, seen.other_load_share or 0.0, seen.swap_bytes or 0
    slowed = [reason for reason in seen.gpu_throttle_reasons if reason in THERMAL_OR_POWER]
    clock_hz, default_hz = seen.gpu_clock_hz or 0.0, seen.gpu_default_clock_hz or 0.0
    clock_share = clock_hz / default_hz if seen.gpu_clock_hz is not None and default_hz else 1.0
    rules = (
        ("steal", steal > STEAL_LIMIT,
         f"the hypervisor took {_percent(steal, 1)} of the CPU time (limit {_percent(STEAL_LIMIT)}). "
         "Run again when the host is quieter, or on a dedicated machine."),
        ("other_load", other_load > OTHER_LOAD_LIMIT,
         f"other programs used {_percent(other_load)} of the CPUs. Close them and run again."),
        ("swap", swap_bytes > SWAP_LIMIT_BYTES,
         f"{swap_bytes / 1e6:.1f} MB went through swap (limit {SWAP_LIMIT_BYTES / 1e6:.1f} MB). "
         "Free memory or use a smaller data set."),
        ("cgroup_throttled", seen.throttled_periods,
         f"the CPU quota stopped the process in {seen.throttled_periods} periods, {seen.throttled_s or 0.0:.2f} s "
         "in all (limit 0). Use fewer processes and threads, or raise the quota."),
        ("cpu_thermal", seen.thermal_throttle_events,
         f"the CPU slowed down from heat {seen.thermal_throttle_events} times (limit 0). "
         "Let it cool, and improve the cooling."),
        ("gpu_lost", seen.gpu_lost,
         f"the GPU stopped answering ({seen.gpu_reason}). Check the kernel log, then restart the machine."),
        ("gpu_throttled", slowed,
         f"the GPU throttled its clock ({', '.join(slowed)}). "
         "Improve its cooling, or lock its clock at a rate that it can hold."),
        ("gpu_clock", clock_share < GPU_CLOCK_LIMIT,
         f"the GPU ran at {clock_hz / 1e6:.0f} MHz, {_percent(clock_share)} of its default "
         f"(limit {_percent(GPU_CLOCK_LIMIT)}). Warm it up longer and check its power and temperature limits."),
    )  # fmt: skip
    return tuple(
        Flag(name=name, text=text, invalidates=name.startswith("gpu")) for name, is_seen, text in rules if is_seen
    )


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"
