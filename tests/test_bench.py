"""How a variant prepares a cell, takes its turns and hands over what it saw, in virtual time."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import count, pairwise
from typing import Any

import numpy as np
import pytest

from inferbench_lib.errors import NotAvailable
from inferbench_lib.measure.bench import Bench
from inferbench_lib.measure.calls import Calls, places, pool_size
from inferbench_lib.measure.control import ControlWork
from inferbench_lib.measure.executor_passes import N_WINDOWS, ColdPasses, Passes, prepare_files, step
from inferbench_lib.measure.source import Source, WarmUp
from inferbench_lib.records import Case, Outcome, Span, Verification
from inferbench_lib.timing.accelerator import Accelerator
from inferbench_lib.timing.cell import Inputs
from inferbench_lib.work.base import Runner, Workload
from inferbench_lib.work.cnn import Cnn
from inferbench_lib.work.engines.sklearn import Sklearn
from inferbench_lib.work.engines.torch import Torch
from inferbench_lib.work.fake import FakeEngine, FakeWorkload
from inferbench_lib.work.forest import Forest
from inferbench_lib.work.outputs import equal

CASE = Case(workload="fake", batch_size=4)


class FakeSource(Source):
    """Its n-th call takes `costs_ns[n]` (the last for ever after) and answers `answer(batch)`; right is `batch + 1`."""

    def __init__(self, costs_ns: list[int], answer: Callable[[int], Any] = lambda batch: batch + 1) -> None:
        self.costs_ns, self.answer = costs_ns, answer
        self.given: list[int] = []
        self.activated: list[Case] = []
        self.told: list[int] = []
        self.now_ns = 0
        self.returns_warm = False

    @property
    def accelerator(self) -> Accelerator:
        return Accelerator(read_ns=lambda: self.now_ns)

    def load(self) -> dict[str, float]:
        return {"load_s": 0.5}

    def runner(self, case: Case) -> Runner:
        return Runner(run=self._call, activate=lambda: self.activated.append(case))

    def inputs(self, case: Case) -> Inputs:
        return Inputs(
            batches=((number, number) for number in count()),
            check=lambda key, output: equal(np.asarray(output), np.asarray(key + 1)),
        )

    def spans(self) -> tuple[Span, ...]:
        self.told.append(len(self.given))
        self.now_ns += 10**9
        return (Span(worker=0, kind="compute", start_s=0.0, end_s=1.0),)

    def _call(self, batch: int) -> Any:
        self.given.append(batch)
        self.now_ns += self.costs_ns[min(len(self.given), len(self.costs_ns)) - 1]
        return self.answer(batch)


def started(source: Source) -> Bench:
    """A bench over a source, its start behind it."""
    bench = Bench(source)
    bench.start()
    return bench


FIVE = WarmUp(min_calls=5, max_calls=5)


def test_cold_warm_up_and_samples_are_apart() -> None:
    """The first call is the cold one, the next five the warm-up, and only what turns took are samples."""
    bench = started(FakeSource([9000, 50, 40, 30, 20, 10, 7, 8, 9]))
    assert bench.prepare(CASE, FIVE) == (50e-9, 40e-9, 30e-9, 20e-9, 10e-9)
    assert bench.turn(CASE, 2) == (7e-9, 8e-9)
    assert bench.turn(CASE, 1) == (9e-9,)
    row = bench.finish(CASE)
    assert row.cold_s == 9000e-9
    assert row.warmup_s == (50e-9, 40e-9, 30e-9, 20e-9, 10e-9)
    assert row.samples_s == (7e-9, 8e-9, 9e-9)
    assert row.round_sizes == (2, 1)
    assert (row.calls_per_sample, row.inputs_per_call) == (1, 4)
    assert (row.outcome, row.reason, row.case) == (Outcome.OK, "", CASE)
    assert (row.startup_s, row.worker_pid) == ({"load_s": 0.5}, os.getpid())


def test_warm_up_lasts_until_the_series_is_level() -> None:
    """A falling series is warmed up for longer than the minimum, a level one for ten calls: two windows of five."""
    falling = [0, *(10_000 - 700 * number for number in range(12)), 100]
    level = started(FakeSource([0, 100]))
    ramp = started(FakeSource(falling))
    warm_up = WarmUp(min_calls=3, max_calls=40)
    assert len(level.prepare(CASE, warm_up)) == 10
    assert 10 + 5 < len(ramp.prepare(CASE, warm_up)) <= 12 + 10


def test_no_input_comes_twice() -> None:
    """Cold call, warm-up and turns each take the next input of one endless row."""
    source = FakeSource([10])
    bench = started(source)
    bench.prepare(CASE, FIVE)
    bench.turn(CASE, 3)
    bench.turn(CASE, 3)
    assert source.given == list(range(12))


def test_an_untimed_call_begins_each_turn() -> None:
    """Other cells had their turns in between, so the first call is no sample, unless the source says otherwise."""
    source = FakeSource([0, 0, 0, 0, 0, 0, 900, 7, 8, 901, 9])
    source.returns_warm = True
    bench = started(source)
    bench.prepare(CASE, FIVE)
    assert bench.turn(CASE, 2) == (7e-9, 8e-9)
    assert bench.turn(CASE, 1) == (9e-9,)


def test_where_the_time_went_is_read_outside_the_timed_region() -> None:
    """Spans are read after each sample of a turn, and the second that this takes is in no sample."""
    source = FakeSource([10])
    bench = started(source)
    bench.prepare(CASE, FIVE)
    assert bench.turn(CASE, 3) == (10e-9,) * 3
    assert source.told == [7, 8, 9]
    assert [[span.kind for span in spans] for spans in bench.finish(CASE).spans] == [["compute"]] * 3


def test_a_cell_is_activated_before_its_warm_up_and_its_turns() -> None:
    """What belongs to the whole process, such as threads, is set anew, because another cell may have changed it."""
    other = Case(workload="fake", batch_size=8)
    source = FakeSource([10])
    bench = started(source)
    for case in (CASE, other):
        bench.prepare(case, FIVE)
    for case in (CASE, other, CASE):
        bench.turn(case, 1)
    assert source.activated == [CASE, other, CASE, other, CASE]


def test_every_output_is_verified() -> None:
    """Cold call, warm-up and samples are all compared with the reference."""
    bench = started(FakeSource([10]))
    bench.prepare(CASE, FIVE)
    bench.turn(CASE, 3)
    seen = bench.finish(CASE).verification
    assert seen is not None
    assert (seen.word, seen.n_checked) == ("PASSED", 9)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (lambda batch: batch + 1 + (batch >= 7), "1 of 1 values differ, first at []: expected 8, got 9"),
        (lambda batch: float("nan") if batch == 2 else batch + 1, "1 of 1 values are not finite"),
        (lambda batch: [batch + 1, batch + 1], "shape: expected (), got (2,)"),
        (lambda batch: 1, "1 of 1 values differ, first at []: expected 2, got 1"),
    ],
    ids=["one output", "NaN in the warm-up", "wrong shape", "cached result"],
)
def test_wrong_output_makes_the_row_invalid_with_where(answer: Callable[[int], Any], detail: str) -> None:
    """The first output that differs decides, wherever it came, and later right ones do not mend it."""
    bench = started(FakeSource([10], answer))
    bench.prepare(CASE, FIVE)
    bench.turn(CASE, 6)
    row = bench.finish(CASE)
    assert row.verification is not None
    assert (row.outcome, row.verification.word, row.verification.detail) == (Outcome.INVALID, "FAILED", detail)
    assert row.reason == f"outputs differ from the reference: {detail}"
    assert len(row.samples_s) == 6


def test_cells_of_one_bench_are_apart() -> None:
    """Two cells of one process keep their own inputs, samples and verification."""
    other = Case(workload="fake", batch_size=8)
    bench = started(FakeSource([10]))
    for case in (CASE, other):
        bench.prepare(case, FIVE)
    bench.turn(CASE, 2)
    bench.turn(other, 1)
    rows = bench.finish(CASE), bench.finish(other)
    assert [row.round_sizes for row in rows] == [(2,), (1,)]
    assert [row.inputs_per_call for row in rows] == [4, 8]
    assert [row.verification.n_checked for row in rows if row.verification] == [8, 7]


def test_memory_pass_leaves_no_trace() -> None:
    """Calls of the memory pass are neither samples nor checked."""
    source = FakeSource([10])
    bench = started(source)
    bench.prepare(CASE, FIVE)
    bench.turn(CASE, 2)
    bench.run(CASE, 4)
    assert len(source.given) == 1 + 5 + 2 + 4
    row = bench.finish(CASE)
    assert row.verification is not None
    assert (len(row.samples_s), row.verification.n_checked) == (2, 1 + 5 + 2)


def test_verifications_add_up() -> None:
    """Counts add, the largest difference stays, the first failure wins."""
    good, better = (Verification(passed=True, n_checked=5, max_abs_difference=d) for d in (0.2, 0.1))
    bad = Verification(passed=False, n_checked=5, max_abs_difference=3.0, detail="there")
    assert good.followed_by(better) == Verification(passed=True, n_checked=10, max_abs_difference=0.2)
    assert bad.followed_by(good) == bad
    assert good.followed_by(bad) == Verification(passed=False, n_checked=10, max_abs_difference=3.0, detail="there")


# Calls of a workload


@pytest.fixture
def forest(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Forest:
    """A small forest with its files in a folder of the test's own."""
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path))
    return Forest(n_features=4, n_trees=3, n_train=200)


