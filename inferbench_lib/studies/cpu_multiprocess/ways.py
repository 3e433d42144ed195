"""Compare one way of using several CPUs with one process, with the ceiling, and with threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeGuard, TypeVar

from inferbench_lib.findings import Breakdown, Interval, Ratio, Refusal, Summary
from inferbench_lib.records import Case, Figure, Measurement
from inferbench_lib.stats.comparison import compare, efficiency, unequal_load
from inferbench_lib.stats.entries import Label, entry, labels
from inferbench_lib.stats.scaling import break_even
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.studies.cpu_multiprocess.breakdown import (
    USEFUL,
    break_down,
    has_other_clocks,
    n_workers,
    standing_by,
)

Value = TypeVar("Value", bound=Interval)

BASELINE = "single"
CEILING = "ceiling"
"""Independent processes doing an equal part each at the same moment: the most that the hardware allows."""
THREADS = "threads"


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of using the CPUs and its comparisons, each None where the other side was not measured.

    `ratio` is the speedup over one process with the usual engine, `from_cold` that of a warm way's cold start.
    `efficiency` (speedup per worker), `of_ceiling` and `of_threads` (its speed over theirs) compare it with the same
    engine. `standing_by` counts workers kept back for want of CPUs; `is_unusual` means another number of workers than
    the run asked for. `memory` is what it needs above its idle processes, over the bytes of the data. One call from a
    cold start is as fast as one process from `break_even` rows on; None where that was not measured.
    """

    cell: Measurement
    label: Label
    summary: Summary
    ratio: Ratio | None
    from_cold: Ratio | None = None
    efficiency: Interval | None = None
    breakdown: Breakdown | None = None
    of_ceiling: Ratio | None = None
    of_threads: Ratio | None = None
    standing_by: int = 0
    has_other_clocks: bool = False
    is_unusual: bool = False
    memory: float | None = None
    break_even: Interval | Refusal | None = None


def ways(
    cells: Iterable[Measurement],
    warm: Sequence[Measurement],
    cold: Sequence[Measurement],
    *,
    n_processes: int,
    usable_cpus: int,
) -> dict[str, Way]:
    """Compare cells with the warm ones beside them, by label; ceilings are left out, since nobody can work so."""
    found = [cell for cell in cells if cell.case.executor != CEILING]
    named = labels((cell.case for cell in found), "executor")
    return {
        named[cell.case].key: replace(
            _way(cell, named[cell.case], warm, cold, usable_cpus),
            is_unusual=cell.case.executor != BASELINE and n_workers(cell.case) != n_processes,
        )
        for cell in found
    }


def splits(cells: Sequence[Measurement]) -> tuple[Way, ...]:
    """Compare each number of processes, and of threads of each, with one process of one thread."""
    named = labels((cell.case for cell in cells), "n_processes", "n_threads")
    return tuple(
        Way(
            cell=cell,
            label=named[cell.case],
            summary=summarize(cell),
            ratio=_speed_over(_baseline(cell.case, cells), cell),
        )
        for cell in cells
    )


def ceilings(warm: Sequence[Measurement]) -> dict[str, Ratio]:
    """Return the speedup of independent processes over one, by label; the usual label is empty."""
    found = {cell.case: cell for cell in warm if cell.case.executor == CEILING}
    named = labels(found)
    return {named[case].key: compare(alone, cell) for case, cell in found.items() if (alone := _baseline(case, warm))}


def way_figures(way: Way) -> dict[str, Figure]:
    """Return the entries of `summary.json` on a warm way."""
    found: dict[str, Figure] = {}
    key = way.label.key
    if way.ratio:
        found[f"speedup[{key}]"] = entry(way.ratio, "×", way.ratio.verdict)
        if way.efficiency:
            found[f"efficiency[{key}]"] = entry(way.efficiency, "", way.ratio.verdict)
    if way.of_ceiling:
        found[f"share_of_ceiling[{key}]"] = entry(way.of_ceiling, "", way.of_ceiling.verdict)
    if way.breakdown:
        for part in way.breakdown.parts:
            if part.name != USEFUL and part.seconds:
                found[f"lost_s[{key},{part.name.replace(' ', '_')}]"] = Figure(value=part.seconds, unit="s")
        found[f"unexplained_share[{key}]"] = Figure(value=way.breakdown.unexplained_share, unit="of the time")
    if way.memory is not None:
        found[f"memory_over_data[{key}]"] = Figure(value=way.memory, unit="×")
    if way.break_even:
        found[f"break_even_rows[{key}]"] = entry_or_reason(way.break_even, "rows")
    return found


