"""Estimate how much processes of one program differ, and widen the intervals that rest on their rounds by it.

Rounds within a process do not show it: memory is laid out, and pages are mapped, once per process. Repetition is
needed where the variance arises (Kalibera & Jones 2013, "Rigorous benchmarking in reasonable time").
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from statistics import fmean, median

import numpy as np
from scipy import stats

from inferbench_lib.findings import Interval
from inferbench_lib.records import Figure, Flag, Measurement, Outcome
from inferbench_lib.stats.series import round_medians

SD, DEGREES = "process_sd", "process_degrees"
"""Figures of a cell: the standard deviation between its processes, as a share, and the degrees of freedom behind it."""
SCATTER = "process_scatter"
"""The figure of a run: how much processes of one cell differ."""
WIDENED_UNITS = frozenset({"s", "×", "inputs/s", "images/s"})
"""Units of figures that come from times and their ratios: their intervals hold the scatter where it was measured."""
FLAG = "processes"
DIFFERENCE = 0.10
"""Processes of one cell that differ by more are named: a reader would act on it."""
COUNTED = {"minor_faults": "page faults", "involuntary_switches": "involuntary context switches"}


@dataclass(frozen=True, kw_only=True)
class Between:
    """One-way analysis of variance of a series by process, on the logarithmic scale (Searle et al. 1992, section 3.6).

    `excess` over `weight` estimates the variance between processes without that of rounds; `p_value` is the F test's.
    """

    excess: float
    weight: float
    degrees: int
    p_value: float

    @property
    def variance(self) -> float:
        """Return the variance between processes, at least 0."""
        return max(0.0, self.excess / self.weight)


def between(logs: Sequence[float], sizes: Sequence[int]) -> Between | None:
    """Return the analysis of one value per round, by process; None with one process or nothing within them."""
    groups = [np.asarray(logs[start:end]) for start, end in pairwise([0, *accumulate(sizes)])]
    groups = [group for group in groups if group.size]
    n, degrees = sum(group.size for group in groups), len(groups) - 1
    if degrees < 1 or n <= len(groups):
        return None
    counts, means = np.array([group.size for group in groups]), np.array([group.mean() for group in groups])
    square = float(counts @ (means - counts @ means / n) ** 2)
    within = sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / (n - len(groups))
    return Between(
        excess=square - degrees * within,
        weight=float(n - counts @ counts / n),
        degrees=degrees,
        p_value=float(stats.f.sf(square / degrees / within, degrees, n - len(groups))) if within else 0.0,
    )


def with_process_scatter(cells: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """Return the cells of one schedule, those with several processes with the scatter between them.

    Two or three processes tell little alone, so a cell has the scatter of all cells together. They count once per
    host, whose cells share its processes. Where a cell's own scatter is larger, it has that, with its own degrees.
    """
    seen = {index: found for index, cell in enumerate(cells) if is_sound(cell) and (found := _of_cell(cell))}
    if not seen:
        return tuple(cells)
    pooled = max(0.0, fmean(of.excess for of in seen.values()) / fmean(of.weight for of in seen.values()))
    hosts = {cells[index].worker_pid or -index: of.degrees for index, of in seen.items()}

    def told(index: int, cell: Measurement) -> Measurement:
        if index not in seen:
            return cell
        own = seen[index]
        variance, degrees = max((pooled, sum(hosts.values())), (own.variance, own.degrees))
        return replace(cell, figures={**cell.figures, SD: math.sqrt(variance), DEGREES: degrees})

    return tuple(told(index, cell) for index, cell in enumerate(cells))


def is_sound(cell: Measurement) -> bool:
    """Return whether a cell ended well, with samples that a logarithm can take."""
    return cell.outcome is Outcome.OK and bool(cell.samples_s) and min(cell.samples_s) > 0


def has_scatter(cell: Measurement) -> bool:
    """Return whether the scatter between processes was measured, so that it is part of the cell's intervals."""
    return SD in cell.figures


