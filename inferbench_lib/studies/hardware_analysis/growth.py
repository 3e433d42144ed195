"""Growth of time with the size of the input: time ∝ sizeᵖ, fitted round by round."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inferbench_lib.findings import Interval
from inferbench_lib.stats.intervals import signed_rank_interval


@dataclass(frozen=True, kw_only=True)
class GrowthPoint:
    """One input size: seconds of a call, bytes of the input."""

    value: int
    seconds: Interval
    bytes: int
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The fit of time against one input size: the exponent p of time ∝ sizeᵖ, and `at_one_s`, the time at size 1.

    `misfit` is the largest relative difference of a point from the line. A large one shows that a power does not
    describe this range: a fixed cost at small sizes, another cache at large ones.
    """

    input: str
    workload: str
    points: tuple[GrowthPoint, ...]
    exponent: Interval
    at_one_s: float
    misfit: float

    def seconds_at(self, value: float) -> float:
        """Return the fitted seconds at one input size."""
        return float(self.at_one_s * value**self.exponent.value)


def growths(rows: Sequence[Mapping[str, Any]]) -> tuple[Growth, ...]:
    """Return one fit for each kind of input with at least three sizes."""
    kinds = dict.fromkeys((row["input"], row["workload"]) for row in rows)
    found = [[row for row in rows if (row["input"], row["workload"]) == kind] for kind in kinds]
    return tuple(_growth(sizes) for sizes in found if len(sizes) >= 3)


def _growth(rows: Sequence[Mapping[str, Any]]) -> Growth:
    """Fit a line to the logarithms of each round; the exponent's interval is over rounds."""
    rows = sorted(rows, key=lambda row: row["value"])
    logs = np.log([row["value"] for row in rows])
    by_round = np.log(np.array([row["seconds"] for row in rows])).T
    exponent = signed_rank_interval([float(np.polyfit(logs, seconds, 1)[0]) for seconds in by_round])
    points = tuple(
        GrowthPoint(
            value=row["value"],
            seconds=signed_rank_interval(row["seconds"]),
            bytes=row["bytes"],
            dtype=row["dtype"],
        )
        for row in rows
    )
    heights = [math.log(p.seconds.value) - exponent.value * math.log(p.value) for p in points]
    at_one_s = math.exp(sum(heights) / len(heights))
    misfit = max(abs(p.seconds.value / (at_one_s * p.value**exponent.value) - 1) for p in points)
    return Growth(
        input=rows[0]["input"],
        workload=rows[0]["workload"],
        points=points,
        exponent=exponent,
        at_one_s=at_one_s,
        misfit=misfit,
    )
