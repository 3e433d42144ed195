"""Cells that differ in threads and precision in one process, and the passes over layers and input sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch

from inferbench_lib.errors import WrongOutput
from inferbench_lib.measure.bench import Bench
from inferbench_lib.measure.calls import Calls, pool_size
from inferbench_lib.measure.source import WarmUp
from inferbench_lib.records import Case, Verification
from inferbench_lib.studies.hardware_analysis import profile
from inferbench_lib.studies.hardware_analysis.measure import cases_of
from inferbench_lib.studies.hardware_analysis.profile import ForestBench, NetworkBench, bench_for, probe_of
from inferbench_lib.timing.clock import WallClock
from inferbench_lib.timing.loop import Probe, in_rounds
from inferbench_lib.work.base import Workload
from inferbench_lib.work.cnn import Cnn, layer_counts
from inferbench_lib.work.engines import ENGINES
from inferbench_lib.work.engines.torch import forward
from inferbench_lib.work.fake import FakeWorkload
from inferbench_lib.work.forest import Forest, visit_counts

ONCE = WarmUp(min_calls=1, max_calls=1, time_limit_s=0.1)


@pytest.fixture
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def bench_of(work: Workload, largest: int) -> Bench:
    """The started bench of a workload by its own library."""
    source = Calls(workload=work, engine=ENGINES[work.engine], n_pool=pool_size(work, largest))
    bench = bench_for(source)
    bench.start()
    return bench


# Passes


def test_every_call_gives_one_value_a_round() -> None:
    """Three calls in four rounds, a second each by the clock, the order drawn anew."""
    ticks, order = count(step=500_000_000), []
    probes = [Probe(key=name, call=lambda _, name=name: order.append(name)) for name in "abc"]
    seconds = in_rounds(probes, n_rounds=4, clock=WallClock(read_ns=lambda: next(ticks)))
    assert set(seconds) == set("abc")
    assert all(len(values) == 4 for values in seconds.values())
    blocks = {name: (order.count(name) - 2) // 4 for name in "abc"}
    assert all(1 < block <= 200 for block in blocks.values())
    assert {name: values[0] for name, values in seconds.items()} == {
        n: pytest.approx(0.5 / b) for n, b in blocks.items()
    }


def test_a_probe_takes_its_inputs_in_turn_and_compares_them() -> None:
    """Another input in each sample; its last output meets the reference of that input, outside the timed calls."""
    seen: list[tuple[int, int]] = []

    def agree(place: int, output: int) -> Verification:
        seen.append((place, output))
        return Verification(passed=output < 60, n_checked=1, detail="too large")

    probe = probe_of("layer", lambda value: 2 * value, [10, 20], agree)
    in_rounds([probe], n_rounds=3)
    assert seen == [(1, 40), (0, 20), (1, 40)]
    wrong = probe_of("layer", lambda value: 3 * value, [10, 20], agree)
    with pytest.raises(WrongOutput, match=r"^layer: expected the output of its reference, got another: too large$"):
        in_rounds([wrong], n_rounds=1)


# Networks


@pytest.mark.usefixtures("_threads_as_before")
def test_threads_and_precision_are_those_of_the_cell() -> None:
    """Each turn sets its cell's threads; bf16 is verified with its own tolerance, fp32 with the strict one."""
    bench = bench_of(Cnn(side=16), 2)
    cases = [
        Case(workload="cnn-small", batch_size=2, n_threads=threads, precision=precision)
        for threads, precision in ((1, "fp32"), (2, "bf16"))
    ]
    for case in cases:
        bench.prepare(case, ONCE)
    for case in (cases[0], cases[1], cases[0]):
        bench.turn(case, 1)
        assert torch.get_num_threads() == case.n_threads
    measured = [bench.finish(case) for case in cases]
    assert [one.verification.word for one in measured if one.verification] == ["PASSED", "PASSED"]
    fp32, bf16 = (one.verification.max_abs_difference for one in measured if one.verification)
    assert fp32 is not None
    assert bf16 is not None
    assert fp32 < 1e-5 < bf16
    assert [len(one.samples_s) for one in measured] == [2, 1]


@pytest.mark.usefixtures("_threads_as_before")
def test_a_wrong_network_is_invalid() -> None:
    """Weights that are not the reference's fail the check in either precision."""
    bench = bench_of(Cnn(side=16), 1)
    assert isinstance(bench.source, Calls)
    bench.source._reference = bench.source._reference + 1.0
    for precision in ("fp32", "bf16"):
        case = Case(workload="cnn-small", batch_size=1, precision=precision)
        bench.prepare(case, ONCE)
        assert bench.finish(case).outcome == "invalid"


