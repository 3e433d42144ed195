"""Compare one way of using several CPUs with one process, with the ceiling, and with threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeGuard

from inferbench_lib.findings import Breakdown, Interval, Ratio, Refusal, Summary
from inferbench_lib.records import Case, Figure, Measurement
from inferbench_lib.stats.comparison import compare, efficiency
from inferbench_lib.stats.entries import Label, entry, labels
from inferbench_lib.stats.scaling import break_even
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.studies.cpu_multiprocess.breakdown import (
    IMPORTS,
    MODEL,
    SERIAL,
    START,
    USEFUL,
    account_sample,
    break_down,
    has_other_clocks,
    n_workers,
    one_process_s,
    standing_by,
)

BASELINE = "single"
CEILING = "ceiling"
"""Independent processes doing an equal part each at the same moment: the most that the hardware allows."""
THREADS = "threads"
PER_CALL = (START, IMPORTS, MODEL, SERIAL)
"""The costs of a pool that is made for each call, whatever the number of rows."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of using the CPUs and its comparisons, each None where the other side was not measured.

    `ratio` is the speedup over one process with the usual engine. `efficiency` (speedup per worker), `of_ceiling` and
    `of_threads` (its speed over theirs) compare it with the same engine. `standing_by` counts workers kept back for
    want of CPUs. `memory` is what it needs above its idle processes, over the bytes of the data.
    """

    cell: Measurement
    label: Label
    summary: Summary
    ratio: Ratio | None
    efficiency: Interval | None
    breakdown: Breakdown | None
    of_ceiling: Ratio | None = None
    of_threads: Ratio | None = None
    standing_by: int = 0
    has_other_clocks: bool = False
    memory: float | None = None
    break_even: Interval | Refusal | None = None


def warm_ways(warm: Sequence[Measurement], cold: Sequence[Measurement], n_rows: int) -> dict[str, Way]:
    """Return the ways that start before their first call, by label."""
    return {label.key: _warm(cell, label, warm, cold, n_rows) for cell, label in _labelled(warm)}


def cold_ways(warm: Sequence[Measurement], cold: Sequence[Measurement]) -> dict[str, Way]:
    """Return the ways that start within each call, by label."""
    return {label.key: _way(cell, label, warm) for cell, label in _labelled(cold)}


def ceilings(warm: Sequence[Measurement]) -> dict[str, Ratio]:
    """Return the speedup of independent processes over one, by label; the usual label is empty."""
    found = {cell.case: cell for cell in warm if cell.case.executor == CEILING}
    named = labels(found)
    return {named[case].key: compare(alone, cell) for case, cell in found.items() if (alone := _baseline(case, warm))}


def way_figures(way: Way) -> dict[str, Figure]:
    """Return the entries of `summary.json` on a warm way."""
    found: dict[str, Figure] = {}
    key = way.label.key
    if way.ratio is not None:
        found[f"speedup[{key}]"] = entry(way.ratio, "×", way.ratio.verdict)
        if way.efficiency is not None:
            found[f"efficiency[{key}]"] = entry(way.efficiency, "", way.ratio.verdict)
    if way.of_ceiling is not None:
        found[f"share_of_ceiling[{key}]"] = entry(way.of_ceiling, "", way.of_ceiling.verdict)
    if way.breakdown is not None:
        found |= {
            f"lost_s[{key},{part.name.replace(' ', '_')}]": Figure(value=part.seconds, unit="s")
            for part in way.breakdown.parts
            if part.name != USEFUL and part.seconds
        }
        found[f"unexplained_share[{key}]"] = Figure(value=way.breakdown.unexplained_share, unit="of the time")
    if way.memory is not None:
        found[f"memory_over_data[{key}]"] = Figure(value=way.memory, unit="×")
    if isinstance(way.break_even, Refusal):
        verdict = f"withheld: {way.break_even.reason}"
        found[f"break_even_rows[{key}]"] = Figure(value=None, unit="rows", verdict=verdict)
    elif way.break_even is not None:
        found[f"break_even_rows[{key}]"] = entry(way.break_even, "rows", way.break_even.reason)
    return found


def is_known(value: Ratio | None) -> TypeGuard[Ratio]:
    """Return whether there is a figure to show: both sides were measured, in rounds that they share."""
    return value is not None and value.value == value.value


def _labelled(cells: Sequence[Measurement]) -> list[tuple[Measurement, Label]]:
    """Return the cells with their labels, without the ceilings, which are no way to work."""
    named = labels((cell.case for cell in cells), "executor")
    return [(cell, named[cell.case]) for cell in cells if cell.case.executor != CEILING]


def _warm(
    cell: Measurement, label: Label, warm: Sequence[Measurement], cold: Sequence[Measurement], n_rows: int
) -> Way:
    case = cell.case
    found = _way(cell, label, warm)
    alone, ceiling, threads = (_peer(name, case, warm) for name in (BASELINE, CEILING, THREADS))
    if case.executor == BASELINE:
        return replace(found, memory=_memory_over_data(cell))
    starts = None if alone is None or case.executor == THREADS else _startups(cell, _cold_of(case, cold), alone)
    return replace(
        found,
        of_ceiling=compare(ceiling, cell) if ceiling else None,
        of_threads=compare(threads, cell) if threads and threads is not cell else None,
        standing_by=standing_by(cell),
        has_other_clocks=has_other_clocks(cell),
        memory=_memory_over_data(cell),
        break_even=break_even(*starts, n_rows=n_rows) if starts else None,
    )


def _way(cell: Measurement, label: Label, warm: Sequence[Measurement]) -> Way:
    """Return what is said of every way, warm or cold."""
    baseline, alone = _baseline(cell.case, warm), _peer(BASELINE, cell.case, warm)
    is_alone = cell is alone
    return Way(
        cell=cell,
        label=label,
        summary=summarize(cell),
        ratio=compare(baseline, cell) if baseline and cell is not baseline else None,
        efficiency=efficiency(compare(alone, cell), n_workers(cell.case)) if alone and not is_alone else None,
        breakdown=None if is_alone else break_down(cell, alone, _peer(CEILING, cell.case, warm)),
    )


def _peer(executor: str, case: Case, cells: Iterable[Measurement]) -> Measurement | None:
    """Return the first cell of an executor that does the same work with the same engine; None without one."""
    fields = ("workload", "engine", "device", "precision")
    same = (cell for cell in cells if all(getattr(cell.case, name) == getattr(case, name) for name in fields))
    return next((cell for cell in same if cell.case.executor == executor), None)


def _baseline(case: Case, cells: Sequence[Measurement]) -> Measurement | None:
    """Return one process of the same workload, with its usual engine where that was measured."""
    single = {c.case: c for c in cells if (c.case.executor, c.case.workload) == (BASELINE, case.workload)}
    named = labels(single)
    return single[min(single, key=lambda one: len(named[one].more))] if single else None


def _cold_of(case: Case, cold: Iterable[Measurement]) -> Measurement | None:
    """Return the cold start of a way, which may have fewer processes: no more than usable CPUs."""
    same = [c for c in cold if replace(c.case, cold=False, n_processes=case.n_processes) == case]
    return min(same, key=lambda cell: abs(cell.case.n_processes - case.n_processes), default=None)


def _memory_over_data(cell: Measurement) -> float | None:
    """Return the memory of the processes above their idle memory before the data came, over the bytes of the data."""
    idle, data = cell.figures.get("idle_bytes"), cell.figures.get("data_bytes")
    if cell.peak_memory_bytes is None or idle is None or not data or not summarize(cell).is_measured:
        return None
    return (cell.peak_memory_bytes - idle) / data


def _startups(
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
        alone_s = one_process_s(alone)
        if alone_s is None or not cell.spans:
            return None
        found = [account_sample(cell, spans, alone_s) for spans in cell.spans]
        start = [sum(part.seconds for part in one.parts if part.name in PER_CALL) for one in found][: len(rounds)]
        return start, single, [own - lost for own, lost in zip(warm, start, strict=True)]
    if cold is not None and summarize(cold).is_measured:
        colds = [median(samples) for samples in cold.rounds() if samples]
        n = min(len(rounds), len(colds))
        return [max(0.0, one - own) for one, own in zip(colds[:n], warm[:n], strict=True)], single[:n], warm[:n]
    start_s = cell.startup_s.get("executor_s")
    return None if start_s is None else ([start_s] * len(rounds), single, warm)