def entry_or_reason(value: Interval | Refusal, unit: str) -> Figure:
    """Return the entry of a value, or of the reason why it is withheld."""
    if isinstance(value, Refusal):
        return Figure(value=None, unit=unit, verdict=f"withheld: {value.reason}")
    return entry(value, unit, value.reason)


def is_known(value: Value | None) -> TypeGuard[Value]:
    """Return whether there is a figure to show: both sides were measured, in rounds that they share."""
    return value is not None and value.value == value.value


def _way(
    cell: Measurement, label: Label, warm: Sequence[Measurement], cold: Iterable[Measurement], usable_cpus: int
) -> Way:
    case = cell.case
    alone, ceiling, threads = (_peer(name, case, warm) for name in (BASELINE, CEILING, THREADS))
    way = Way(
        cell=cell,
        label=label,
        summary=summarize(cell),
        ratio=_speed_over(_baseline(case, warm), cell),
        efficiency=efficiency(over, n_workers(case)) if (over := _speed_over(alone, cell)) else None,
        breakdown=None if cell is alone else break_down(cell, alone, ceiling, usable_cpus),
        memory=None if case.cold else _memory_over_data(cell),
    )
    if case.cold or case.executor == BASELINE:
        return way
    return replace(
        way,
        of_ceiling=_speed_over(ceiling, cell),
        of_threads=_speed_over(threads, cell),
        standing_by=standing_by(cell),
        has_other_clocks=has_other_clocks(cell),
        from_cold=_speed_over(_baseline(case, warm), begun) if (begun := _cold_of(cell, cold)) else None,
        break_even=_break_even(cell, alone, begun) if alone and begun else None,
    )


def _speed_over(baseline: Measurement | None, cell: Measurement) -> Ratio | None:
    return compare(baseline, cell) if baseline and baseline is not cell else None


def _peer(executor: str, case: Case, cells: Iterable[Measurement]) -> Measurement | None:
    """Return the first cell of an executor that does the same work with the same engine; None without one."""
    fields = ("workload", "engine", "device", "precision")
    same = (cell for cell in cells if all(getattr(cell.case, name) == getattr(case, name) for name in fields))
    return next((cell for cell in same if cell.case.executor == executor), None)


def _baseline(case: Case, cells: Sequence[Measurement]) -> Measurement | None:
    """Return one process with one thread of the same workload, with its usual engine where that was measured."""
    wanted = (BASELINE, case.workload, 1)
    single = {c.case: c for c in cells if (c.case.executor, c.case.workload, c.case.n_threads) == wanted}
    named = labels(single)
    return single[min(single, key=lambda one: len(named[one].more))] if single else None


def _memory_over_data(cell: Measurement) -> float | None:
    """Return the memory of the processes above their idle memory before the data came, over the bytes of the data."""
    idle, data = cell.figures.get("idle_bytes"), cell.figures.get("data_bytes")
    if cell.peak_memory_bytes is None or idle is None or not data or not summarize(cell).is_measured:
        return None
    return (cell.peak_memory_bytes - idle) / data


def _break_even(warm: Measurement, alone: Measurement, cold: Measurement) -> Interval | Refusal | None:
    """Return from how many rows on one call from a cold start is as fast as one process; None where unknown.

    In each round that all three share it is the start-up, cold minus warm, over what the warm way saves per row.
    """
    if not all(summarize(one).is_measured for one in (warm, alone, cold)):
        return None
    if load := unequal_load(alone, warm) or unequal_load(alone, cold):
        return Refusal(reason=load)
    shared = zip(cold.rounds(), warm.rounds(), alone.rounds(), strict=False)
    rounds = [[median(samples) for samples in of] for of in shared if all(of)]
    starts = [max(0.0, cold_s - warm_s) for cold_s, warm_s, _ in rounds]
    return break_even(starts, [of[2] for of in rounds], [of[1] for of in rounds], n_rows=warm.inputs_per_call)


def _cold_of(cell: Measurement, cold: Iterable[Measurement]) -> Measurement | None:
    """Return the cold start of a warm way, which may have fewer processes: no more than usable CPUs; None without."""
    case = cell.case
    same = [one for one in cold if replace(one.case, cold=False, n_processes=case.n_processes) == case]
    return min(same, key=lambda one: abs(one.case.n_processes - case.n_processes), default=None)
