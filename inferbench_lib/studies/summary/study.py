"""What a run recommends: what to do, the figure that says so, and the limits under which it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from inferbench_lib.records import Advice, Run, Verdict
from inferbench_lib.report import studies
from inferbench_lib.report.words import compared, digits, interval, joined, plural, ratio, seconds, size
from inferbench_lib.stats.comparison import rank
from inferbench_lib.studies.batch_sweep.study import SweepStudy
from inferbench_lib.studies.cpu_multiprocess.names import NAMES
from inferbench_lib.studies.cpu_multiprocess.study import MultiprocessStudy
from inferbench_lib.studies.cpu_vs_gpu.study import DeviceStudy

Runs = Mapping[str, Run]
WORKLOADS = {"forest": "the forest", "cnn-small": "the small network", "cnn-medium": "the medium network",
             "cnn-large": "the large network"}  # fmt: skip


def recommendations(runs: Runs) -> list[Advice]:
    """One for each notebook that compares ways of working; what was not measured is named, not recommended."""
    return [advise(runs[name]) for name, advise in _ADVISERS.items() if name in runs]


def _processes(run: Run) -> Advice:
    said: MultiprocessStudy = studies.study(run)
    limits = f"this machine, {run.params['n_samples']:,} rows a call, outputs checked ({said.verification.word})"
    ranking = rank([said.cells[name] for name, r in said.ratios.items() if r.verdict is Verdict.FASTER])
    if ranking is not None and said.verification.passed:
        best = ranking.best.case.executor
        found = said.ratios[best]
        return Advice(
            recommendation=f"use {NAMES[best]} for the forest: {ratio(found)} the speed of one process",
            evidence=f"compared within {plural(found.n_rounds, 'round')}, with a 95 % interval",
            limits=limits,
        )
    known = {name: r for name, r in said.ratios.items() if r.verdict is not Verdict.INVALID}
    closest = max(known, key=lambda name: known[name].value) if known else None
    return Advice(
        recommendation="stay with one process for the forest",
        evidence="no other way was shown to be faster"
        + (f"; {compared(known[closest], NAMES[closest], 'one process')}" if closest else ""),
        limits=limits,
    )


def _batches(run: Run) -> Advice:
    said: SweepStudy = studies.study(run)
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


def _devices(run: Run) -> Advice:
    said: DeviceStudy = studies.study(run)
    found = {name: r for name in said.sizes() if (r := said.speedup(name)) is not None}
    usable = {name: r for name, r in found.items() if r.verdict is not Verdict.INVALID}
    if said.accelerator is None or not usable:
        reason = str(run.tables["accelerator_reason"]).removeprefix("no accelerator: ")
        reasons = dict.fromkeys(r.reason for r in found.values())
        return Advice(
            recommendation="keep the networks on the processor, since no GPU "
            + ("was measured" if said.accelerator is None else "gave a figure to compare"),
            evidence=f"the reason: {joined(reasons) or reason or 'no batch ran on both devices'}",
            limits="this machine as it is now",
        )
    found = usable
    gains = [name for name, r in found.items() if r.verdict is Verdict.FASTER]
    where = said.accelerator if gains else "the processor"
    return Advice(
        recommendation=f"run {joined(f'the {name} network' for name in gains or found)} on {where}: "
        + joined(ratio(found[name]) for name in gains or found)
        + " the speed of the processor",
        evidence="; ".join(
            compared(r, f"the {name} network", "the processor") for name, r in found.items() if name not in gains
        )
        or f"each compared within {plural(min(r.n_rounds for r in found.values()), 'round')}, with a 95 % interval",
        limits="this pair of devices, each at its best batch",
    )


_ADVISERS: Mapping[str, Callable[[Run], Advice]] = {
    "cpu_multiprocess": _processes,
    "batch_sweep": _batches,
    "cpu_vs_gpu": _devices,
}


def _workload(workload: str, device: str) -> str:
    where = "" if device == "cpu" else f" on {device}"
    return f"{WORKLOADS.get(workload, workload)}{where}"
