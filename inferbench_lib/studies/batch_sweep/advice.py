"""Say which batch size to take under the stated limits."""

from __future__ import annotations

from inferbench_lib.records import Advice
from inferbench_lib.report.words import digits, interval, joined, seconds, size
from inferbench_lib.studies.batch_sweep.study import SweepStudy

WORKLOADS = {"forest": "the forest", "cnn-small": "the small network", "cnn-medium": "the medium network",
             "cnn-large": "the large network"}  # fmt: skip


def advise(said: SweepStudy) -> Advice:
    """Recommend the best batch of each workload under the stated limits."""
    named = said.named
    limits = [
        *([f"latency of at most {seconds(said.max_latency_s)}"] if said.max_latency_s is not None else []),
        *([f"memory of at most {size(said.max_memory_bytes)}"] if said.max_memory_bytes is not None else []),
    ]
    holds = f"a {joined(limits)}" if limits else "no limit on latency or memory was stated"
    if not named:
        return Advice(recommendation="name no batch size yet", evidence="no batch kept the limits", limits=holds)
    return Advice(
        recommendation="use batches of "
        + joined(f"{best.batch_size:,} for {_workload(*series)}" for series, best in named.items()),
        evidence="; ".join(
            f"{_workload(*series)} {digits(rate.value)} inputs/s ({interval(rate.low, rate.high)})"
            for series, best in named.items()
            if (rate := best.throughput_per_s)
        ),
        limits=holds,
    )


def _workload(workload: str, device: str) -> str:
    where = "" if device == "cpu" else f" on {device}"
    return f"{WORKLOADS.get(workload, workload)}{where}"
