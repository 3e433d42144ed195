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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inferbench_lib.records import Flag
from inferbench_lib.timing.nvml import IDLE, THERMAL_OR_POWER
from inferbench_lib.timing.readings import Reading

STEAL_LIMIT = 0.02
OTHER_LOAD_LIMIT = 0.10
SWAP_LIMIT_BYTES = 1 << 20
GPU_CLOCK_LIMIT = 0.75


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
    """Return the telemetry of consecutive readings; counters need at least two of them."""
    if not readings:
        return Telemetry(start_s=0.0, end_s=0.0, reason="no reading was taken", gpu_reason=gpu_reason)
    first, last = readings[0], readings[-1]

    def grown(counter: str) -> Any:
        before, after = getattr(first, counter), getattr(last, counter)
        return None if before is None or after is None or len(readings) < 2 else after - before

    total_s, busy_s, steal_s, own_s = (grown(name) for name in ("total_s", "busy_s", "steal_s", "own_s"))
    elapsed_s = last.at_s - first.at_s
    others_s = None if busy_s is None or own_s is None else max(0.0, busy_s - own_s)
    gpus = [reading.gpu for reading in readings if reading.gpu]
    alive = [gpu for gpu in gpus if not gpu["lost_reason"]]
    return Telemetry(
        start_s=first.at_s,
        end_s=last.at_s,
        n_samples=len(readings),
        load_1min=_most([reading.load_1min for reading in readings]),
        steal_share=steal_s / total_s if steal_s is not None and total_s else None,
        other_load_share=others_s / (elapsed_s * first.n_cpus) if others_s is not None and elapsed_s else None,
        own_cpus=own_s / elapsed_s if own_s is not None and elapsed_s else None,
        swap_bytes=grown("swap_bytes"),
        throttled_s=grown("throttled_s"),
        throttled_periods=grown("throttled_periods"),
        frequency_hz=_least([reading.frequency_hz for reading in readings]),
        temperature_c=_most([reading.temperature_c for reading in readings]),
        thermal_throttle_events=grown("thermal_throttle_events"),
        gpu_temperature_c=_most([gpu["temperature_c"] for gpu in alive]),
        gpu_power_w=_most([gpu["power_w"] for gpu in alive]),
        gpu_clock_hz=_least([gpu["sm_clock_hz"] for gpu in alive if IDLE not in gpu["throttle_reasons"]]),
        gpu_default_clock_hz=gpu_default_clock_hz,
        gpu_throttle_reasons=tuple(sorted({reason for gpu in alive for reason in gpu["throttle_reasons"]})),
        gpu_memory_bytes=_most([gpu["memory_used_bytes"] for gpu in alive]),
        gpu_lost=len(alive) < len(gpus),
        gpu_reason=next((gpu["lost_reason"] for gpu in gpus if gpu["lost_reason"]), gpu_reason),
        series=_series(readings),
    )


def flags(telemetry: Telemetry) -> tuple[Flag, ...]:
    """Return what a reader must know about a measurement that was taken under this telemetry."""
    return tuple(_flags(telemetry))


def _flags(seen: Telemetry) -> Iterator[Flag]:
    if (seen.steal_share or 0.0) > STEAL_LIMIT:
        yield Flag(
            name="steal",
            text=f"the hypervisor took {_percent(seen.steal_share, 1)} of the CPU time "
            f"(limit {_percent(STEAL_LIMIT)}). Run again when the host is quieter, or on a dedicated machine.",
        )
    if (seen.other_load_share or 0.0) > OTHER_LOAD_LIMIT:
        yield Flag(
            name="other_load",
            text=f"other programs used {_percent(seen.other_load_share)} of the CPUs. Close them and run again.",
        )
    if (swap_bytes := seen.swap_bytes or 0) > SWAP_LIMIT_BYTES:
        yield Flag(
            name="swap",
            text=f"{swap_bytes / 1e6:.1f} MB went through swap (limit {SWAP_LIMIT_BYTES / 1e6:.1f} MB). "
            "Free memory or use a smaller data set.",
        )
    if seen.throttled_periods:
        yield Flag(
            name="cgroup_throttled",
            text=f"the CPU quota stopped the process in {seen.throttled_periods} periods, "
            f"{seen.throttled_s or 0.0:.2f} s in all (limit 0). Use fewer processes and threads, or raise the quota.",
        )
    if seen.thermal_throttle_events:
        yield Flag(
            name="cpu_thermal",
            text=f"the CPU slowed down from heat {seen.thermal_throttle_events} times (limit 0). "
            "Let it cool, and improve the cooling.",
        )
    if seen.gpu_lost:
        yield Flag(
            name="gpu_lost",
            text=f"the GPU stopped answering ({seen.gpu_reason}). Check the kernel log, then restart the machine.",
            invalidates=True,
        )
    if reasons := [reason for reason in seen.gpu_throttle_reasons if reason in THERMAL_OR_POWER]:
        yield Flag(
            name="gpu_throttled",
            text=f"the GPU throttled its clock ({', '.join(reasons)}). "
            "Improve its cooling, or lock its clock at a rate that it can hold.",
            invalidates=True,
        )
    clock_hz, default_hz = seen.gpu_clock_hz, seen.gpu_default_clock_hz
    if clock_hz is not None and default_hz and clock_hz < GPU_CLOCK_LIMIT * default_hz:
        yield Flag(
            name="gpu_clock",
            text=f"the GPU ran at {clock_hz / 1e6:.0f} MHz, {_percent(clock_hz / default_hz)} of its default "
            f"(limit {_percent(GPU_CLOCK_LIMIT)}). Warm it up longer and check its power and temperature limits.",
            invalidates=True,
        )


def _series(readings: Sequence[Reading]) -> dict[str, tuple[float, ...]]:
    """Return the gauges that every reading has, in order, with the moments of the readings."""
    gauges: dict[str, list[float | None]] = {
        "load_1min": [reading.load_1min for reading in readings],
        "frequency_hz": [reading.frequency_hz for reading in readings],
        "temperature_c": [reading.temperature_c for reading in readings],
        "gpu_temperature_c": [reading.gpu.get("temperature_c") for reading in readings],
        "gpu_power_w": [reading.gpu.get("power_w") for reading in readings],
        "gpu_clock_hz": [reading.gpu.get("sm_clock_hz") for reading in readings],
    }
    whole = {name: tuple(v for v in values if v is not None) for name, values in gauges.items()}
    return {
        "at_s": tuple(reading.at_s for reading in readings),
        **{name: values for name, values in whole.items() if len(values) == len(readings)},
    }


def _percent(share: float | None, digits: int = 0) -> str:
    return f"{100 * (share or 0.0):.{digits}f} %"


def _most(values: Sequence[Any]) -> Any:
    return max((value for value in values if value is not None), default=None)


def _least(values: Sequence[Any]) -> Any:
    return min((value for value in values if value is not None), default=None)
