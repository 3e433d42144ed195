"""Measure every limit of this machine that a report needs, and watch for disturbances meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psutil

from inferbench_lib.errors import InferbenchError
from inferbench_lib.machine.bandwidth import Bandwidth, bandwidths, largest_working_set, memory_bandwidth
from inferbench_lib.machine.device import limits_of
from inferbench_lib.machine.gemm import GemmPeak, gemm_peaks
from inferbench_lib.machine.latency import LARGEST_BYTES, LoadLatency, latencies
from inferbench_lib.machine.limit import Limit, call_in_a_process
from inferbench_lib.machine.overheads import StartCost, TransferCost, call_costs, cells, start_costs, transfer_costs
from inferbench_lib.machine.sampler import Sampler
from inferbench_lib.records import Flag, Machine
from inferbench_lib.timing.accelerator import require_accelerator
from inferbench_lib.timing.loop import Budget
from inferbench_lib.timing.telemetry import Telemetry, flags

QUICK_LARGEST_BYTES = 256 << 20
AT_MOST_S = 90.0
"""A child process that has not answered by then is ended, and its part is not measured."""
RESERVE_S = 8.0
"""Time that process starts leave to the parts after them."""
PARTS = {
    "matrix multiplication": 0.22,
    "memory bandwidth": 0.28,
    "load latency": 0.10,
    "process start": 0.22,
    "transfer between processes": 0.05,
    "calls": 0.02,
    "device": 0.06,
}
"""The parts in the order in which they are measured, each with its share of the budget."""
NEEDED = ("matrix multiplication", "memory bandwidth", "calls")
"""Parts without which there is nothing to compare with: their errors end the run."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The measured limits, with the `telemetry` of each part and a flag for each part that was disturbed.

    `memory` is the memory roof, `device` holds the fields of DeviceLimits. `not_measured` holds the reason for each
    part, or thing in a part, without a figure.
    """

    gemm: tuple[GemmPeak, ...]
    bandwidth: tuple[Bandwidth, ...]
    memory: Bandwidth
    calls: Mapping[str, Limit]
    flags: tuple[Flag, ...]
    telemetry: Mapping[str, Telemetry]
    process_start: tuple[StartCost, ...] = ()
    transfer: tuple[TransferCost, ...] = ()
    latency: tuple[LoadLatency, ...] = ()
    device: Mapping[str, Any] | None = None
    not_measured: Mapping[str, str] = field(default_factory=dict)


def measure_limits(machine: Machine, sampler: Sampler, *, budget_s: float, on_part: Callable[[str], None]) -> Limits:
    """Measure every limit with one thread and with all usable CPUs, in about `budget_s` seconds (6 to 90).

    Below 20 s the largest working set is 256 MiB, which a large cache may hold. Probes that take seconds to prepare
    are then left out, and named in `not_measured`, like a part that fails. `on_part` gets each of `PARTS` as it begins,
    outside every timed region. Raises WrongOutput when no library multiplies correctly in fp32.
    """
    thread_counts = tuple(sorted({1, machine.usable_cpus}))
    free_bytes = psutil.virtual_memory().available
    largest_bytes = largest_working_set(min(free_bytes, machine.memory_limit_bytes or free_bytes), machine.caches)
    if budget_s < 20:
        largest_bytes = min(largest_bytes, QUICK_LARGEST_BYTES)
    sizes: dict[str, Any] = {"caches": machine.caches, "largest_bytes": largest_bytes}
    time_limit = Budget(AT_MOST_S)
    telemetry: dict[str, Telemetry] = {}
    not_measured: dict[str, str] = {}
    working: list[str] = []

    def left_s() -> float:
        return max(1.0, time_limit.left_s)

    def device(part_s: float) -> Any:
        working.append(require_accelerator().device)
        sampler.watch(*working)
        return call_in_a_process(limits_of, *working, part_s, timeout_s=left_s())

    # By the field that each fills, in the order of `PARTS`.
    measures: dict[str, Callable[[float], Any]] = {
        "gemm": lambda part_s: gemm_peaks(thread_counts, budget_s=part_s, on_refusal=not_measured.__setitem__),
        "bandwidth": lambda part_s: bandwidths(thread_counts, **sizes, budget_s=part_s),
        "latency": lambda part_s: latencies(**sizes, budget_s=part_s),
        "process_start": lambda part_s: start_costs(budget_s=part_s, timeout_s=left_s() - RESERVE_S),
        "transfer": lambda part_s: transfer_costs(budget_s=part_s, timeout_s=left_s()),
        "calls": lambda part_s: call_costs(budget_s=part_s),
        "device": device,
    }
    found: dict[str, Any] = {}
    for (name, share), (field_name, measure) in zip(PARTS.items(), measures.items(), strict=True):
        on_part(name)
        started_s = time.monotonic()
        try:
            found[field_name] = measure(min(share * min(budget_s, AT_MOST_S), left_s()))
        except (InferbenchError, OSError) as error:
            if name in NEEDED:
                raise
            not_measured[name] = str(error)
        else:
            telemetry[name] = sampler.window(started_s, time.monotonic(), *working)
    not_measured |= _unreached(found.get("process_start", ()), budget_s)
    not_measured |= _memory_latency(found.get("latency", ()), largest_bytes, budget_s)
    return Limits(
        **found,
        memory=memory_bandwidth(found["bandwidth"]),
        flags=tuple(
            replace(flag, text=f"{name}: {flag.text}") for name, seen in telemetry.items() for flag in flags(seen)
        ),
        telemetry=telemetry,
        not_measured=not_measured,
    )


def _unreached(process_start: Sequence[StartCost], budget_s: float) -> dict[str, str]:
    """Return the starts that the budget did not reach; none where the whole part failed."""
    reached = {(one.method, one.imports) for one in process_start}
    return {
        f"process start: {method} with {imports or 'nothing'}": f"the budget of {budget_s:g} s did not reach it"
        for method, imports in (cells() if reached else ())
        if (method, imports) not in reached
    }


def _memory_latency(latency: Sequence[LoadLatency], largest_bytes: int, budget_s: float) -> dict[str, str]:
    """Return the reason why memory itself has no latency; empty where it has one, or where the part failed."""
    if not latency or any(one.level in ("RAM", "unknown") for one in latency):
        return {}
    last = latency[-1]
    is_all = 4 * last.working_set_bytes > min(largest_bytes, LARGEST_BYTES)
    why = "walking a larger one would take too long" if is_all else f"the budget of {budget_s:g} s did not reach more"
    held = f"{last.level} holds the largest working set, {last.working_set_bytes / 1e6:,.3g} MB"
    return {"load latency: memory, beyond every cache": f"{held}; {why}"}
