"""Estimate how much processes of one program differ, and widen an interval over rounds by it.

Rounds within a process do not show it: memory is laid out, and pages are faulted in, once a process. Repetition is
needed where the variance arises (Kalibera & Jones 2013, "Rigorous benchmarking in reasonable time").
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from statistics import median

import numpy as np
from scipy import stats

from inferbench_lib.findings import Interval
from inferbench_lib.records import Figure, Flag, Measurement

SD, DEGREES = "process_sd", "process_degrees"
"""Figures of a cell: the standard deviation between its processes, as a share, and the degrees of freedom behind it."""

SCATTER = "process_scatter"
"""The figure of a run: how much processes of one cell differ."""
FLAG = "processes"
FAULTS = "minor_faults"
DIFFERENCE = 0.10
"""Processes of one cell that differ by more are named: a reader would act on it."""

Processes = Sequence[Sequence[float]]


def with_process_scatter(cells: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """Return the cells of one schedule, each with the scatter between its processes; unchanged with one process each.

    A cell has the scatter of all cells together, or its own where that is larger: two or three processes tell little
    alone.
    """
    processes = [_log_medians(cell) for cell in cells]
    spread = [_between(of) for of in processes if len(of) > 1]
    degrees = sum(n for *_, n in spread)
    if not degrees:
        return tuple(cells)
    pooled = _variance(spread)
    return tuple(
        replace(cell, figures={**cell.figures, SD: math.sqrt(max(pooled, _variance([_between(of)]))), DEGREES: degrees})
        if len(of) > 1
        else cell
        for cell, of in zip(cells, processes, strict=True)
    )


def has_scatter(cell: Measurement) -> bool:
    """Return whether the scatter between processes was measured, so that it is part of the cell's intervals."""
    return SD in cell.figures


def scatter(cells: Iterable[Measurement]) -> dict[str, Figure]:
    """Return the figure of the scatter between processes: the median of all cells, none where a cell has none."""
    measured = [cell for cell in cells if cell.samples_s]
    if not measured or not all(map(has_scatter, measured)):
        return {}
    return {SCATTER: Figure(value=median(cell.figures[SD] for cell in measured), unit="of the time")}


def widened(interval: Interval, *cells: Measurement) -> Interval:
    """Return the interval of a value that rests on these cells, with their processes' scatter added as squares."""
    errors = [cell.figures[SD] / math.sqrt(len(cell.process_sizes)) for cell in cells if has_scatter(cell)]
    if not errors or interval.low is None or interval.high is None or not interval.low > 0:
        return interval
    degrees = min(cell.figures[DEGREES] for cell in cells if has_scatter(cell))
    arm = float(stats.t.ppf((1 + interval.level) / 2, degrees)) * math.hypot(*errors)
    down, up = math.log(interval.value / interval.low), math.log(interval.high / interval.value)
    return replace(
        interval,
        low=interval.value * math.exp(-math.hypot(down, arm)),
        high=interval.value * math.exp(math.hypot(up, arm)),
    )


def difference(cell: Measurement) -> Flag | None:
    """Return a flag that names two processes of one cell that differ, with their page faults; None where none do."""
    medians = [math.exp(median(of)) for of in _log_medians(cell)]
    if len(medians) < 2 or max(medians) <= (1 + DIFFERENCE) * min(medians):
        return None
    slow, fast = medians.index(max(medians)), medians.index(min(medians))
    text = f"one process of this cell was {medians[slow] / medians[fast] - 1:.0%} slower than another"
    faults = _faults_per_sample(cell)
    if faults and faults[slow] > 2 * faults[fast] + 100:
        text += f": {faults[slow]:,.0f} page faults per call against {faults[fast]:,.0f}"
    return Flag(name=FLAG, text=text)


def _faults_per_sample(cell: Measurement) -> list[float]:
    """Return the median page faults of a sample, by process; nothing where they were not counted."""
    faults = cell.series.get(FAULTS, ())
    if len(faults) != len(cell.samples_s):
        return []
    ends = [0, *accumulate(cell.round_sizes)]
    rounds = [0, *accumulate(cell.process_sizes)]
    return [median(faults[ends[first] : ends[last]]) for first, last in pairwise(rounds)]


def levelled(values: Sequence[float], cell: Measurement) -> list[float]:
    """Return values of a cell's rounds over the median of those of the same process, in which a drift still shows."""
    if not cell.process_sizes:
        return list(values)
    parts = np.split(np.asarray(values, dtype=float), list(accumulate(cell.process_sizes))[:-1])
    return [value / median(part) for part in map(np.ndarray.tolist, parts) if part for value in part]


def _log_medians(cell: Measurement) -> list[list[float]]:
    """Return the logarithms of the round medians, by process; one process where the row tells of none."""
    medians = [math.log(median(samples)) for samples in cell.rounds() if samples]
    ends = list(accumulate(cell.process_sizes)) or [len(medians)]
    return [medians[end - size : end] for end, size in zip(ends, cell.process_sizes or (len(medians),), strict=True)]


def _between(processes: Processes) -> tuple[float, float, int]:
    """Return the excess square between processes, its weight, and their degrees of freedom.

    The moment estimator of a one-way random effect with unequal groups (Searle, Casella & McCulloch 1992, section 3.6):
    the variance between processes is excess / weight.
    """
    sizes = np.array([len(of) for of in processes], dtype=float)
    means = np.array([np.mean(of) for of in processes])
    degrees, total = len(processes) - 1, sizes.sum()
    between = float(sizes @ (means - sizes @ means / total) ** 2)
    inside = sum(float(np.sum((np.asarray(of) - mean) ** 2)) for of, mean in zip(processes, means, strict=True))
    within = inside / (total - len(processes)) if total > len(processes) else 0.0
    return between - degrees * within, float(total - sizes @ sizes / total), degrees


def _variance(spread: Iterable[tuple[float, float, int]]) -> float:
    excess, weight, _ = np.array(list(spread)).sum(axis=0)
    return max(0.0, float(excess / weight))
