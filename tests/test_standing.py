"""What binds a workload and what would change it: roofs, layers, the forest's visits, predictions, growth, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sample_runs as samples

from inferbench_lib.findings import Ratio, Verdict
from inferbench_lib.records import Case, Measurement
from inferbench_lib.stats.roofline import Roofs, Work, measured_roofs
from inferbench_lib.studies.hardware_analysis.bounds import LayerProfile, forest_cost, layer_profiles, place_forest
from inferbench_lib.studies.hardware_analysis.study import growths
from inferbench_lib.studies.hardware_analysis.whatif import (
    Check,
    WhatIf,
    forest_what_ifs,
    network_what_ifs,
    predicted_gain,
)

KIB = 1024
HERE = Roofs(
    flops_per_s={("fp32", 1): 50e9, ("fp32", 2): 100e9, ("bf16", 2): 400e9},
    bytes_per_s={
        (64 * KIB, 1): (100e9, "L2"),
        (64 * KIB, 2): (200e9, "L2"),
        (1 << 30, 1): (10e9, "RAM"),
        (1 << 30, 2): (20e9, "RAM"),
    },
    launch_s=1e-6,
)


def profile(*layers: tuple[str, float, float, float, float], batch_size: int = 1, n_threads: int = 2) -> LayerProfile:
    """Layers of (name, FLOPs, bytes, bytes of weights, seconds)."""
    rows = [
        {"name": name, "flops": f, "bytes": b, "weight_bytes": w, "output_bytes": 1, "shape": [1], "seconds": [s] * 6}
        for name, f, b, w, s in layers
    ]
    table = {
        "workload": "cnn-small", "batch_size": batch_size, "n_threads": n_threads, "precision": "fp32",
        "whole_s": [1.0] * 6, "layers": rows,
    }  # fmt: skip
    return layer_profiles([table], HERE)[0]


CONV = ("conv1", 1e9, 6e6, 1e6, 0.02)  # 10 ms of arithmetic
POOL = ("pool1", 0, 6e6, 0, 0.03)  # 0.3 ms of traffic: nowhere near
LINEAR = ("linear1", 1e6, 2e8, 2e8, 0.016)  # 10 ms of traffic, nearly all of it weights


# Roofs


def test_the_roof_is_that_under_which_the_work_takes_longest() -> None:
    """Arithmetic at 100 GFLOP/s, traffic from the memory that holds the bytes, or the launch of an operator."""
    assert (
        HERE.over(Work(flops=1e9, bytes=1e6, n_threads=2)).bound,
        HERE.over(Work(flops=1e9, bytes=1e6)).seconds,
    ) == (
        "compute",
        1e9 / 50e9,
    )
    memory = HERE.over(Work(flops=0, bytes=2e8, n_threads=2))
    assert (memory.seconds, memory.bound, memory.level) == (2e8 / 20e9, "bandwidth", "RAM")
    assert (
        HERE.over(Work(flops=0, bytes=10 * KIB)).bound,
        HERE.over(Work(flops=0, bytes=60 * KIB, n_threads=1)).bound,
    ) == (
        "launch",  # 0.1 µs of traffic
        "launch",
    )
    quick = replace(HERE, launch_s=1e-9)
    assert (quick.over(Work(flops=0, bytes=10 * KIB)).bound, quick.over(Work(flops=0, bytes=10 * KIB)).level) == (
        "cache",
        "L2",
    )


def test_work_beyond_every_working_set_is_held_by_the_largest() -> None:
    """8 GiB move at the rate of the largest working set measured."""
    assert HERE.traffic(8 << 30, 1) == (10e9, "RAM")


def test_a_roof_far_away_does_not_bind() -> None:
    """At a quarter of the roof it is near; below, the program's own instructions bind; a launch always does."""
    near, far, tiny = profile(
        ("conv1", 1e9, 1e6, 0, 0.04), ("conv2", 1e9, 1e6, 0, 0.041), ("relu1", 0, 1, 0, 1.0)
    ).layers
    assert (near.bound, far.bound, tiny.bound) == ("compute", "instructions", "launch")