def calls(work: Workload, largest: int, **more: Any) -> Calls:
    """The calls of a workload by its own library."""
    engine = {"sklearn": Sklearn, "torch": Torch, "fake": FakeEngine}[work.engine]
    return Calls(workload=work, engine=engine, n_pool=pool_size(work, largest), **more)


def test_calls_measure_and_verify(forest: Forest) -> None:
    """A batch of seven rows is seven inputs, verified against the stored classes; one more call begins the turn."""
    bench = started(calls(forest, 7))
    case = Case(workload="forest", batch_size=7)
    bench.prepare(case, WarmUp(min_calls=2, max_calls=2))
    bench.turn(case, 3)
    row = bench.finish(case)
    assert row.verification is not None
    assert (row.outcome, row.inputs_per_call, row.verification.n_checked) == (Outcome.OK, 7, 7 * 6)
    assert min(row.samples_s) > 0
    assert row.startup_s["load_s"] > 0


def test_calls_see_a_wrong_model(forest: Forest) -> None:
    """Predictions that are not the reference's make the row invalid."""
    source = calls(forest, 50)
    bench = started(source)
    source._reference = ~source._reference
    case = Case(workload="forest", batch_size=50)
    bench.prepare(case, WarmUp(min_calls=1, max_calls=1))
    assert bench.finish(case).outcome is Outcome.INVALID


