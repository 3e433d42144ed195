"""Find the batch size from which another engine is faster, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from inferbench_lib.findings import Interval
from inferbench_lib.records import CPU, Measurement
from inferbench_lib.stats.comparison import unusable
from inferbench_lib.stats.intervals import signed_rank_interval, values_needed
from inferbench_lib.stats.series import round_medians


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """The batch size at which the engine `after` overtakes the engine `before`, which is faster at smaller ones."""

    before: str
    after: str
    batch_size: Interval


def crossover(workload: str, rows: Sequence[Measurement]) -> Crossover | None:
    """Return where the fastest engine at the largest batch overtakes that at the smallest, on the CPU in fp32.

    Each engine has its fastest number of threads at each size. None where one engine is the fastest at both ends, or
    fewer than two sizes were measured by both.
    """
    of_engine: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        case = row.case
        if case.workload != workload or case.device != CPU or case.precision != "fp32" or unusable(row):
            continue
        seconds = round_medians(row.rounds())
        sizes = of_engine.setdefault(case.engine, {})
        if case.batch_size not in sizes or median(seconds) < median(sizes[case.batch_size]):
            sizes[case.batch_size] = seconds
    every = sorted({size for sizes in of_engine.values() for size in sizes})
    if len(every) < 2:
        return None
    before, after = (_fastest(of_engine, size) for size in (every[0], every[-1]))
    shared = [size for size in every if size in of_engine[before] and size in of_engine[after]]
    if before == after or len(shared) < 2:
        return None
    found = crossing(shared, [of_engine[before][size] for size in shared], [of_engine[after][size] for size in shared])
    return None if found is None else Crossover(before=before, after=after, batch_size=found)


def crossing(
    sizes: Sequence[int], before_s: Sequence[Sequence[float]], after_s: Sequence[Sequence[float]]
) -> Interval | None:
    """Return the size at which the ratio of two engines' times passes 1, from their seconds by size and round.

    Between two sizes the logarithm of the ratio is taken as linear in that of the size. The ends are the sizes at which
    the ends of the ratio's signed-rank intervals pass 1; an end that does not pass it is withheld, with both, as with
    fewer than six rounds. None where the ratio itself does not pass 1.
    """
    n_rounds = min(len(seconds) for seconds in (*before_s, *after_s))
    # Above 0 where `after` is faster, by size and round.
    logs = np.array([np.log(np.divide(b[:n_rounds], a[:n_rounds])) for b, a in zip(before_s, after_s, strict=True)])
    where = np.log(np.asarray(sizes, dtype=float))
    bands = [signed_rank_interval(row) for row in logs]
    value = _zero(where, np.array([band.value for band in bands]))
    if value is None:
        return None
    if n_rounds < values_needed():
        reason = f"needs {values_needed()} rounds, has {n_rounds}"
        return Interval(value=math.exp(value), reason=reason)
    low, high = (_zero(where, np.array([getattr(band, end) for band in bands])) for end in ("high", "low"))
    if low is None or high is None:
        return Interval(value=math.exp(value), reason="it may lie outside the batch sizes measured")
    return Interval(value=math.exp(value), low=math.exp(min(low, value)), high=math.exp(max(high, value)))


def _zero(where: npt.NDArray[np.float64], logs: npt.NDArray[np.float64]) -> float | None:
    """Return the last place at which the polyline passes 0 upwards; None where it does not."""
    for i in range(len(logs) - 2, -1, -1):
        if logs[i] <= 0 < logs[i + 1]:
            return float(where[i] - logs[i] * (where[i + 1] - where[i]) / (logs[i + 1] - logs[i]))
    return None


def _fastest(of_engine: Mapping[str, Mapping[int, Sequence[float]]], size: int) -> str:
    return min((name for name in of_engine if size in of_engine[name]), key=lambda name: median(of_engine[name][size]))
