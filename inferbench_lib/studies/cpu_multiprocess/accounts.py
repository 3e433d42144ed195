"""Account for the time of each way of using several CPUs: where its samples went, and what its start-up costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, median

from inferbench_lib.findings import Breakdown
from inferbench_lib.records import Case, Measurement, Span
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.studies.cpu_multiprocess.breakdown import IMPORTS, MODEL, SERIAL, START, account, average, beside

FIXED = (START, IMPORTS, MODEL, SERIAL)
"""The costs of a pool that is made for each call, whatever the number of rows."""


def n_workers(case: Case) -> int:
    """Return the number of processes, or of the threads that stand for them."""
    return case.n_threads if case.executor == "threads" else case.n_processes


def break_down(cell: Measurement, alone: Measurement | None, ceiling: Measurement | None) -> Breakdown | None:
    """Return where the samples of `cell` went on average, held against one process and the ceiling.

    A ceiling with another number of workers does not tell how much these slow each other down, and is left out.
    None where a side was not measured, and for workers with other clocks (see `has_other_clocks`).
    """
    found = _average(cell, alone)
    if found is None or ceiling is None or n_workers(cell.case) != n_workers(ceiling.case):
        return found
    most = _average(ceiling, alone)
    return found if most is None else beside(found, most)


def has_other_clocks(cell: Measurement) -> bool:
    """Return whether the workers ran by clocks of other machines: in some call no compute lies within it by ours."""
    return any(not any(span.kind == "compute" for span in _within(spans)[1]) for spans in cell.spans)


def standing_by(cell: Measurement) -> int:
    """Count the workers that got nothing to do in the last call, for want of CPUs."""
    return len({span.worker for span in (cell.spans or ((),))[-1] if span.kind == "standby"})


def startups(
    cell: Measurement, cold: Measurement | None, alone: Measurement
) -> tuple[list[float], list[float], list[float]] | None:
    """Return start-up, time of one process and own time without start-up: seconds, one value per round.

    The start-up is the difference between a cold and a warm call of the same round. Without a cold call it is the time
    that the start took once. For a pool that is made for each call it follows from the breakdown. None if unknown.
    """
    if not all(summarize(one).is_measured for one in (cell, alone)):
        return None
    rounds = [
        (median(one), median(own)) for one, own in zip(alone.rounds(), cell.rounds(), strict=False) if one and own
    ]
    single, warm = [one for one, _ in rounds], [own for _, own in rounds]
    if cell.case.executor == "naive_pool":
        one_process_s = _single_s(alone)
        if one_process_s is None or not cell.spans:
            return None
        found = [_account(cell, spans, one_process_s) for spans in cell.spans]
        start = [sum(part.seconds for part in one.parts if part.name in FIXED) for one in found][: len(rounds)]
        return start, single, [own - lost for own, lost in zip(warm, start, strict=True)]
    if cold is not None and summarize(cold).is_measured:
        colds = [median(samples) for samples in cold.rounds() if samples]
        n = min(len(rounds), len(colds))
        return [max(0.0, one - own) for one, own in zip(colds[:n], warm[:n], strict=True)], single[:n], warm[:n]
    start_s = cell.startup_s.get("executor_s")
    return None if start_s is None else ([start_s] * len(rounds), single, warm)


def _average(cell: Measurement, alone: Measurement | None) -> Breakdown | None:
    single_s = None if alone is None else _single_s(alone)
    if single_s is None or not cell.spans or not summarize(cell).is_measured or has_other_clocks(cell):
        return None
    return average([_account(cell, spans, single_s) for spans in cell.spans])


def _single_s(alone: Measurement) -> float | None:
    """Return the CPU seconds of one process's compute; its own waiting for a CPU is no part of the work."""
    if not alone.spans or not summarize(alone).is_measured:
        return None
    return fmean(sum(s.cpu_s for s in spans if s.kind == "compute") for spans in alone.spans)


def _account(cell: Measurement, spans: Sequence[Span], single_s: float) -> Breakdown:
    """Return the account of one sample: the spans within its `call`. Threads of one process count as a worker each."""
    call, within = _within(spans)
    workers, n_threads = n_workers(cell.case), cell.case.n_threads
    if cell.case.executor == "threads":
        n_threads = 1
        within = [replace(span, worker=n, cpu_s=span.cpu_s / workers) for span in within for n in range(workers)]
    return account(
        within, start_s=call.start_s, end_s=call.end_s, single_s=single_s, n_workers=workers, n_threads=n_threads
    )


def _within(spans: Sequence[Span]) -> tuple[Span, list[Span]]:
    """Return the `call` of a sample, and its other spans that lie within it."""
    call = next(span for span in spans if span.kind == "call")
    return call, [s for s in spans if s is not call and call.start_s <= s.start_s <= s.end_s <= call.end_s]
