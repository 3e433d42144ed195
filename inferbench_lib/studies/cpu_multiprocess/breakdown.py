"""Break the wall time of a parallel run down into named parts, and the rest that no span explains.

Each worker's timeline consists of the spans that it recorded and the idle time between them. A part is its seconds
summed over the workers, divided by their number. The parts and the unexplained rest therefore add up to the wall time
exactly. Idle time counts as what the parent did meanwhile: a worker without work while the parent pickles the data
waits for the data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

from inferbench_lib.findings import Breakdown, Part
from inferbench_lib.records import Span

PARENT = -1  # the worker number of the parent's own spans

USEFUL = "useful compute"
SLOWED = "compute slowed by shared resources"
BEYOND = "compute slowed beyond the ceiling"
OVERSUBSCRIBED = "waiting for a CPU"
START = "process start"
IMPORTS = "imports"
MODEL = "model transfer"
DATA = "data transfer and serialization"
SCHEDULING = "scheduling and waiting"
IMBALANCE = "imbalance at the end"
SERIAL = "serial part of the parent"

TEXTS = {
    USEFUL: "an equal share of what one process alone needs",
    SLOWED: "CPU time beyond that share: memory bandwidth, caches, clock",
    BEYOND: "CPU time that independent processes side by side do not lose: smaller pieces, colder caches",
    OVERSUBSCRIBED: "at work or idle without a CPU: more threads than CPUs, or another program on them",
    START: "from the decision to start a worker to its first line, or to the end if it came too late for work",
    IMPORTS: "loading libraries in the worker",
    MODEL: "pickling, sending, unpickling or loading the model",
    DATA: "sharing or pickling, sending, unpickling, storing inputs and results",
    SCHEDULING: "a worker ready while nothing was handed to it",
    IMBALANCE: "a worker finished while another still worked",
    SERIAL: "the parent alone: collecting results, ending the workers",
}
WORKER_KINDS = {
    "start": START,
    "import": IMPORTS,
    "load_model": MODEL,
    "serialize_model": MODEL,
    "deserialize_model": MODEL,
    "share": DATA,
    "serialize_data": DATA,
    "transfer": DATA,
    "send": DATA,
    "receive": DATA,
    "deserialize_data": DATA,
    "store": DATA,
    "serialize_result": DATA,
}
PARENT_KINDS = {
    "start": START,
    "serialize_model": MODEL,
    "share": DATA,
    "serialize_data": DATA,
    "deserialize_result": DATA,
    "collect": SERIAL,
    "store": SERIAL,
    "stop": SERIAL,
}
IDLE_KINDS = ("wait", "imbalance", "standby", "stop")  # the reason follows from the others and the parent


def account(
    spans: Iterable[Span], *, start_s: float, end_s: float, single_s: float, n_workers: int, n_threads: int = 1
) -> Breakdown:
    """Cut the wall time of one run from `start_s` to `end_s` into parts (seconds of wall time).

    `single_s` is the CPU time of one process for the whole job; `n_workers` counts idle workers too. Workers' spans
    have the kinds of `WORKER_KINDS` and `IDLE_KINDS`, or "compute" (with `cpu_s`, over `n_threads` threads). Spans of
    the parent have the worker number `PARENT` and the kinds of `PARENT_KINDS`.

    Compute beyond the useful share is split by CPU time. CPU time above that share is slowed compute; compute without
    CPU time is waiting for a CPU, as is the idle time of a worker on standby. The slowed part is negative when smaller
    pieces run faster than the whole.

    Raises ValueError for spans that overlap, leave the run, are of an unknown kind, or lack their CPU time, and for a
    run without compute.
    """
    timelines: dict[int, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: (span.start_s, span.end_s)):
        timelines[span.worker].append(span)
    parent = timelines.pop(PARENT, [])
    _check(parent, PARENT_KINDS, start_s, end_s)
    for timeline in timelines.values():
        _check(timeline, [*WORKER_KINDS, *IDLE_KINDS, "compute"], start_s, end_s)
    if len(timelines) > n_workers:
        raise ValueError(f"account: expected spans of at most {n_workers} workers, got those of {sorted(timelines)}")

    seconds: dict[str, float] = dict.fromkeys(TEXTS, 0.0)
    working = {worker: [s for s in timeline if s.kind not in IDLE_KINDS] for worker, timeline in timelines.items()}
    last_end_s = max((timeline[-1].end_s for timeline in working.values() if timeline), default=start_s)
    for timeline in working.values():
        for span in timeline:
            if span.kind != "compute":
                seconds[WORKER_KINDS[span.kind]] += span.end_s - span.start_s
    starts_here = any(timeline and timeline[0].kind == "start" for timeline in working.values())
    silent: list[tuple[int, list[Span]]] = [(PARENT, [])] * (n_workers - len(timelines))
    kept_back = {span.worker for timeline in timelines.values() for span in timeline if span.kind == "standby"}
    for worker, timeline in (*working.items(), *silent):
        afterwards = OVERSUBSCRIBED if worker in kept_back else IMBALANCE
        _add_idle(seconds, timeline, parent, start_s, last_end_s, afterwards, starts_here=starts_here)
    # After the last worker every worker is idle, so the parent's seconds count once for each.
    for span in parent:
        seconds[PARENT_KINDS[span.kind]] += n_workers * _overlap(span, last_end_s, end_s)

    computing = [span for timeline in working.values() for span in timeline if span.kind == "compute"]
    if not computing:
        raise ValueError("account: expected at least one compute span, got none; record it around the model's call")
    wall_s = sum(span.end_s - span.start_s for span in computing)
    cpu_s = sum(min(span.cpu_s / n_threads, span.end_s - span.start_s) for span in computing)
    seconds[USEFUL] = single_s
    seconds[SLOWED] = cpu_s - single_s
    seconds[OVERSUBSCRIBED] += wall_s - cpu_s

    parts = tuple(Part(name=name, seconds=seconds[name] / n_workers, text=text) for name, text in TEXTS.items())
    whole_s = end_s - start_s
    return Breakdown(whole_s=whole_s, parts=parts, unexplained_s=whole_s - sum(part.seconds for part in parts))


def average(breakdowns: Sequence[Breakdown]) -> Breakdown:
    """Return the mean over runs, part by part, which keeps the sum; raises ValueError for none or different parts."""
    names = {tuple(part.name for part in breakdown.parts) for breakdown in breakdowns}
    if len(names) != 1:
        raise ValueError(f"average: expected breakdowns into the same parts, got {sorted(names)}")
    columns = zip(*(breakdown.parts for breakdown in breakdowns), strict=True)
    return Breakdown(
        whole_s=fmean(breakdown.whole_s for breakdown in breakdowns),
        parts=tuple(
            Part(name=same[0].name, seconds=fmean(part.seconds for part in same), text=same[0].text) for same in columns
        ),
        unexplained_s=fmean(breakdown.unexplained_s for breakdown in breakdowns),
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


def _add_idle(
    seconds: dict[str, float],
    work: Sequence[Span],
    parent: Sequence[Span],
    start_s: float,
    last_end_s: float,
    afterwards: str,
    *,
    starts_here: bool,
) -> None:
    """Add one worker's idle time, from the run's start to the last worker's end, to the parts that explain it.

    `afterwards` is the part for a worker that is done, or never has anything to do.
    """
    if not work and not starts_here:
        seconds[afterwards] += last_end_s - start_s
        return
    # Where workers start in this run, one that never worked came too late: it was starting all the time.
    first_s, end_s = (work[0].start_s, work[-1].end_s) if work else (last_end_s, last_end_s)
    seconds[afterwards] += last_end_s - end_s
    gaps = [(start_s, first_s), *((one.end_s, other.start_s) for one, other in pairwise(work))]
    for index, (begin_s, finish_s) in enumerate(gaps):
        idle_s = finish_s - begin_s
        for span in parent:
            shared_s = _overlap(span, begin_s, finish_s)
            seconds[PARENT_KINDS[span.kind]] += shared_s
            idle_s -= shared_s
        # Before a worker that is started in this run, the parent was busy starting the others.
        not_yet_started = index == 0 and (not work or work[0].kind == "start")
        seconds[START if not_yet_started else SCHEDULING] += idle_s


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
