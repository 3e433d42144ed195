"""Decide when a warm-up may end. This file loads no SciPy, which every worker would wait for."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

WARMUP_MINIMUM = 10  # samples: the reference protocol's warm-up
WARMUP_WINDOW = 5  # samples in each of the two windows that must agree
WARMUP_TOLERANCE = 0.02  # two windows this close agree, whatever their scatter


def is_level(samples: Sequence[float], *, minimum: int = WARMUP_MINIMUM, tolerance: float = WARMUP_TOLERANCE) -> bool:
    """Return whether a series is level: its last two windows of five agree. Cheap enough to call after every sample.

    They agree when their medians differ by at most `tolerance`, or by at most three times the median deviation
    from them (about 2.5 standard errors of that difference for normal noise; a straight ramp differs by five).
    After Georges et al. 2007, who watch a window's coefficient of variation; medians let a stray call pass.
    """
    if len(samples) < max(minimum, 2 * WARMUP_WINDOW):
        return False
    earlier, later = samples[-2 * WARMUP_WINDOW : -WARMUP_WINDOW], samples[-WARMUP_WINDOW:]
    before, after = median(earlier), median(later)
    scatter = median([abs(x - before) for x in earlier] + [abs(x - after) for x in later])
    return abs(after - before) <= max(tolerance * before, 3 * scatter)
