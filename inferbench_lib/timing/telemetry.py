"""Readings of the host become `Telemetry`, and `Telemetry` becomes flags. Pure.

Every flag is an observation, its limit and what to do. Limits, and where they come from:
steal above 2 %: a spread that medians still see; other load above 10 % of the CPUs that we may run on; swap above
1 MiB: more than the kernel's own tidying; any quota throttling; any thermal throttling; a GPU clock below 75 % of
its default or a thermal or power throttle reason, which invalidates (nvbench's rule, `--throttle-threshold 75`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inferbench_lib.records import Flag, Telemetry
from inferbench_lib.timing.nvml import IDLE, THERMAL_OR_POWER
from inferbench_lib.timing.readings import Reading

STEAL_LIMIT = 0.02
OTHER_LOAD_LIMIT = 0.10
SWAP_LIMIT_BYTES = 1 << 20
GPU_CLOCK_LIMIT = 0.75


def select(readings: Sequence[Reading], start_s: float, end_s: float) -> tuple[Reading, ...]:
    """The readings between two moments, with the nearest one before and the nearest one after."""
    first = max((i for i, reading in enumerate(readings) if reading.at_s <= start_s), default=0)
    last = min((i for i, reading in enumerate(readings) if reading.at_s >= end_s), default=len(readings) - 1)
    return tuple(readings[first : last + 1])


def summarize(
    readings: Sequence[Reading], *, gpu_default_clock_hz: float | None = None, gpu_reason: str = ""
) -> Telemetry:
    """What happened over a row of readings; counters need at least two of them."""
    if not readings:
        return Telemetry(start_s=0.0, end_s=0.0, reason="no reading was taken", gpu_reason=gpu_reason)
    first, last = readings[0], readings[-1]

    def grown(read: Callable[[Reading], float | None]) -> float | None:
        before, after = read(first), read(last)
        return None if before is None or after is None or len(readings) < 2 else after - before

    total_s, busy_s, steal_s = grown(lambda r: r.total_s), grown(lambda r: r.busy_s), grown(lambda r: r.steal_s)
    own_s, elapsed_s = grown(lambda r: r.own_s), last.at_s - first.at_s
    others_s = None if busy_s is None or own_s is None else max(0.0, busy_s - own_s)
    swap_bytes, periods = grown(lambda r: r.swap_bytes), grown(lambda r: r.throttled_periods)
    events = grown(lambda r: r.thermal_throttle_events)
    gpus = [reading.gpu for reading in readings if reading.gpu]
    alive = [gpu for gpu in gpus if not gpu["lost_reason"]]
    memory = _most([gpu["memory_used_bytes"] for gpu in alive])
    return Telemetry(
        start_s=first.at_s,
        end_s=last.at_s,
        n_samples=len(readings),
        load_1min=_most([reading.load_1min for reading in readings]),
        steal_share=steal_s / total_s if steal_s is not None and total_s else None,
        other_load_share=others_s / (elapsed_s * first.n_cpus) if others_s is not None and elapsed_s else None,
        own_cpus=own_s / elapsed_s if own_s is not None and elapsed_s else None,
        swap_bytes=None if swap_bytes is None else int(swap_bytes),
        throttled_s=grown(lambda r: r.throttled_s),
        throttled_periods=None if periods is None else int(periods),
        frequency_hz=_least([reading.frequency_hz for reading in readings]),
        temperature_c=_most([reading.temperature_c for reading in readings]),
        thermal_throttle_events=None if events is None else int(events),
        gpu_temperature_c=_most([gpu["temperature_c"] for gpu in alive]),
        gpu_power_w=_most([gpu["power_w"] for gpu in alive]),
        gpu_clock_hz=_least([gpu["sm_clock_hz"] for gpu in alive if IDLE not in gpu["throttle_reasons"]]),
        gpu_default_clock_hz=gpu_default_clock_hz,
        gpu_throttle_reasons=tuple(sorted({reason for gpu in alive for reason in gpu["throttle_reasons"]})),
        gpu_memory_bytes=None if memory is None else int(memory),
        gpu_lost=len(alive) < len(gpus),
        gpu_reason=next((gpu["lost_reason"] for gpu in gpus if gpu["lost_reason"]), gpu_reason),
        series=_series(readings),
    )


def flags(telemetry: Telemetry) -> tuple[Flag, ...]:
    """What a reader must know about a measurement that was taken under this telemetry."""
    rules = (_steal, _other_load, _swap, _throttled, _hot_cpu, _gpu_lost, _gpu_throttled, _gpu_clock)
    return tuple(flag for rule in rules if (flag := rule(telemetry)) is not None)


def _steal(seen: Telemetry) -> Flag | None:
    if seen.steal_share is None or seen.steal_share <= STEAL_LIMIT:
        return None
    return Flag(
        name="steal",
        text=f"the hypervisor took {seen.steal_share:.1%} of the CPU time (limit {STEAL_LIMIT:.0%}): "
        "measure again when the host is quieter, or on a machine of your own",
    )


def _other_load(seen: Telemetry) -> Flag | None:
    if seen.other_load_share is None or seen.other_load_share <= OTHER_LOAD_LIMIT:
        return None
    return Flag(
        name="other_load",
        text=f"other processes took {seen.other_load_share:.0%} of the CPUs (limit {OTHER_LOAD_LIMIT:.0%}): "
        "close them and measure again",
    )


def _swap(seen: Telemetry) -> Flag | None:
    if seen.swap_bytes is None or seen.swap_bytes <= SWAP_LIMIT_BYTES:
        return None
    return Flag(
        name="swap",
        text=f"{seen.swap_bytes / 1e6:.1f} MB went through swap (limit {SWAP_LIMIT_BYTES / 1e6:.1f} MB): "
        "free memory or use a smaller data set",
    )


def _throttled(seen: Telemetry) -> Flag | None:
    if not seen.throttled_periods:
        return None
    return Flag(
        name="cgroup_throttled",
        text=f"the CPU quota stopped the process in {seen.throttled_periods} periods, {seen.throttled_s or 0.0:.2f} s "
        "in all (limit 0): use fewer processes and threads, or raise the quota",
    )


def _hot_cpu(seen: Telemetry) -> Flag | None:
    if not seen.thermal_throttle_events:
        return None
    return Flag(
        name="cpu_thermal",
        text=f"the CPU slowed down from heat {seen.thermal_throttle_events} times (limit 0): "
        "let it cool, and improve the cooling",
    )


def _gpu_lost(seen: Telemetry) -> Flag | None:
    if not seen.gpu_lost:
        return None
    return Flag(
        name="gpu_lost",
        text=f"the GPU stopped answering ({seen.gpu_reason}): look into the kernel's log, then restart the machine",
        invalidates=True,
    )


def _gpu_throttled(seen: Telemetry) -> Flag | None:
    reasons = [reason for reason in seen.gpu_throttle_reasons if reason in THERMAL_OR_POWER]
    if not reasons:
        return None
    return Flag(
        name="gpu_throttled",
        text=f"the GPU held its clock down ({', '.join(reasons)}): "
        "improve its cooling, or lock its clock where it can be held",
        invalidates=True,
    )


def _gpu_clock(seen: Telemetry) -> Flag | None:
    clock_hz, default_hz = seen.gpu_clock_hz, seen.gpu_default_clock_hz
    if clock_hz is None or not default_hz or clock_hz >= GPU_CLOCK_LIMIT * default_hz:
        return None
    return Flag(
        name="gpu_clock",
        text=f"the GPU ran at {clock_hz / 1e6:.0f} MHz, {clock_hz / default_hz:.0%} of its default "
        f"(limit {GPU_CLOCK_LIMIT:.0%}): warm it up longer and check its power and temperature limits",
        invalidates=True,
    )


def _series(readings: Sequence[Reading]) -> dict[str, tuple[float, ...]]:
    """Gauges that every reading has, in order, with their moments."""
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


def _most(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _least(values: Sequence[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)