def test_roofs_of_a_run_never_fall_with_more_threads() -> None:
    """What one thread reached while the machine was quiet, four threads can reach too; the faster operation counts, but
    not copy, whose stores may pass by the caches."""
    limits: dict[str, Any] = {
        "gemm": [
            {"dtype": "fp32", "n_threads": 1, "limit": {"value": 150.0}},
            {"dtype": "fp32", "n_threads": 4, "limit": {"value": 100.0}},
        ],
        "bandwidth": [
            {"operation": name, "working_set_bytes": 64, "n_threads": n, "level": "L1d", "limit": {"value": rate}}
            for name, n, rate in (("read", 1, 10.0), ("triad", 1, 30.0), ("read", 4, 20.0), ("copy", 4, 50.0))
        ],
        "calls": {"torch operator": {"value": 2e-6}},
        "latency": [
            {"working_set_bytes": 64, "limit": {"value": 1e-9}},
            {"working_set_bytes": 512, "limit": {"value": 5e-9}},
        ],
    }
    found = measured_roofs(limits)
    assert found.flops_per_s == {("fp32", 1): 150e9, ("fp32", 4): 150e9}
    assert found.bytes_per_s == {(64, 1): (30e9, "L1d"), (64, 4): (30e9, "L1d")}
    assert [found.load_s(n) for n in (1, 64, 256, 512, 10**9)] == [
        pytest.approx(s) for s in (1e-9, 1e-9, 5e-9 ** (2 / 3) * 1e-9 ** (1 / 3), 5e-9, 5e-9)
    ]
    assert measured_roofs(limits | {"latency": []}).load_s(1) is None
    assert (found.knows("fp32", 4), found.knows("bf16", 4), found.knows("fp32", 2)) == (True, False, False)


# Layers and what binds a network


def test_each_layer_has_its_share_and_its_bound() -> None:
    """10 of 20 ms of arithmetic, 0.3 of 30 ms of traffic, 10 of 16 ms of traffic."""
    found = {layer.name: (layer.share, layer.bound) for layer in profile(CONV, POOL, LINEAR).layers}
    assert found["conv1"] == (pytest.approx(0.5), "compute")
    assert found["pool1"] == (pytest.approx(0.01), "instructions")
    assert found["linear1"] == (pytest.approx(10 / 16), "bandwidth")


def test_a_network_is_bound_by_what_takes_most_of_its_time() -> None:
    """Two convolutions of 20 ms outweigh a pooling of 30; the longer of them comes first."""
    longer = ("conv2", 2e9, 6e6, 1e6, 0.025)
    found = profile(CONV, POOL, longer)
    assert (found.bound, found.time_share) == ("compute", pytest.approx(45 / 75))
    assert found.roof_share == pytest.approx(30 / 45)
    assert [(layer.name, layer.share) for layer in found.bound_layers] == [
        ("conv2", pytest.approx(20 / 25)),
        ("conv1", pytest.approx(10 / 20)),
    ]


def test_a_profile_without_roofs_is_left_out() -> None:
    """Eight threads were not measured, so that nothing is placed there."""
    table = samples.standing_tables()["layers"][0] | {"n_threads": 8}
    assert layer_profiles([table], HERE) == ()


def test_a_layer_above_its_roof_is_named() -> None:
    """8 ms for what the roof allows in 10: the roof is wrong, and no gain is promised from it."""
    fast = profile(("conv1", 1e9, 6e6, 1e6, 0.008), POOL)
    assert fast.above_roof == ("conv1",)
    assert fast.roof_s == pytest.approx(0.008 + 0.0003)


# Predictions


def test_threads_move_roofs_and_share_instructions() -> None:
    """Twice the roof halves the convolution and the traffic; pooling is shared by twice the threads."""
    one = profile(("conv1", 1e9, 6e6, 1e6, 0.04), POOL, ("linear1", 1e6, 2e8, 2e8, 0.032), n_threads=1)
    assert predicted_gain(one, HERE, replace(one.case, n_threads=2)) == pytest.approx(2.0)


def test_a_larger_batch_spreads_the_weights() -> None:
    """16 images: the convolution and pooling 16 times as long, the weights' traffic once; per image 66 over 51 ms."""
    grown = 16 * (0.02 + 0.03) + 0.016
    one = profile(CONV, POOL, LINEAR)
    assert predicted_gain(one, HERE, replace(one.case, batch_size=16)) == pytest.approx(16 * 0.066 / grown, rel=0.01)


def test_a_lower_precision_moves_arithmetic_and_traffic_but_no_instructions() -> None:
    """bf16: a quarter of the arithmetic's time, half the traffic's, pooling as it was."""
    one = profile(CONV, POOL, LINEAR)
    assert predicted_gain(one, HERE, replace(one.case, precision="bf16")) == pytest.approx(
        0.066 / (0.005 + 0.03 + 0.008)
    )


