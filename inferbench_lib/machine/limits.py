"""What this machine can do, measured: every limit that a report needs, and what disturbed the measuring."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from inferbench_lib.machine.bandwidth import Bandwidth, bandwidths, largest_working_set, memory_bandwidth
from inferbench_lib.machine.calls import call_costs
from inferbench_lib.machine.gemm import GemmPeak, gemm_peaks
from inferbench_lib.machine.limit import Limit
from inferbench_lib.machine.process_cost import StartCost, start_costs
from inferbench_lib.machine.transfer import TransferCost, transfer_costs
from inferbench_lib.records import Flag, Machine, Telemetry
from inferbench_lib.timing.sampler import Sampler
from inferbench_lib.timing.telemetry import flags

QUICK_LARGEST_BYTES = 256 << 20
PARTS = ("matrix multiplication", "memory bandwidth", "process start", "transfer between processes", "calls")

Measured = TypeVar("Measured")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The measured limits; `flags` names the part that ran while the machine was busy, `telemetry` what was seen."""

    gemm: tuple[GemmPeak, ...]
    bandwidth: tuple[Bandwidth, ...]
    process_start: tuple[StartCost, ...]
    transfer: tuple[TransferCost, ...]
    calls: Mapping[str, Limit]
    flags: tuple[Flag, ...]
    telemetry: Mapping[str, Telemetry]

    @property
    def memory(self) -> Bandwidth:
        """The memory roof."""
        return memory_bandwidth(self.bandwidth)


def measure_limits(
    machine: Machine, *, budget_s: float = 40.0, on_part: Callable[[str], None] = lambda part: None
) -> Limits:
    """Every limit with one thread and with all usable CPUs; about `budget_s` seconds, at least about 8.

    Below 20 s the largest working set is 256 MiB, which a large cache may hold. `on_part` hears each of `PARTS` as
    it begins, outside every timed region. Raises MeasurementError when a measuring process fails.
    """
    thread_counts = tuple(sorted({1, machine.usable_cpus}))
    largest_bytes = largest_working_set(_available_bytes(machine), machine.caches)
    if budget_s < 20:
        largest_bytes = min(largest_bytes, QUICK_LARGEST_BYTES)
    telemetry: dict[str, Telemetry] = {}
    with Sampler() as sampler:

        def watch(name: str, measure: Callable[[], Measured]) -> Measured:
            on_part(name)
            started_s = time.monotonic()
            measured = measure()
            telemetry[name] = sampler.window(started_s, time.monotonic())
            return measured

        gemm = watch(PARTS[0], lambda: gemm_peaks(thread_counts, budget_s=0.30 * budget_s))
        bandwidth = watch(
            PARTS[1],
            lambda: bandwidths(
                thread_counts, caches=machine.caches, largest_bytes=largest_bytes, budget_s=0.35 * budget_s
            ),
        )
        process_start = watch(PARTS[2], lambda: start_costs(budget_s=0.25 * budget_s))
        transfer = watch(PARTS[3], lambda: transfer_costs(budget_s=0.05 * budget_s))
        calls = watch(PARTS[4], lambda: call_costs(budget_s=0.02 * budget_s))
    return Limits(
        gemm=gemm,
        bandwidth=bandwidth,
        process_start=process_start,
        transfer=transfer,
        calls=calls,
        flags=tuple(
            replace(flag, text=f"{name}: {flag.text}") for name, seen in telemetry.items() for flag in flags(seen)
        ),
        telemetry=telemetry,
    )


def _available_bytes(machine: Machine) -> int:
    import psutil

    free = psutil.virtual_memory().available
    return min(free, machine.memory_limit_bytes or free)
