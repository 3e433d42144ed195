"""A clock that asks the device: event pairs on the stream in use, with host times beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from inferbench_lib.errors import MeasurementError

if TYPE_CHECKING:
    import torch


class EventClock:
    """Device seconds between two events on the current stream, begun with the device idle.

    `side_series` gives, one value a sample, `wall_s` (host time until the device was done) and `enqueue_s` (host
    time until the call returned and the end event was queued). Raises MeasurementError when time runs backwards.
    """

    def __init__(
        self, device: str, synchronize: Callable[[], None], read_ns: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        import torch

        self._device = device
        self._synchronize = synchronize
        self._read_ns = read_ns
        self._begin = torch.Event(device, enable_timing=True)
        self._end = torch.Event(device, enable_timing=True)
        self._stream: torch.Stream | None = None
        self._started_ns = 0
        self._wall_s: list[float] = []
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
        self._wall_s.append((ended_ns - self._started_ns) / 1e9)
        return seconds

    def side_series(self) -> Mapping[str, tuple[float, ...]]:
        seen = {"wall_s": tuple(self._wall_s), "enqueue_s": tuple(self._enqueue_s)}
        self._wall_s.clear()
        self._enqueue_s.clear()
        return seen


def is_launch_bound(enqueue_s: float, device_s: float) -> bool:
    """Whether the host needs as long to enqueue a call as the device to run it (NVIDIA trtexec's rule)."""
    return enqueue_s >= device_s
