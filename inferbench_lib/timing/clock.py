"""The clocks: wall time, and a device's own by events; synchronization is inside them."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from inferbench_lib.errors import MeasurementError

if TYPE_CHECKING:
    import torch


ReadNs = Callable[[], int]
"""A counter of nanoseconds."""


class Clock(Protocol):
    """Times one sample. `side_series` empties what the clock saw beside the seconds it returned."""

    def start(self) -> None: ...

    def stop(self) -> float: ...

    def side_series(self) -> Mapping[str, tuple[float, ...]]: ...


class WallClock:
    """Elapsed wall time from a nanosecond counter; `synchronize` runs before each reading.

    Raises MeasurementError when the counter runs backwards.
    """

    def __init__(
        self, read_ns: ReadNs = time.perf_counter_ns, synchronize: Callable[[], object] = lambda: None
    ) -> None:
        self._read_ns, self._synchronize = read_ns, synchronize
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


class EventClock:
    """Device seconds between two events on the current stream, begun with the device idle.

    `side_series` returns one value per sample of `wall_s`, the host time until the device was done, and of `enqueue_s`,
    the host time until the end event was queued. Raises MeasurementError when time runs backwards.
    """

    def __init__(self, device: str, synchronize: Callable[[], None], read_ns: ReadNs) -> None:
        import torch

        self._device, self._synchronize, self._read_ns = device, synchronize, read_ns
        self._begin = torch.Event(device, enable_timing=True)
        self._end = torch.Event(device, enable_timing=True)
        self._stream: torch.Stream | None = None
        self._started_ns = 0
        self._enqueue_s: list[float] = []

    def start(self) -> None:
        import torch

        self._synchronize()
        self._stream = torch.accelerator.current_stream(self._device)
        self._started_ns = self._read_ns()
        self._begin.record(self._stream)

    def stop(self) -> float:
        self._end.record(self._stream)
        enqueued_ns = self._read_ns()
        self._synchronize()
        ended_ns = self._read_ns()
        seconds = self._begin.elapsed_time(self._end) / 1e3  # torch gives milliseconds
        if not self._started_ns <= enqueued_ns <= ended_ns or seconds < 0:
            raise MeasurementError(
                f"clock: expected times that never run backwards, got host readings of {self._started_ns}, "
                f"{enqueued_ns} and {ended_ns} ns and {seconds} s between two events; "
                "measure with time.perf_counter_ns, which is monotonic"
            )
        self._enqueue_s.append((enqueued_ns - self._started_ns) / 1e9)
        return seconds

    def side_series(self) -> Mapping[str, tuple[float, ...]]:
        seen = {"enqueue_s": tuple(self._enqueue_s)}
        self._enqueue_s.clear()
        return seen


class UsageClock:
    """Another clock, which also counts what the kernel did to this process during each sample.

    `side_series` adds `minor_faults` (pages mapped anew, as after an allocator gave memory back) and
    `involuntary_switches` (times the CPU was taken away), from getrusage(2) outside the timed region.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._counted: list[tuple[int, int]] = []
        self._before = (0, 0)

    def start(self) -> None:
        self._before = self._usage()
        self.clock.start()

    def stop(self) -> float:
        elapsed_s = self.clock.stop()
        faults, switches = self._usage()
        self._counted.append((faults - self._before[0], switches - self._before[1]))
        return elapsed_s

    def side_series(self) -> Mapping[str, tuple[float, ...]]:
        faults, switches = zip(*self._counted, strict=True) if self._counted else ((), ())
        self._counted.clear()
        return {**self.clock.side_series(), "minor_faults": faults, "involuntary_switches": switches}

    def _usage(self) -> tuple[int, int]:
        seen = resource.getrusage(resource.RUSAGE_SELF)
        return seen.ru_minflt, seen.ru_nivcsw
