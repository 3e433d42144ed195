"""The clock, the timing loop and the rules that end it, on a fake counter: every value is exact."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count

import pytest

from inferbench_lib.errors import MeasurementError
from inferbench_lib.measure import source
from inferbench_lib.timing.clock import WallClock
from inferbench_lib.timing.loop import after, block_size, collect


class FakeTime:
    """A counter that moves only when something takes time."""

    def __init__(self) -> None:
        self.ns = 0

    def read_ns(self) -> int:
        return self.ns

    def taking(self, *durations_ns: int) -> Callable[[int], int]:
        """A call that takes the n-th of these, over and over, for batch n, and answers with ten times its batch."""

        def call(batch: int) -> int:
            self.ns += durations_ns[batch % len(durations_ns)]
            return 10 * batch

        return call


# The clock


def test_a_clock_measures_from_start_to_stop_in_seconds() -> None:
    """1.5 ms between two readings are 0.0015 s, and nothing is seen beside them."""
    fake = FakeTime()
    clock = WallClock(fake.read_ns)
    fake.ns = 7
    clock.start()
    fake.ns += 1_500_000
    assert clock.stop() == 0.0015
    assert clock.side_series() == {}


def test_a_clock_waits_for_queued_work_before_both_readings() -> None:
    """Work queued before the start is in no sample, work queued in it is, to its end."""
    fake = FakeTime()
    queue: list[int] = [900]

    def synchronize() -> None:
        fake.ns += sum(queue)
        queue.clear()

    clock = WallClock(fake.read_ns, synchronize)
    clock.start()
    fake.ns += 10
    queue.append(300)
    assert clock.stop() == 310e-9


def test_a_counter_that_runs_backwards_is_refused() -> None:
    """A step back raises with its size; no step at all is a time of zero."""
    fake = FakeTime()
    clock = WallClock(fake.read_ns)
    clock.start()
    assert clock.stop() == 0.0
    fake.ns = -5
    with pytest.raises(MeasurementError) as raised:
        clock.stop()
    assert str(raised.value) == (
        "clock: expected a counter that never runs backwards, got a step of -5 ns; "
        "measure with time.perf_counter_ns, which is monotonic"
    )


def test_the_clock_s_own_counter_counts_time_asleep_and_is_fine() -> None:
    """20 ms of sleep, which cost no CPU time, are read as 20 ms; 50 µs of work are never read as none."""
    clock = WallClock()
    clock.start()
    time.sleep(0.02)
    assert clock.stop() >= 0.0199

    def work_s() -> float:
        clock.start()
        until_ns = time.perf_counter_ns() + 50_000
        while time.perf_counter_ns() < until_ns:
            pass
        return clock.stop()

    assert min(work_s() for _ in range(20)) >= 50e-6


# The loop


def test_every_sample_is_kept_in_order() -> None:
    """Slow and fast calls alike, each with its own time, none repeated and none dropped."""
    fake = FakeTime()
    durations = (3_000, 1_000, 1_000, 900_000, 2_000)
    samples = collect(
        fake.taking(*durations), count(), clock=WallClock(fake.read_ns), enough=after(5), check=lambda *_: None
    )
    assert samples == [3e-6, 1e-6, 1e-6, 900e-6, 2e-6]


def test_a_block_runs_on_different_batches_and_counts_per_call() -> None:
    """Two samples of three calls: six batches, the mean time of each three, the last output of each three checked."""
    fake = FakeTime()
    checked: list[tuple[int, int]] = []
    samples = collect(
        fake.taking(1_000, 2_000, 6_000, 1_000, 1_000, 1_000),
        count(),
        clock=WallClock(fake.read_ns),
        enough=after(2),
        check=lambda batch, output: checked.append((batch, output)),
        block_size=3,
    )
    assert samples == [3e-6, 1e-6]
    assert checked == [(2, 20), (5, 50)]


def test_preparing_and_checking_are_not_timed() -> None:
    """What it takes to draw a batch, to judge an output and to ask whether it is enough is in no sample."""
    fake = FakeTime()

    def slow(ns: int) -> None:
        fake.ns += ns

    def batches() -> object:
        for batch in count():
            slow(70_000)
            yield batch

    def enough(samples: list[float]) -> bool:
        slow(5_000)
        return len(samples) == 2

    samples = collect(
        fake.taking(1_000, 2_000),
        batches(),  # type: ignore[arg-type]
        clock=WallClock(fake.read_ns),
        enough=enough,
        check=lambda *_: slow(400_000),
    )
    assert samples == [1e-6, 2e-6]


def test_a_loop_that_has_enough_calls_nothing() -> None:
    """The rule is asked before the first call."""
    assert collect(pytest.fail, count(), clock=WallClock(), enough=after(0), check=lambda *_: None) == []


# The rules


def test_after_counts_samples() -> None:
    """Two are not three, three are."""
    assert [after(3)([1.0] * n) for n in (2, 3, 4)] == [False, True, True]


@pytest.mark.parametrize(
    ("n", "level", "elapsed_s", "expected"),
    [
        (3, True, 0.0, False),  # level, but below the minimum
        (3, True, 99.0, False),  # nor does time make it enough
        (4, True, 0.0, True),
        (4, False, 9.9, False),
        (4, False, 10.0, True),
        (7, False, 0.0, False),
        (8, False, 0.0, True),
    ],
)
def test_warm_up_goes_on_until_level_within_its_bounds(
    n: int, level: bool, elapsed_s: float, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least four samples; then level, eight samples or ten seconds, whichever comes first."""
    readings = iter([100.0, 100.0 + elapsed_s])
    monkeypatch.setattr(source, "is_level", lambda samples, minimum: level)
    rule = source.WarmUp(min_calls=4, max_calls=8, time_limit_s=10.0).rule(lambda: next(readings))
    assert rule([1.0] * n) is expected


@pytest.mark.parametrize(
    ("call_s", "expected"), [(1e-3, 1), (1e-4, 10), (1.1e-4, 10), (0.9e-4, 12), (1e-6, 1_000), (0.0, 1)]
)
def test_a_block_holds_the_timer_s_cost_below_its_share(call_s: float, expected: int) -> None:
    """A timer of 100 ns may be 1e-4 of a sample: 1 ms of work, rounded up to whole calls."""
    assert block_size(100e-9, call_s) == expected
