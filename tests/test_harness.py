"""The clock and the loop on a counter of known steps, and the benches that hold them against known work."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import pytest

from inferbench_lib.measure.source import Source
from inferbench_lib.records import Case, Verification
from inferbench_lib.studies.calibration.probes import AgreementBench, HarnessBench
from inferbench_lib.timing import harness
from inferbench_lib.timing.cell import Inputs
from inferbench_lib.timing.harness import DeadlineSpin, overhead, spin_samples
from inferbench_lib.work.base import Runner


class Ticks:
    """A counter that goes on by 50 ns whenever it is read, and stands still otherwise."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 50
        return self.now_ns


def test_overhead_is_exact_on_a_counter_of_known_steps() -> None:
    """With 50 ns a reading, each overhead is the number of its readings times 50 ns."""
    seen = overhead(Ticks(), n=10)
    assert seen.timer_pair_ns == 21 * 50 / 10  # ten pairs and the reading that ends them
    assert seen.timer_step_ns == 50
    assert seen.clock_ns == pytest.approx(50)
    assert seen.loop_ns == pytest.approx(0)
    assert seen.between_ns == pytest.approx(11 * 50 / 10)  # a reading before each sample, and the last one
    assert seen.spin_edge_ns == 50  # the reading with which a spin begins is not in what it says


def test_time_that_the_loop_adds_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that loses one reading in every sample shows 50 ns of its own."""
    ticks, collect = Ticks(), harness.collect

    def slow(call: Any, *arguments: Any, **options: Any) -> list[float]:
        return collect(lambda batch: (ticks(), call(batch)), *arguments, **options)

    monkeypatch.setattr(harness, "collect", slow)
    assert overhead(ticks, n=10).loop_ns == pytest.approx(50)


def test_spin_tells_its_true_time() -> None:
    """A spin of 220 ns on a counter with steps of 50 ns took 250, overshoot included; spins add up until asked."""
    work = DeadlineSpin(Ticks())
    work.spin(220)
    work.spin(220)
    assert [work.take_ns(), work.take_ns()] == [500, 0]


def test_spins_are_timed_by_the_production_loop() -> None:
    """A sample of 4 spins of 200 ns reads 21 steps over 4 calls; the spins say 200 ns each."""
    samples_s, said_s = spin_samples(200, n_samples=3, calls_per_sample=4, read_ns=Ticks())
    assert samples_s == pytest.approx([21 * 50e-9 / 4] * 3)
    assert said_s == pytest.approx([200e-9] * 3)


def test_harness_bench_takes_blocks_where_the_timer_is_dear() -> None:
    """Short spins are timed in blocks and one by one, long ones one by one only; every round takes as many samples."""
    bench = HarnessBench(seed=0)
    bench.turn()
    rows, looks = bench.finish()
    calls = {label: [row.calls_per_sample for row in rows if row.case.engine == label] for label in ("5us", "5ms")}
    assert calls["5us"][0] > 10
    assert calls["5us"][1:] == calls["5ms"] == [1]
    assert {row.round_sizes for row in rows} == {(20,)}
    assert len(looks["timer_pair_ns"]) == 4


class Spins(Source):
    """Calls that take 200 µs each."""

    def runner(self, case: Case) -> Runner:
        return Runner(run=DeadlineSpin().spin)

    def inputs(self, case: Case) -> Inputs:
        return Inputs(
            batches=repeat((0, 200_000)),
            check=lambda key, output: Verification(passed=key == 0, n_checked=1),
        )


def test_both_timers_time_the_same_calls() -> None:
    """Our loop and torch's timer both read spins of 200 µs as that, one sample a round, within wide bounds."""
    bench = AgreementBench(Spins(), Case(workload="spin", batch_size=1), seed=0, n_calls=5)
    for _ in range(6):
        bench.turn()
    ours, theirs = bench.finish()
    assert (ours.notes, theirs.notes) == ({"timer": "inferbench"}, {"timer": "torch"})
    for row in (ours, theirs):
        assert (row.round_sizes, row.calls_per_sample) == ((1,) * 6, 5)
        assert 200e-6 <= min(row.samples_s) < 1e-3
