"""Break the wall time of a parallel run down into named parts, and the rest that no span explains.

Each worker's timeline consists of the spans that it recorded and the idle time between them. A part is its seconds
summed over the workers, divided by their number. The parts and the unexplained rest therefore add up to the wall time
exactly. Where workers outnumber the CPUs, compute counts as the CPUs can do it: a CPU that is not there is no loss.
Idle time counts as what the parent did meanwhile: a worker without work while the parent pickles the data waits for the
data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

from inferbench_lib.findings import Breakdown, Part
from inferbench_lib.records import Case, Measurement, Span
from inferbench_lib.stats.statistics import summarize

PARENT = -1  # the worker number of the parent's own spans

USEFUL = "useful compute"  # what one process alone needs, shared equally by the CPUs
SLOWED = "compute slowed by shared resources"  # CPU time beyond that share: memory bandwidth, caches, clock
BEYOND = "compute slowed beyond the ceiling"  # CPU time that independent processes do not lose: smaller pieces, caches
OVERSUBSCRIBED = "waiting for a CPU"  # more threads than CPUs, or another program on them
START = "process start"  # from the decision to start a worker to its first line, or to the end if that came too late
IMPORTS = "imports"
MODEL = "model transfer"
DATA = "data transfer and serialization"
SCHEDULING = "scheduling and waiting"  # a worker ready while nothing was handed to it
IMBALANCE = "imbalance at the end"  # a worker finished while another still worked
SERIAL = "serial part of the parent"  # collecting results, ending the workers
PARTS = (USEFUL, SLOWED, BEYOND, OVERSUBSCRIBED, START, IMPORTS, MODEL, DATA, SCHEDULING, IMBALANCE, SERIAL)

WORKER_KINDS = {"start": START, "import": IMPORTS}
WORKER_KINDS |= dict.fromkeys(("load_model", "serialize_model", "deserialize_model"), MODEL)
WORKER_KINDS |= dict.fromkeys(("share", "serialize_data", "transfer", "send", "receive"), DATA)
WORKER_KINDS |= dict.fromkeys(("deserialize_data", "store", "serialize_result"), DATA)
PARENT_KINDS = {"start": START, "serialize_model": MODEL}
PARENT_KINDS |= dict.fromkeys(("share", "serialize_data", "deserialize_result"), DATA)
PARENT_KINDS |= dict.fromkeys(("collect", "store", "stop"), SERIAL)
IDLE_KINDS = ("wait", "imbalance", "standby", "stop")  # the reason follows from the others and the parent


def account(
    spans: Iterable[Span], *, start_s: float, end_s: float, single_s: float, n_cpus: int, n_workers: int,
    n_threads: int = 1,
) -> Breakdown:  # fmt: skip
    """Cut the wall time of one run from `start_s` to `end_s` into parts (seconds of wall time).

    `single_s` is the CPU time of one process for the whole job; `n_workers` counts idle workers too, of `n_threads`
    each, on `n_cpus`. Workers' spans have the kinds of `WORKER_KINDS` and `IDLE_KINDS`, or "compute" (with `cpu_s`).
    Spans of the parent have the worker number `PARENT` and the kinds of `PARENT_KINDS`.

    Compute beyond the useful share is split by CPU time. CPU time above that share is slowed compute. Compute without
    CPU time is waiting for a CPU, as is the idle time of a worker on standby; the time in which workers beyond `n_cpus`
    take turns is none. The slowed part is negative when smaller pieces run faster than the whole.

    Raises ValueError for spans that overlap, leave the run, are of an unknown kind, or lack their CPU time, and for a
    run without compute.
    """
    timelines: dict[int, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: (span.start_s, span.end_s)):
        timelines[span.worker].append(span)
    for worker, timeline in timelines.items():
        kinds = PARENT_KINDS if worker == PARENT else [*WORKER_KINDS, *IDLE_KINDS, "compute"]
        _check(timeline, kinds, start_s, end_s)
    parent = timelines.pop(PARENT, [])
    if len(timelines) > n_workers:
        raise ValueError(f"account: expected spans of at most {n_workers} workers, got those of {sorted(timelines)}")

    seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    working = {worker: [s for s in timeline if s.kind not in IDLE_KINDS] for worker, timeline in timelines.items()}
    worked = [span for timeline in working.values() for span in timeline]
    last_end_s = max((span.end_s for span in worked), default=start_s)
    starts_here = any(timeline and timeline[0].kind == "start" for timeline in working.values())
    kept_back = {span.worker for timeline in timelines.values() for span in timeline if span.kind == "standby"}
    silent: list[tuple[int, list[Span]]] = [(PARENT, [])] * (n_workers - len(timelines))
    for worker, timeline in (*working.items(), *silent):
        # From the run's start on, a worker is idle up to every other edge, and after the last one.
        edges = [start_s, *(edge for span in timeline for edge in (span.start_s, span.end_s))]
        if starts_here and not timeline:  # one that never worked came too late: it was starting all the time
            edges.append(last_end_s)
        # Before a worker that is started in this run, the parent was busy starting the others.
        idle = START if not timeline or timeline[0].kind == "start" else SCHEDULING
        for begin_s, finish_s in zip(edges[::2], edges[1::2], strict=False):
            seconds[idle] += finish_s - begin_s
            for span in parent:
                seconds[PARENT_KINDS[span.kind]] += _overlap(span, begin_s, finish_s)
                seconds[idle] -= _overlap(span, begin_s, finish_s)
            idle = SCHEDULING
        seconds[OVERSUBSCRIBED if worker in kept_back else IMBALANCE] += last_end_s - edges[-1]
    # After the last worker every worker is idle, so the parent's seconds count once for each.
    for span in parent:
        seconds[PARENT_KINDS[span.kind]] += n_workers * _overlap(span, last_end_s, end_s)

    computing = [span for span in worked if span.kind == "compute"]
    if not computing:
        raise ValueError("account: expected at least one compute span, got none; record it around the model's call")
    for span in worked:
        if span.kind != "compute":
            seconds[WORKER_KINDS[span.kind]] += span.end_s - span.start_s
    wall_s = sum(span.end_s - span.start_s for span in computing)
    cpu_s = sum(min(span.cpu_s / n_threads, span.end_s - span.start_s) for span in computing)
    per_cpu = max(1.0, n_workers * n_threads / n_cpus)  # workers, or threads, that take turns on each CPU
    seconds[USEFUL] = per_cpu * single_s / n_threads
    seconds[SLOWED] = per_cpu * cpu_s - seconds[USEFUL]
    seconds[OVERSUBSCRIBED] += wall_s - per_cpu * cpu_s

    parts = tuple(Part(name=name, seconds=lost_s / n_workers) for name, lost_s in seconds.items())
    whole_s = end_s - start_s
    return Breakdown(whole_s=whole_s, parts=parts, unexplained_s=whole_s - sum(part.seconds for part in parts))


def average(breakdowns: Sequence[Breakdown]) -> Breakdown:
    """Return the mean over runs, part by part, which keeps the sum."""
    alike = zip(*(one.parts for one in breakdowns), strict=True)
    return Breakdown(
        whole_s=fmean(one.whole_s for one in breakdowns),
        parts=tuple(replace(parts[0], seconds=fmean(part.seconds for part in parts)) for parts in alike),
        unexplained_s=fmean(one.unexplained_s for one in breakdowns),
    )


def beside(breakdown: Breakdown, ceiling: Breakdown) -> Breakdown:
    """Split `SLOWED`: it keeps the seconds that the ceiling's processes lose too, the rest goes to `BEYOND`.

    No way of handing out work can win back the time that independent processes lose side by side.
    """
    slowed_s, most_s = (next(part.seconds for part in b.parts if part.name == SLOWED) for b in (breakdown, ceiling))
    shared_s = min(slowed_s, max(0.0, most_s))
    split = {SLOWED: shared_s, BEYOND: slowed_s - shared_s}
    parts = tuple(replace(part, seconds=split.get(part.name, part.seconds)) for part in breakdown.parts)
    return replace(breakdown, parts=parts)


def losses(breakdown: Breakdown) -> Mapping[str, float]:
    """Return the seconds above an equal split of one process's work, by part and "unexplained"; a gain is negative."""
    lost = {part.name: part.seconds for part in breakdown.parts if part.name != USEFUL}
    return {**lost, "unexplained": breakdown.unexplained_s}


