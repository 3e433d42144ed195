"""From a run's spans to accounts: where each way's samples went, and what its start-up costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median

from inferbench_lib.records import Breakdown, Measurement, Span
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.studies.cpu_multiprocess.breakdown import IMPORTS, MODEL, SERIAL, START, account, average, beside

BASELINE = "single"
CEILING = "ceiling"
"""Independent processes doing an equal part each at the same moment: what the hardware allows, not a way to work."""
FIXED = (START, IMPORTS, MODEL, SERIAL)
"""What a pool that is made for each call costs however many rows it is given."""


def accounts(cells: Mapping[str, Measurement], everything: Mapping[str, Measurement]) -> dict[str, Breakdown]:
    """Where each sample of `cells` went, averaged, held against one process and the ceiling of `everything`.

    A ceiling of another number of workers says nothing of how much these are slowed by each other. What ran by the
    clocks of other machines (see `by_other_clocks`) has no account.
    """
    elsewhere = by_other_clocks(cells)
    single_s = _single_s(everything.get(BASELINE))
    if single_s is None:
        return {}
    averages = {
        name: average([_account(cell, spans, single_s) for spans in cell.spans])
        for name, cell in {**cells, CEILING: everything.get(CEILING)}.items()
        if name not in (BASELINE, *elsewhere) and cell is not None and cell.spans and summarize(cell).is_measured
    }
    ceiling = averages.pop(CEILING, None)
    if ceiling is None:
        return averages
    n_workers = _n_workers(everything[CEILING])
    return {
        name: beside(found, ceiling) if _n_workers(cells[name]) == n_workers else found
        for name, found in averages.items()
    }


def by_other_clocks(cells: Mapping[str, Measurement]) -> tuple[str, ...]:
    """The ways whose workers' clocks are not ours: in some call, no compute lies within it by our clock."""
    return tuple(
        name
        for name, cell in cells.items()
        if any(not any(span.kind == "compute" for span in _within(spans)[1]) for spans in cell.spans)
    )


def standing_by(cell: Measurement) -> int:
    """How many workers were given nothing to do in the last call, for want of CPUs."""
    return len({span.worker for span in (cell.spans or ((),))[-1] if span.kind == "standby"})


def startups(
    cell: Measurement, cold: Measurement | None, alone: Measurement
) -> tuple[list[float], list[float], list[float]] | None:
    """Start-up, one process's time and the way's own time without its start-up, in seconds, one value a round.

    The start-up is what a cold call took longer than a warm one in the same round; where no cold call was measured what
    the start took once; and of a pool that is made for each call what its accounts say. None where it is not known.
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


def _single_s(alone: Measurement | None) -> float | None:
    """CPU seconds of one process's compute: what it waited for a CPU itself is no part of the work."""
    if alone is None or not alone.spans or not summarize(alone).is_measured:
        return None
    return fmean(sum(s.cpu_s for s in spans if s.kind == "compute") for spans in alone.spans)


def _account(cell: Measurement, spans: Sequence[Span], single_s: float) -> Breakdown:
    """One sample's account: the spans within its `call`. Threads of one process count as a worker each."""
    call, within = _within(spans)
    n_workers, n_threads = _n_workers(cell), cell.case.n_threads
    if cell.case.executor == "threads":
        n_threads = 1
        within = [replace(span, worker=n, cpu_s=span.cpu_s / n_workers) for span in within for n in range(n_workers)]
    return account(
        within, start_s=call.start_s, end_s=call.end_s, single_s=single_s, n_workers=n_workers, n_threads=n_threads
    )


def _within(spans: Sequence[Span]) -> tuple[Span, list[Span]]:
    """A sample's `call`, and its other spans that lie within it."""
    call = next(span for span in spans if span.kind == "call")
    return call, [s for s in spans if s is not call and call.start_s <= s.start_s <= s.end_s <= call.end_s]


def _n_workers(cell: Measurement) -> int:
    """Processes, or the threads that stand for them."""
    return cell.case.n_threads if cell.case.executor == "threads" else cell.case.n_processes
