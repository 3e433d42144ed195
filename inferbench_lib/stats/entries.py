"""Values with their intervals as entries of `summary.json` and as columns of a frame."""

from __future__ import annotations

import math

from inferbench_lib.findings import Interval, Ratio
from inferbench_lib.records import Figure


def entry(value: Interval | Ratio, unit: str, verdict: str = "", *, is_known: bool = True) -> Figure:
    """Return a value with its interval; None where it is unknown or withheld, since JSON has no NaN."""
    if not is_known or math.isnan(value.value):
        return Figure(value=None, unit=unit, verdict=verdict)
    return Figure(value=value.value, low=value.low, high=value.high, unit=unit, verdict=verdict)


def columns(of: Interval | Ratio, unit: float = 1.0) -> dict[str, float]:
    """Return a value with its interval, over a unit, as columns of a frame; NaN where the interval is withheld."""
    low, high = (math.nan if end is None else end / unit for end in (of.low, of.high))
    return {"value": of.value / unit, "low": low, "high": high}