def n_workers(case: Case) -> int:
    """Return the number of processes, times the threads of each that stand for them."""
    return case.n_processes * case.n_threads


def break_down(
    cell: Measurement, alone: Measurement | None, ceiling: Measurement | None, n_cpus: int
) -> Breakdown | None:
    """Return where the samples of `cell` went on average, held against one process and the ceiling, on `n_cpus`.

    A ceiling that computes on another number of CPUs does not tell how much workers slow each other down, and is left
    out. None where a side was not measured, and for workers with other clocks (see `has_other_clocks`).
    """
    found = _average(cell, alone, n_cpus)
    if found is None or ceiling is None or len({min(n_workers(one.case), n_cpus) for one in (cell, ceiling)}) > 1:
        return found
    most = _average(ceiling, alone, n_cpus)
    return found if most is None else beside(found, most)


def has_other_clocks(cell: Measurement) -> bool:
    """Return whether the workers ran by clocks of other machines: in some call no compute lies within it by ours."""
    return any(not any(span.kind == "compute" for span in _within(spans)[1]) for spans in cell.spans)


def standing_by(cell: Measurement) -> int:
    """Count the workers that got nothing to do in the last call, for want of CPUs."""
    return len({span.worker for span in (cell.spans or ((),))[-1] if span.kind == "standby"})