def scatter(cells: Iterable[Measurement]) -> dict[str, Figure]:
    """Return the figure of the scatter between processes: the median of all cells, none where a sound cell has none."""
    sound = [cell for cell in cells if is_sound(cell)]
    if not sound or not all(map(has_scatter, sound)):
        return {}
    return {SCATTER: Figure(value=median(cell.figures[SD] for cell in sound), unit="of the time")}


def widened(interval: Interval, *cells: Measurement) -> Interval:
    """Return the interval of a value that rests on these independent cells, with their processes' scatter."""
    measured = [cell for cell in cells if has_scatter(cell)]
    if not measured:
        return interval
    error = math.hypot(*(cell.figures[SD] / math.sqrt(len(cell.process_sizes)) for cell in measured))
    return _with_error(interval, error, min(cell.figures[DEGREES] for cell in measured))


def widened_ratio(interval: Interval, ratios: Sequence[float], one: Measurement, other: Measurement) -> Interval:
    """Return the interval of the ratio of two cells that took turns; `ratios` has one value per round.

    Cells of one host share its processes: what those have in common cancels, and only the ratios' own scatter counts.
    """
    if one.worker_pid is None or one.worker_pid != other.worker_pid:
        return widened(interval, one, other)
    found = between(np.log(ratios).tolist(), one.process_sizes)
    if found is None:
        return interval
    return _with_error(interval, math.sqrt(found.variance / (found.degrees + 1)), found.degrees)


def difference(cell: Measurement) -> Flag | None:
    """Return a flag that names two processes of one cell that differ, with what the kernel counted in them."""
    found = _of_cell(cell) if is_sound(cell) else None
    if found is None or found.p_value > 0.05:
        return None
    medians = [math.exp(median(of)) for of in _by_process(_logs(cell), cell.process_sizes)]
    slow, fast = medians.index(max(medians)), medians.index(min(medians))
    if medians[slow] <= (1 + DIFFERENCE) * medians[fast]:
        return None
    text = f"one process of this cell was {medians[slow] / medians[fast] - 1:.0%} slower than another"
    for name, words in COUNTED.items():
        counts = _per_call(cell, name)
        if counts and counts[slow] > 2 * counts[fast] + 1:
            text += f"; {counts[slow]:,.0f} {words} per call against {counts[fast]:,.0f}"
    return Flag(name=FLAG, text=text)


def _of_cell(cell: Measurement) -> Between | None:
    return between(_logs(cell), cell.process_sizes)


def _logs(cell: Measurement) -> list[float]:
    return [math.log(centre) for centre in round_medians(cell.rounds())]


def _by_process(values: Sequence[float], sizes: Sequence[int]) -> list[Sequence[float]]:
    return [values[start:end] for start, end in pairwise([0, *accumulate(sizes)]) if end > start]


def _per_call(cell: Measurement, name: str) -> list[float]:
    """Return the median count of the calling process per sample, by process; nothing where it was not counted."""
    counts = cell.series.get(name, ())
    if len(counts) != len(cell.samples_s):
        return []
    rounds = [0, *accumulate(cell.round_sizes)]
    return [
        median(counts[rounds[start] : rounds[end]]) for start, end in pairwise([0, *accumulate(cell.process_sizes)])
    ]


def _with_error(interval: Interval, error: float, degrees: float) -> Interval:
    """Return the interval with a normal standard error on the logarithmic scale, its arms added as squares."""
    if interval.low is None or interval.high is None or not interval.low > 0:
        return interval
    arm = float(stats.t.ppf((1 + interval.level) / 2, degrees)) * error
    down, up = math.log(interval.value / interval.low), math.log(interval.high / interval.value)
    return replace(
        interval,
        low=interval.value * math.exp(-math.hypot(down, arm)),
        high=interval.value * math.exp(math.hypot(up, arm)),
    )
