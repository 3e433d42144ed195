"""A fixed small piece of work, by which a change of the machine's own speed is seen."""

from __future__ import annotations

from itertools import repeat

import numpy as np

from inferbench_lib.timing.clock import WallClock
from inferbench_lib.timing.loop import after, collect


class ControlWork:
    """Matrix products and plain Python, some milliseconds each."""

    def __init__(self) -> None:
        self._matrix = np.random.default_rng(0).standard_normal((256, 256), dtype=np.float32)

    def seconds(self) -> float:
        """Time the work three times and return the shortest, so that a single interruption does not count."""
        return min(collect(self._work, repeat(None), clock=WallClock(), enough=after(3), check=lambda *_: None))

    def _work(self, _: None) -> float:
        product: np.ndarray = self._matrix
        for _round in range(8):
            product = product @ self._matrix / 16
        return float(product[0, 0]) + sum(number * number for number in range(20_000))
