"""Values with their intervals as entries of `summary.json`."""

from __future__ import annotations

import math

from inferbench_lib.records import Figure, Interval, Ratio


def entry(value: Interval | Ratio, unit: str, verdict: str = "", *, is_known: bool = True) -> Figure:
    """A value with its interval; None where it is not known or withheld, since NaN is no number of JSON."""
    if not is_known or math.isnan(value.value):
        return Figure(value=None, unit=unit, verdict=verdict)
    return Figure(value=value.value, low=value.low, high=value.high, unit=unit, verdict=verdict)
