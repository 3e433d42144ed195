"""Clocks: what a second is, with the synchronization inside."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from inferbench_lib.errors import MeasurementError


class Clock(Protocol):
    """Times one sample. `side_series` empties what the clock saw beside the seconds it returned."""

    def start(self) -> None: ...

    def stop(self) -> float: ...

    def side_series(self) -> Mapping[str, tuple[float, ...]]: ...


def _nothing() -> None:
    return None


class WallClock:
    """Elapsed wall time from a nanosecond counter; `synchronize` runs before each reading.

    Raises MeasurementError when the counter runs backwards.
    """

    def __init__(
        self,
        read_ns: Callable[[], int] = time.perf_counter_ns,
        synchronize: Callable[[], None] = _nothing,
    ) -> None:
        self._read_ns = read_ns
        self._synchronize = synchronize
        self._started_ns = 0

    def start(self) -> None:
        self._synchronize()
        self._started_ns = self._read_ns()

    def stop(self) -> float:
        self._synchronize()
        elapsed_ns = self._read_ns() - self._started_ns
        if elapsed_ns < 0:
            raise MeasurementError(
                f"clock: expected a counter that never runs backwards, got a step of {elapsed_ns} ns; "
                "measure with time.perf_counter_ns, which is monotonic"
            )
        return elapsed_ns / 1e9

    def side_series(self) -> Mapping[str, tuple[float, ...]]:
        return {}