def test_another_machine_is_a_change_of_roofs() -> None:
    """Twice the cores halve all but memory traffic; twice the bandwidth halves that alone."""
    all_of_it = profile(CONV, POOL, LINEAR)
    assert predicted_gain(all_of_it, HERE, all_of_it.case, cores=2.0) == pytest.approx(0.066 / (0.01 + 0.015 + 0.016))
    assert predicted_gain(all_of_it, HERE, all_of_it.case, memory=2.0) == pytest.approx(0.066 / (0.02 + 0.03 + 0.008))
    assert all_of_it.gain_at_roof == pytest.approx(0.066 / (0.01 + 0.0003 + 0.01))


def ratio(value: float) -> Ratio:
    return Ratio(value=value, low=value, high=value, verdict=Verdict.FASTER)


@pytest.mark.parametrize(("predicted", "within"), [(2.5, True), (2.51, False), (1.5, True), (1.49, False), (2.0, True)])
def test_a_prediction_is_right_within_a_quarter_of_the_measurement(predicted: float, within: bool) -> None:
    """1.5 to 2.5 where 2 was measured."""
    one = WhatIf(workload="w", before="b1,t1", change="threads 1 → 2", predicted=predicted, measured=ratio(2.0))
    assert one.check is (Check.WITHIN if within else Check.MISSED)
    assert one.verdict == f"{'within' if within else 'not within'} 25 % of the measurement"


def test_a_wide_measurement_is_inconclusive() -> None:
    """0.5 to 2 measured about 1: 1.9 may be right, 2.6 is not; without an interval the value decides."""
    wide = Ratio(value=1.0, low=0.5, high=2.0, verdict=Verdict.INDISTINGUISHABLE)
    asked = {"workload": "w", "before": "b1", "change": "c"}
    inside, outside = (WhatIf(**asked, predicted=p, measured=wide) for p in (1.9, 2.6))
    assert (inside.check, outside.check) == (Check.INCONCLUSIVE, Check.MISSED)
    assert inside.verdict == "inconclusive: the measured interval is too wide"
    short = WhatIf(**asked, predicted=1.9, measured=replace(wide, low=None, high=None))
    assert short.verdict == "not within 25 % of the measurement"


def test_a_prediction_without_a_measurement_is_the_model_alone() -> None:
    """It is neither right nor missed."""
    unchecked = WhatIf(workload="w", before="b1", change="c", predicted=99.0)
    assert unchecked.verdict == "MODEL, not checked here"


def test_only_changes_of_one_thing_and_upwards_are_checked() -> None:
    """From one image: to sixteen. From sixteen: to bf16. From one thread: to two. Never two things at once."""
    cells = {
        case: samples.cell(case, 0.01 * case.batch_size)
        for case in (
            Case(workload="cnn-small", batch_size=b, n_threads=t, precision=p)
            for b, t, p in ((1, 2, "fp32"), (16, 2, "fp32"), (16, 1, "fp32"), (16, 2, "bf16"))
        )
    }

    def changes(batch_size: int, n_threads: int) -> list[str]:
        one = profile(CONV, batch_size=batch_size, n_threads=n_threads)
        return [w.change for w in network_what_ifs(one, HERE, cells, 2) if w.check is not Check.UNCHECKED]

    assert changes(1, 2) == ["batch 1 → 16"]
    assert changes(16, 2) == ["fp32 → bf16"]
    assert changes(16, 1) == ["threads 1 → 2"]


# The forest

VISITS = {"visits": 1000.0, "node_bytes": 60.0, "tree_bytes": 50.0 * KIB, "n_trees": 100.0}


def forest_cells(*more: Measurement) -> dict[Case, Measurement]:
    """1 ms per call and 10 µs per row."""
    times = {(1, 1): 1.01e-3, (1000, 1): 11e-3, (1000, 2): 6e-3}
    cells = [samples.trees(*key, median_s) for key, median_s in times.items()]
    return {cell.case: cell for cell in (*cells, *more)}


def test_the_forest_costs_a_call_and_its_rows() -> None:
    """Two equations, two unknowns; a visit is a thousandth of a row."""
    cost = forest_cost(forest_cells(), VISITS)
    assert cost is not None
    assert (cost.call_s, cost.row_s) == (pytest.approx(1e-3, rel=0.01), pytest.approx(1e-5, rel=0.01))
    assert cost.visit_s == pytest.approx(1e-8, rel=0.01)
    assert cost.seconds(1000, 2) == pytest.approx(6e-3, rel=0.01)
    (first, *_) = forest_cells().items()
    assert forest_cost(dict([first]), VISITS) is None