@pytest.mark.usefixtures("_threads_as_before")
def test_each_layer_is_timed_on_its_own_input() -> None:
    """All twelve layers, in order, once a round, and the whole network beside them."""
    bench = bench_of(Cnn(), 2)
    assert isinstance(bench, NetworkBench)
    found = bench.layers(Case(workload="cnn-small", batch_size=2, n_threads=1), n_rounds=2)
    assert [row["name"] for row in found["layers"]] == [
        *("conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "conv3", "relu3", "pool3"),
        *("linear1", "relu4", "linear2"),
    ]
    assert [len(row["seconds"]) for row in found["layers"]] == [2] * 12
    assert len(found["whole_s"]) == 2
    assert found["layers"][3]["shape"] == (128, 32, 32)
    assert min(s for row in found["layers"] for s in row["seconds"]) > 0


@pytest.mark.usefixtures("_threads_as_before")
def test_images_may_be_larger() -> None:
    """Sides of 8 and 16: twice the side is four times the bytes."""
    bench = bench_of(Cnn(side=8), 1)
    assert isinstance(bench, NetworkBench)
    rows = bench.growth([8, 16], n_threads=1, n_rounds=1)
    assert [(row["input"], row["value"], row["bytes"]) for row in rows] == [
        ("image side", 8, 4 * 3 * 8 * 8),
        ("image side", 16, 4 * 3 * 16 * 16),
    ]


@pytest.mark.usefixtures("_threads_as_before")
@pytest.mark.parametrize("layer", ["Conv2d", "ReLU", "Linear"])
def test_a_layer_that_remembers_its_answer_is_no_result(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer, timed by itself, that gives the first input's output for the second: the pass ends with an error."""
    answers: dict[Any, torch.Tensor] = {}

    def remembering(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        if type(model).__name__ != layer:
            return forward(model, batch)
        return answers.setdefault(model, forward(model, batch))

    bench = bench_of(Cnn(side=8), 2)
    assert isinstance(bench, NetworkBench)
    monkeypatch.setattr(profile, "forward", remembering)
    with pytest.raises(WrongOutput, match=r"^\w+: expected the output of its reference, got another: values differ by"):
        bench.layers(Case(workload="cnn-small", batch_size=2), n_rounds=2)


@pytest.mark.usefixtures("_threads_as_before")
def test_a_wrong_network_has_no_layers_and_no_growth() -> None:
    """The whole network's logits, and those of each image side, are compared with float64."""
    bench = bench_of(Cnn(side=8), 2)
    assert isinstance(bench, NetworkBench)
    assert isinstance(bench.source, Calls)
    bench.source._reference = bench.source._reference + 1.0
    with pytest.raises(WrongOutput, match=r"^whole: expected the output of its reference"):
        bench.layers(Case(workload="cnn-small", batch_size=2), n_rounds=1)
    other = bench_of(Cnn(side=8), 2)
    assert isinstance(other, NetworkBench)
    other._network = replace(Cnn(side=8), seed=1)
    rows = other.growth([8], n_threads=1, n_rounds=1)
    assert len(rows) == 1
    path = replace(Cnn(side=8), seed=1).reference_path(2)
    before = path.read_bytes()
    try:
        np.save(path, np.load(path) + 1.0)
        with pytest.raises(WrongOutput, match=r"^image side=8: expected the output of its reference"):
            other.growth([8], n_threads=1, n_rounds=1)
    finally:
        path.write_bytes(before)


def test_counts_of_layers_equal_the_formulas() -> None:
    """What torch counts for a batch of three is what the layers' shapes give by hand."""
    counted = {row["name"]: row for row in layer_counts(Cnn().model(), torch.from_numpy(Cnn().draw(3)))}
    for row in Cnn().operators():
        assert counted[row.name]["flops"] == 3 * row.flops
        assert counted[row.name]["bytes"] == row.bytes_fixed + 3 * row.bytes_per_input
        assert counted[row.name]["weight_bytes"] == row.bytes_fixed


# Forests


@pytest.fixture(scope="module")
def forest() -> Forest:
    return Forest(n_features=6, n_trees=4, n_train=200)


def test_the_forest_runs_on_the_threads_of_its_cell(forest: Forest) -> None:
    """One thread and two give the reference's classes; each turn sets its own."""
    bench = bench_of(forest, 100)
    assert isinstance(bench.source, Calls)
    cases = [Case(workload="forest", batch_size=100, n_threads=n) for n in (1, 2)]
    for case in cases:
        bench.prepare(case, ONCE)
        bench.turn(case, 1)
        assert bench.source.runner(case).run.__self__.n_jobs == case.n_threads  # type: ignore[attr-defined]
        assert bench.finish(case).outcome == "ok"


def test_visits_are_those_of_the_paths(forest: Forest) -> None:
    """Walking each tree by hand, from the root to a leaf, meets as many nodes."""
    model, rows = forest.model(), np.load(forest.inputs_path(1200))[:50]
    walked, met = 0, set()
    for estimator in model.estimators_:
        tree = estimator.tree_
        for number, row in enumerate(rows):
            node, walked = 0, walked + 1
            met.add((number // 16, estimator, node))
            while tree.children_left[node] != -1:
                left = row[tree.feature[node]] <= tree.threshold[node]
                node = tree.children_left[node] if left else tree.children_right[node]
                walked += 1
                met.add((number // 16, estimator, node))
    found = visit_counts(model, rows)
    assert found["visits"] == pytest.approx(walked / 50)
    assert found["touched_by_16"] == pytest.approx(len([call for call, *_ in met if call < 3]) / 3)
    assert (found["n_trees"], found["node_bytes"]) == (4.0, 64.0)
    assert found["n_nodes"] == sum(estimator.tree_.node_count for estimator in model.estimators_)
    assert found["depth"] == max(estimator.get_depth() for estimator in model.estimators_)


def test_forests_grow_in_features_trees_and_depth(forest: Forest) -> None:
    """A row a size, with the bytes of its rows; trees are the first of the forest's own, and no deeper than asked."""
    bench = bench_of(forest, 100)
    assert isinstance(bench, ForestBench)
    rows = bench.growth([3, 6], [1, 4], [1, 2], n_rounds=1)
    assert [(row["input"], row["value"]) for row in rows] == [
        *(("features", 3), ("features", 6)),
        *(("depth", 1), ("depth", 2)),
        *(("trees", 1), ("trees", 4)),
    ]
    assert [row["bytes"] for row in rows][:2] == [4 * 3 * 4000, 4 * 6 * 4000]
    shallow = Forest(n_features=6, n_trees=2, n_train=200, max_depth=1).model()
    assert max(estimator.get_depth() for estimator in shallow.estimators_) == 1


def test_the_trees_are_asked_one_by_one_for_the_references(forest: Forest) -> None:
    """Their vote is what a plain call of the forest gives, for the whole forest and for shallow ones."""
    rows = forest.draw(500)
    for one in (forest, replace(forest, max_depth=2)):
        assert (profile.classes_by_trees(one.model(), rows) == one.answers(rows)).all()


def test_a_forest_that_remembers_its_answer_has_no_growth(forest: Forest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second batch of rows differs from the first, and so do its classes."""
    kind, answers = type(forest.model()), dict[int, np.ndarray]()
    predict = kind.predict
    monkeypatch.setattr(kind, "predict", lambda self, rows: answers.setdefault(id(self), predict(self, rows)))
    bench = bench_of(forest, 100)
    assert isinstance(bench, ForestBench)
    with pytest.raises(WrongOutput, match=r"^(features|depth|trees)=\d: expected the output of its reference"):
        bench.growth([3], [4], [2], n_rounds=2)


# What is measured of a workload


def test_the_largest_batch_is_measured_on_other_threads_and_in_other_precisions() -> None:
    """Every batch on the library's own threads; of one CPU there are no other threads."""
    network = [(c.batch_size, c.n_threads, c.precision) for c in cases_of(Cnn(), 2)]
    assert network == [(1, 2, "fp32"), (16, 2, "fp32"), (16, 1, "fp32"), (16, 2, "bf16")]
    forest = [(c.batch_size, c.n_threads, c.precision) for c in cases_of(Forest(), 2)]
    assert forest == [(1, 1, "fp32"), (16, 1, "fp32"), (10_000, 1, "fp32"), (10_000, 2, "fp32")]
    assert [c.n_threads for c in cases_of(Forest(), 1)] == [1, 1, 1]


def test_a_workload_that_nothing_takes_apart_has_a_plain_bench() -> None:
    """Its calls are measured like any other's."""
    source = Calls(workload=FakeWorkload(), engine=ENGINES["sklearn"], n_pool=1)
    assert type(bench_for(source)) is Bench
