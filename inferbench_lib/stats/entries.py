"""Turn values with their intervals into entries of `summary.json`."""

from __future__ import annotations

import math

from inferbench_lib.records import Figure, Interval, Ratio


def entry(value: Interval | Ratio, unit: str, verdict: str = "", *, is_known: bool = True) -> Figure:
    """Return the entry of a value; None where it is not known or withheld, since JSON has no NaN."""
    if not is_known or math.isnan(value.value):
        return Figure(value=None, unit=unit, verdict=verdict)
    return Figure(value=value.value, low=value.low, high=value.high, unit=unit, verdict=verdict)