def _average(cell: Measurement, alone: Measurement | None, n_cpus: int) -> Breakdown | None:
    alone_s = None if alone is None else _one_process_s(alone)
    if alone_s is None or not cell.spans or not summarize(cell).is_measured or has_other_clocks(cell):
        return None
    return average([_account_sample(cell, spans, alone_s, n_cpus) for spans in cell.spans])


def _one_process_s(alone: Measurement) -> float | None:
    """Return the CPU seconds of one process's compute; its own waiting for a CPU is no part of the work."""
    if not alone.spans or not summarize(alone).is_measured:
        return None
    return fmean(sum(s.cpu_s for s in spans if s.kind == "compute") for spans in alone.spans)


def _account_sample(cell: Measurement, spans: Sequence[Span], single_s: float, n_cpus: int) -> Breakdown:
    """Return the account of one sample: the spans within its `call`."""
    call, within = _within(spans)
    return account(
        within, start_s=call.start_s, end_s=call.end_s, single_s=single_s, n_cpus=n_cpus,
        n_workers=cell.case.n_processes, n_threads=cell.case.n_threads,
    )  # fmt: skip


def _within(spans: Sequence[Span]) -> tuple[Span, list[Span]]:
    """Return the `call` of a sample, and its other spans that lie within it."""
    call = next(span for span in spans if span.kind == "call")
    return call, [s for s in spans if s is not call and call.start_s <= s.start_s <= s.end_s <= call.end_s]


def _overlap(span: Span, begin_s: float, finish_s: float) -> float:
    return max(0.0, min(span.end_s, finish_s) - max(span.start_s, begin_s))


def _check(timeline: Sequence[Span], kinds: Iterable[str], start_s: float, end_s: float) -> None:
    for span in timeline:
        if span.kind not in kinds:
            raise ValueError(f"{_name(span)}: expected a kind among {', '.join(sorted(kinds))}")
        if not start_s <= span.start_s <= span.end_s <= end_s:
            raise ValueError(f"{_name(span)}: expected a span within the run, {start_s:g} to {end_s:g} s")
        if span.kind == "compute" and span.end_s > span.start_s and not span.cpu_s > 0:
            raise ValueError(f"{_name(span)}: expected its CPU time; read time.process_time before and after computing")
    for earlier, later in pairwise(timeline):
        if later.start_s < earlier.end_s:
            raise ValueError(f"{_name(later)}: expected it to begin after {_name(earlier)} ends, they overlap")


def _name(span: Span) -> str:
    owner = "parent" if span.worker == PARENT else f"worker {span.worker}"
    return f"{owner} {span.kind} {span.start_s:g}–{span.end_s:g} s"
