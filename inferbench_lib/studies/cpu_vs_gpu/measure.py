"""`cpu_vs_gpu`: from parameters to a stored run."""

from __future__ import annotations

from functools import partial

from inferbench_lib.machine import bandwidth, gemm, limits
from inferbench_lib.measure.benches import WarmUp
from inferbench_lib.measure.rounds import Entry
from inferbench_lib.measure.session import Session
from inferbench_lib.measure.variants import CnnBench
from inferbench_lib.records import Machine, Run
from inferbench_lib.studies.common import cnn_case, with_largest_batches
from inferbench_lib.studies.cpu_vs_gpu.params import Params
from inferbench_lib.timing.accelerator import find_accelerator
from inferbench_lib.timing.usable import usable_cpus
from inferbench_lib.work.cnn import Cnn, n_parameters, operators


def measure(cfg: Params) -> Run:
    """The networks on the processor and, where there is one, on the accelerator; batch by batch."""
    iterations = {"small": cfg.iterations, "medium": cfg.iterations_medium, "large": cfg.iterations_large}
    with Session("cpu_vs_gpu", cfg) as session:
        usable, _ = usable_cpus()
        session.progress.now("looking for an accelerator")
        found = find_accelerator(cfg.device)
        on = ["cpu"] + ([found.accelerator.device] if found.accelerator else [])
        session.progress.expect(len(cfg.sizes) * len(on) * len(cfg.batch_sizes) * (1 + cfg.max_rounds))
        session.progress.now("measuring what the processor can do at most")
        peak = _processor_peaks(session.machine, usable)
        entries = []
        for size in cfg.sizes:
            cnn = Cnn(size=size, seed=cfg.seed)
            session.progress.now(f"preparing the {size} network's reference")
            cnn.reference()
            share = -(-iterations[size] // cfg.max_rounds)
            least = max(1, round(cfg.warmup * iterations[size] / cfg.iterations))
            warmup = WarmUp(min_calls=least, max_calls=3 * cfg.warmup, time_limit_s=1.5)
            for device in on:
                factory = partial(CnnBench, cnn, device, usable, cfg.memory_cap_bytes)
                host = session.host(factory, f"{cnn.name} on {device}", n_threads=usable)
                entries += [
                    Entry(case=cnn_case(cnn, device, batch, usable), host=host, n_samples=share, warmup=warmup)
                    for batch in cfg.batch_sizes
                ]
        rows = with_largest_batches(entries, session.measure(entries).measurements)
        tables = {
            "parameters": {size: n_parameters(size) for size in cfg.sizes},
            "operations": {size: operators(size) for size in cfg.sizes},
            "cpu_limits": peak,
            "accelerator_reason": found.reason,
        }
        return session.finish(
            rows,
            tables,
            simulated=found.is_simulated,
        )


def _processor_peaks(machine: Machine, usable: int) -> dict[str, float]:
    """The fp32 GEMM peak and the memory bandwidth of all usable CPUs, for the model's check; about 3 s."""
    peak = gemm.gemm_peaks((usable,), dtypes=("fp32",), budget_s=1.0)[0]
    points = bandwidth.bandwidths(
        (usable,), caches=machine.caches, largest_bytes=limits.QUICK_LARGEST_BYTES, budget_s=1.5
    )
    memory = bandwidth.memory_bandwidth(points)
    return {"peak_flops_per_s": peak.limit.value * 1e9, "bytes_per_s": memory.limit.value * 1e9}
