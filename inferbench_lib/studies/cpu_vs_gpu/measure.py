"""Measure workloads on the CPU and, where there is one, on the accelerator, batch by batch."""

from __future__ import annotations

from inferbench_lib.machine import bandwidth, gemm, limits
from inferbench_lib.measure.session import Session, plan_of
from inferbench_lib.measure.source import WarmUp
from inferbench_lib.records import Machine, Run
from inferbench_lib.studies.common import device_entries, operations, with_largest_batches
from inferbench_lib.studies.cpu_vs_gpu.params import Params
from inferbench_lib.timing.accelerator import find_accelerator
from inferbench_lib.timing.usable import usable_cpus
from inferbench_lib.work import workload


def measure(params: Params) -> Run:
    """Measure every batch size of every workload on each device, in interleaved rounds."""
    with Session("cpu_vs_gpu", params) as session:
        usable, _ = usable_cpus()
        session.progress.now("looking for an accelerator")
        found = find_accelerator(params.device)
        session.progress.now("measuring what the CPU can do at most")
        peak = _cpu_peaks(session.machine, usable)
        warmup = WarmUp(min_calls=params.warmup, max_calls=3 * params.warmup, time_limit_s=1.5)
        entries, works = [], {name: workload(name, params) for name in params.iterations}
        for name, work in works.items():
            n_samples = dict.fromkeys(params.batch_sizes, -(-params.iterations[name] // params.max_rounds))
            entries += device_entries(
                session, work, params.batch_sizes, found, usable=usable, n_samples=n_samples.__getitem__,
                memory_cap_bytes=params.memory_cap_bytes, warmup=warmup,
            )  # fmt: skip
        session.progress.expect(plan_of(params).steps(len(entries)))
        rows = with_largest_batches(entries, session.measure(entries).measurements)
        tables = {
            "operations": {name: operations(work) for name, work in works.items() if work.operators()},
            "cpu_limits": peak,
            "accelerator_reason": found.reason,
        }
        return session.finish(rows, tables, simulated=found.is_simulated)


def _cpu_peaks(machine: Machine, usable: int) -> dict[str, float]:
    """Measure the fp32 GEMM peak and the memory bandwidth of all usable CPUs, for the model's check; about 3 s."""
    peak = gemm.gemm_peaks((usable,), dtypes=("fp32",), budget_s=1.0)[0]
    points = bandwidth.bandwidths(
        (usable,), caches=machine.caches, largest_bytes=limits.QUICK_LARGEST_BYTES, budget_s=1.5
    )
    memory = bandwidth.memory_bandwidth(points)
    return {"peak_flops_per_s": peak.limit.value * 1e9, "bytes_per_s": memory.limit.value * 1e9}