def test_any_workload_and_engine_will_do(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The public fakes are measured by the same lines."""
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path))
    bench = started(calls(FakeWorkload(), 5))
    case = Case(workload="fake", engine="fake", batch_size=5)
    bench.prepare(case, WarmUp(min_calls=1, max_calls=1))
    bench.turn(case, 2)
    assert bench.finish(case).outcome is Outcome.OK


def test_an_engine_refuses_a_workload_of_another_kind(forest: Forest) -> None:
    """The message names the engine, what it takes, what came, and what to do."""
    with pytest.raises(NotAvailable) as caught:
        Torch(forest)
    assert str(caught.value) == (
        "torch: expected a workload of kind network, got forest of kind estimator; choose another engine"
    )


def test_places_differ_and_lie_within_the_pool() -> None:
    """Places lie anywhere in the pool, its ends included, never twice in a row, and follow the seed."""
    drawn = places(4, seed=0)
    seen = [next(drawn) for _ in range(200)]
    assert set(seen) == {0, 1, 2, 3}
    assert not any(one == other for one, other in pairwise(seen))
    again = places(4, seed=0)
    assert [next(again) for _ in range(5)] == seen[:5]


def test_pool_is_larger_than_the_largest_batch(forest: Forest) -> None:
    """There is room for different windows of the largest batch, in calls and in passes."""
    assert pool_size(forest, 100) == 1100
    assert prepare_files(forest, 50) == 50 + (N_WINDOWS - 1) * 12
    assert [step(n) for n in (1, 50, 500_000)] == [1, 12, 4096]


# Passes through an executor


def passes(work: Workload, case: Case, n_inputs: int, **more: Any) -> Passes:
    """A workload's passes through the case's executor, by its own library."""
    engine = {"sklearn": Sklearn, "torch": Torch}[work.engine]
    return Passes(workload=work, engine=engine, case=case, n_inputs=n_inputs, **more)


def test_an_executor_starts_before_its_first_call(forest: Forest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading the model is the start-up's; a sample holds computing and storing, on each of the windows in turn."""
    case = Case(workload="forest", batch_size=20, executor="single")
    source = passes(forest, case, 50)
    bench = started(source)
    starts: list[float] = []
    monkeypatch.setattr(source._executor, "_load_runner", lambda: starts.append(1.0))
    asked, run = list[Any](), source._executor.map
    monkeypatch.setattr(source._executor, "map", lambda rows, size: (asked.append(rows), run(rows, size))[1])
    bench.prepare(case, WarmUp(min_calls=2, max_calls=2))
    bench.turn(case, 5)
    row = bench.finish(case)
    assert row.startup_s["executor_s"] > 0
    assert starts == []
    assert [span.kind for span in row.spans[0]] == ["call", "compute", "compute", "compute", "store"]
    windows = [window for _, window in source._windows]
    assert [windows.index(rows) for rows in asked] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert row.verification is not None
    assert (row.outcome, row.inputs_per_call, row.verification.n_checked) == (Outcome.OK, 50, 8 * 50)


@pytest.mark.parametrize("name", ["shared_pool", "process_pool"])
def test_a_cold_call_holds_its_start_and_its_end(forest: Forest, name: str) -> None:
    """Each sample starts processes of its own and ends them: both lie within its call, and nothing is left."""
    case = Case(workload="forest", batch_size=500, executor=name, n_processes=2, cold=True)
    bench = started(ColdPasses(workload=forest, engine=Sklearn, case=case, n_inputs=1000))
    bench.prepare(case, WarmUp(min_calls=0, max_calls=0))
    bench.turn(case, 1)
    row = bench.finish(case)
    assert (row.warmup_s, dict(row.startup_s)) == ((), {})
    call = row.spans[0][0]
    stops = [span for span in row.spans[0] if span.kind == "stop" and span.worker == -1]
    assert call.kind == "call"
    assert len(stops) == 1
    assert call.start_s < stops[0].end_s <= call.end_s
    assert any(span.kind == "start" and span.start_s >= call.start_s for span in row.spans[0])
    assert row.verification is not None
    assert (row.outcome, row.verification.n_checked) == (Outcome.OK, 2 * 1000)
    assert multiprocessing.active_children() == []


def test_an_executor_starts_when_its_turn_comes(forest: Forest) -> None:
    """A bench that is made starts no process, as others are made beside it; `start` does, and `close` ends them."""
    case = Case(workload="forest", batch_size=50, executor="shared_pool", n_processes=2)
    bench = Bench(passes(forest, case, 100))
    assert multiprocessing.active_children() == []
    bench.close()
    bench.start()
    assert len(multiprocessing.active_children()) == 2
    bench.close()
    assert multiprocessing.active_children() == []


def test_memory_is_read_before_the_data_comes(forest: Forest) -> None:
    """A pass for memory is no sample; the row tells the bytes of the data and of the processes without it."""
    case = Case(workload="forest", batch_size=50, executor="single")
    bench = started(passes(forest, case, 100))
    bench.prepare(case, WarmUp(min_calls=1, max_calls=1))
    bench.turn(case, 1)
    bench.run(case, 3)
    row = bench.finish(case)
    assert len(row.samples_s) == 1
    assert row.figures["data_bytes"] == 100 * 4 * 4
    assert 1e7 < row.figures["idle_bytes"] < 1e10


def test_the_interpreters_of_a_pool_made_for_each_call_are_no_data(
    forest: Forest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts as idle is then the peak of a pass over one row per process."""
    case = Case(workload="forest", batch_size=50, executor="naive_pool", n_processes=2)
    source = passes(forest, case, 100)
    bench = started(source)
    asked: list[int] = []
    right = forest.answers(forest.draw(prepare_files(forest, 100)))[:100]
    monkeypatch.setattr(source._executor, "map", lambda rows, size: asked.append(len(rows.array)) or right)
    monkeypatch.setattr(source._executor, "spans", lambda: ())
    bench.prepare(case, WarmUp(min_calls=0, max_calls=0))
    asked.clear()
    source._idle_bytes = None
    bench.run(case, 1)
    assert asked == [2, 100]
    assert source._idle_bytes is not None


def test_one_executor_serves_several_numbers_of_rows(forest: Forest) -> None:
    """Told by their batches: 100 rows in batches of 50, 40 in batches of 20, each verified."""
    case = Case(workload="forest", batch_size=50, executor="single")
    bench = started(passes(forest, case, 100, by_batch={50: 100, 20: 40}))
    for one, n_rows in ((case, 100), (replace(case, batch_size=20), 40)):
        bench.prepare(one, WarmUp(min_calls=1, max_calls=1))
        bench.turn(one, 1)
        row = bench.finish(one)
        assert row.verification is not None
        assert (row.outcome, row.inputs_per_call, row.verification.n_checked) == (Outcome.OK, n_rows, 3 * n_rows)


def test_a_network_passes_through_an_executor(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its logits are verified against those in float64, four images in batches of two."""
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path))
    case = Case(workload="cnn-small", batch_size=2, executor="single")
    bench = started(passes(Cnn(side=8), case, 4))
    bench.prepare(case, WarmUp(min_calls=1, max_calls=1))
    bench.turn(case, 1)
    row = bench.finish(case)
    assert row.verification is not None
    assert (row.outcome, row.inputs_per_call, row.verification.n_checked) == (Outcome.OK, 4, 3 * 40)


def test_control_gives_the_quickest_of_three() -> None:
    """The control workload is real work: it takes time, and less than a second."""
    assert 0 < ControlWork().seconds() < 1
