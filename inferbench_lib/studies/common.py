"""Make the cells of a workload's calls, and complete their rows: shared by the studies that measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from typing import Any

from inferbench_lib.errors import MeasurementError
from inferbench_lib.measure.bench import Bench
from inferbench_lib.measure.calls import Calls, pool_size
from inferbench_lib.measure.host import Host
from inferbench_lib.measure.rounds import Entry
from inferbench_lib.measure.session import Session
from inferbench_lib.measure.source import WarmUp
from inferbench_lib.records import CPU, LARGEST_BATCH, Case, Measurement, Outcome
from inferbench_lib.timing.accelerator import Found
from inferbench_lib.timing.usable import oversubscription_flag
from inferbench_lib.work.base import Engine, Workload
from inferbench_lib.work.engines import ENGINES


def engines_for(workload: Workload, names: Sequence[str] = ()) -> list[type[Engine]]:
    """Return the engines of these names that can load a workload; without names, its own library's."""
    return [engine for name in names or (workload.engine,) if workload.kind in (engine := ENGINES[name]).kinds]


def places(workload: Workload, found: Found, engines: Sequence[str] = ()) -> list[tuple[type[Engine], str]]:
    """List each engine that loads a workload, on the CPU and on the accelerator that was found."""
    accelerators = [found.accelerator.device] if found.accelerator else []
    return [
        (engine, device)
        for engine in engines_for(workload, engines)
        for device in (CPU, *(accelerators if engine.on_devices else ()))
    ]


def calls_host(
    session: Session,
    workload: Workload,
    engine: type[Engine],
    device: str,
    *,
    largest_batch: int,
    n_threads: int,
    memory_cap_bytes: int | None = None,
) -> Host:
    """Start a process for a workload's calls by one engine on one device."""
    source = Calls(workload=workload, engine=engine, n_pool=pool_size(workload, largest_batch, engine), device=device)
    bench = partial(Bench, source, memory_cap_bytes=None if device == CPU else memory_cap_bytes)
    name = f"{workload.name} by {engine.name} on {device}"
    return session.host(bench, name, n_threads=n_threads, environment=engine.environment)


def device_entries(
    session: Session,
    workload: Workload,
    batch_sizes: Sequence[int],
    found: Found,
    *,
    usable: int,
    engines: Sequence[str] = (),
    n_samples: Callable[[int], int],
    memory_cap_bytes: int | None = None,
    warmup: WarmUp | None = None,
) -> list[Entry]:
    """Return the cells of a workload by each engine that loads it, on the CPU and on the accelerator that was found."""
    session.progress.now(f"preparing {workload.name}, its inputs and references")
    entries = []
    for engine, device in places(workload, found, engines):
        n_threads = engine.threads(usable)
        host = calls_host(
            session, workload, engine, device, largest_batch=max(batch_sizes), n_threads=n_threads,
            memory_cap_bytes=memory_cap_bytes,
        )  # fmt: skip
        case = Case(workload=workload.name, engine=engine.name, device=device, batch_size=0, n_threads=n_threads)
        entries += [
            Entry(case=replace(case, batch_size=n), host=host, n_samples=n_samples(n), warmup=warmup or WarmUp())
            for n in batch_sizes
        ]
    return entries


def samples_a_turn(inputs_a_turn: int, batch_size: int) -> int:
    """Return the calls in one turn: small batches are called often enough for their tails, large ones twice."""
    return max(2, min(40, inputs_a_turn // batch_size))


def flagged(row: Measurement, usable: int) -> Measurement:
    """Flag a row whose workers want more CPUs than are usable."""
    flag = oversubscription_flag(row.case.n_processes, row.case.n_threads, usable)
    return row if flag is None else replace(row, flags=(*row.flags, flag))


def operations(workload: Workload) -> list[Mapping[str, Any]]:
    """Return a workload's operators as they are stored: FLOPs per image, bytes per call and per image."""
    stored = {"flops": "flops_per_image", "bytes_per_input": "bytes_per_image"}
    return [{stored.get(name, name): value for name, value in asdict(of).items()} for of in workload.operators()]


def with_largest_batches(entries: Sequence[Entry], rows: Sequence[Measurement]) -> list[Measurement]:
    """Return the rows; one that was out of memory on a device says which batch is the largest that fits there."""
    hosts = {entry.case: entry.host for entry in entries}

    @cache
    def what_fits(alike: Case) -> tuple[str, dict[str, float]]:
        beside = [row for row in rows if replace(row.case, batch_size=0) == alike]
        lost = min((row.case for row in beside if row.outcome is Outcome.OOM), key=lambda case: case.batch_size)
        fitted = [row.case.batch_size for row in beside if row.samples_s]
        low = max((size for size in fitted if size < lost.batch_size), default=1)
        try:
            largest = hosts[lost].call("largest_batch", lost, low, lost.batch_size) or 0
        except MeasurementError as error:
            return f"the largest batch that fits was not found: {error}", {}
        words = f"the largest batch that fits is {largest}" if largest else "not even one input fits"
        return words, {LARGEST_BATCH: largest}

    def told(row: Measurement) -> Measurement:
        if row.outcome is not Outcome.OOM or row.case.device == CPU:
            return row
        words, figures = what_fits(replace(row.case, batch_size=0))
        return replace(row, reason=f"{row.reason}; {words}", figures={**row.figures, **figures})

    return [told(row) for row in rows]
