"""Measure latency, throughput and memory against batch size, for every workload, engine, device and thread count."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from inferbench_lib.errors import InferbenchError
from inferbench_lib.measure.host import Host
from inferbench_lib.measure.rounds import Entry
from inferbench_lib.measure.session import Session, plan_of
from inferbench_lib.measure.source import WarmUp
from inferbench_lib.records import CPU, Case, Measurement, Run
from inferbench_lib.studies.batch_sweep.best import IDLE, MEMORY
from inferbench_lib.studies.batch_sweep.params import Params
from inferbench_lib.studies.batch_sweep.search import calls_a_turn, tried
from inferbench_lib.studies.common import calls_host, flagged, places, with_largest_batches
from inferbench_lib.timing.accelerator import find_accelerator
from inferbench_lib.timing.memory import PeakMemory, memory_of_tree
from inferbench_lib.timing.usable import usable_cpus
from inferbench_lib.work import workload
from inferbench_lib.work.base import Engine, Workload

SCREENING = WarmUp(min_calls=3, max_calls=3)
WARM_UP = WarmUp(min_calls=3, max_calls=10, time_limit_s=0.5)
MEMORY_S = 0.3
"""Seconds of calls during which memory is sampled."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The cells of one workload by one engine on one device, in one process; `start` begins another like it."""

    start: Callable[[], Host]
    host: Host
    cases: tuple[Case, ...]
    batch_sizes: tuple[int, ...]


def measure(params: Params) -> Run:
    """Try the batch sizes, then measure them in interleaved rounds, then the memory of each."""
    with Session("batch_sweep", params) as session:
        usable, _ = usable_cpus()
        session.progress.now("looking for an accelerator")
        found = find_accelerator(params.device)
        session.progress.now("preparing inputs and references")
        opened = [
            _open(session, params, work, engine, device, usable)
            for work in (workload(name, params) for name in params.batch_sizes)
            for engine, device in places(work, found, params.engines)
        ]
        cells = [(place, entry) for place in opened for entry in _entries(session, params, place)]
        for place in opened:
            place.host.renew()
        entries = [entry for _, entry in cells]
        session.progress.expect(plan_of(params).steps(len(entries)) + params.measure_memory * len(entries))
        rows = with_largest_batches(entries, session.measure(entries).measurements)
        if params.measure_memory:
            rows = [_with_memory(session, place, row) for (place, _), row in zip(cells, rows, strict=True)]
        rows = [flagged(row, usable) for row in rows]
        return session.finish(rows, {"accelerator_reason": found.reason}, simulated=found.is_simulated)


def _open(session: Session, params: Params, work: Workload, engine: type[Engine], device: str, usable: int) -> Place:
    """Start the process of a workload by one engine on one device; its usual number of threads comes first."""
    sizes, usual = params.batch_sizes[work.name], engine.threads(usable)
    threads = tuple(params.threads or dict.fromkeys((usual, 1, usable))) if device == CPU else (usual,)

    def start() -> Host:
        return calls_host(
            session, work, engine, device, largest_batch=max(sizes), n_threads=max(threads),
            memory_cap_bytes=params.memory_cap_bytes,
        )  # fmt: skip

    alike = Case(workload=work.name, engine=engine.name, device=device, batch_size=0)
    cases = tuple(replace(alike, n_threads=n) for n in threads)
    return Place(start=start, host=start(), cases=cases, batch_sizes=tuple(sorted(sizes)))


def _entries(session: Session, params: Params, place: Place) -> list[Entry]:
    """Try the batch sizes of a place and some near the limit on latency; return the cells to measure.

    What fails here is tried again in the rounds, whose rows say why.
    """

    def seconds_of(alike: Case, batch_size: int) -> float | None:
        case = replace(alike, batch_size=batch_size)
        session.progress.now(f"trying {case}")
        try:
            return float(median(place.host.call("prepare", case, SCREENING)))
        except InferbenchError:
            return None

    with suppress(InferbenchError):
        place.host.call("start")
    entries = []
    for alike in place.cases:
        seconds = tried(place.batch_sizes, params.max_latency_s, partial(seconds_of, alike))
        for size in sorted({*place.batch_sizes, *seconds}):
            n_samples = calls_a_turn(
                seconds.get(size), limit_s=params.max_latency_s, percentile=params.latency_percentile,
                min_rounds=params.min_rounds, time_limit_s=params.time_limit_s,
            )  # fmt: skip
            case = replace(alike, batch_size=size)
            entries.append(Entry(case=case, host=place.host, n_samples=n_samples, warmup=WARM_UP))
    return entries


def _with_memory(session: Session, place: Place, row: Measurement) -> Measurement:
    """Measure the memory of a batch on the CPU, idle and at its peak, in a process that has run no other.

    A device tells the memory of each of its cells itself.
    """
    session.progress.step()
    if row.case.device != CPU or not row.samples_s:
        return row
    n_calls = max(1, math.ceil(MEMORY_S / median(row.samples_s)))
    host = place.start()
    session.progress.now(f"memory of {row.case}")
    try:
        host.call("start")
        idle = memory_of_tree(host.pid)
        with PeakMemory(host.pid) as peak:
            host.call("prepare", row.case, WarmUp(min_calls=n_calls, max_calls=n_calls))
    except InferbenchError as error:
        return replace(row, notes={**row.notes, MEMORY: f"not measured: {error}"})
    finally:
        host.close()
    return replace(row, peak_memory_bytes=peak.n_bytes, figures={**row.figures, IDLE: idle})