def test_a_few_rows_load_their_nodes_from_the_whole_forest() -> None:
    """16 rows touch 9,000 nodes beyond the 1,000 of the first, 100 ns each: 0.9 ms more than a call."""
    counts = VISITS | {"touched_by_16": 10_000.0}
    cost = forest_cost(forest_cells(), counts)
    assert cost is not None
    assert cost.forest_bytes == 5000.0 * KIB
    assert cost.seconds_of_16(100e-9) == pytest.approx(2.06e-3, rel=0.01)
    cells = forest_cells(samples.trees(16, 1, 2e-3))
    slow = replace(HERE, loads_s={64 * KIB: 1e-9, 5000 * KIB: 100e-9})
    (few,) = [one for one in forest_what_ifs("forest", cost, cells, slow, 2) if one.change == "batch 1 → 16"]
    assert few.predicted == pytest.approx(16 * 1.01 / 2.06, rel=0.01)
    (blind,) = [one for one in forest_what_ifs("forest", cost, cells, HERE, 2) if one.change == "batch 1 → 16"]
    assert blind.predicted == pytest.approx(16 * 1.01 / 1.16, rel=0.01)


def test_the_forest_waits_for_loads_or_calls_or_neither() -> None:
    """10 ns a visit: 6 of them waiting bind it; 1 of them does not; and a single row is nearly all call."""
    cost = forest_cost(forest_cells(), VISITS)
    assert cost is not None
    waiting = replace(HERE, loads_s={64 * KIB: 6e-9})
    one, many, threads = place_forest("forest", forest_cells(), cost, waiting)
    assert (one.bound, one.roof_share) == ("launch", pytest.approx(1 / 1.01, rel=0.01))
    assert (many.bound, many.roof_share) == ("latency", pytest.approx(6 / 11, rel=0.01))
    assert threads.roof.floors_s["latency"] == pytest.approx(3e-3)
    assert many.roof.floors_s["cache"] == pytest.approx(1e6 * 64 / 100e9)
    assert many.roof.floors_s["compute"] == pytest.approx(1e6 / 50e9)
    hardly = place_forest("forest", forest_cells(), cost, replace(HERE, loads_s={64 * KIB: 1e-9}))[1]
    assert (hardly.bound, hardly.roof_share) == ("instructions", pytest.approx(1 / 11, rel=0.01))


def test_a_wrong_forest_is_not_placed() -> None:
    """Cells with wrong outputs give no cost and no place."""
    cells = {key: samples.wrong(cell) for key, cell in forest_cells().items()}
    assert forest_cost(cells, VISITS) is None


# Growth


def grown(seconds: dict[int, list[float]]) -> list[dict[str, Any]]:
    return [
        {"input": "trees", "workload": "forest", "value": value, "bytes": 8, "dtype": "float32", "seconds": s}
        for value, s in seconds.items()
    ]


def test_the_exponent_is_that_of_the_power() -> None:
    """Time that grows with the square has exponent 2, whatever a round's own factor, and lies on its line."""
    (found,) = growths(grown({v: [f * 1e-3 * v**2 for f in samples.WOBBLE] for v in (10, 20, 40)}))
    assert (found.fit.exponent.value, found.fit.exponent.low, found.fit.exponent.high) == (pytest.approx(2.0),) * 3
    assert found.fit.seconds(30) == pytest.approx(0.9, rel=0.01)
    assert found.fit.misfit == pytest.approx(0.0, abs=1e-9)


def test_what_is_no_power_shows_its_misfit() -> None:
    """A fixed cost at small sizes bends the line: 1, 1, 4 ms lie up to 41 % off."""
    (found,) = growths(grown({1: [1e-3] * 6, 2: [1e-3] * 6, 4: [4e-3] * 6}))
    assert found.fit.exponent.value == pytest.approx(1.0)
    assert found.fit.misfit == pytest.approx(0.370, abs=0.001)


def test_two_sizes_are_no_growth() -> None:
    """A line through two points fits always, so that it is not drawn; too few rounds carry no interval."""
    assert growths(grown({1: [1e-3] * 6, 2: [2e-3] * 6})) == ()
    (short,) = growths(grown({v: [1e-3 * v] * 3 for v in (1, 2, 4)}))
    assert (short.fit.exponent.low, short.fit.exponent.reason) == (None, "needs 6 rounds, has 3")
