"""Two stored runs compared: what may be compared, what is found, and what must not be claimed."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import sample_runs as samples
from made_pairs import NAMES, NOTEBOOK, made, pair, pairs, with_control
from scipy import stats

from inferbench_lib.findings import Interval, Verdict
from inferbench_lib.records import Figure, Flag, Run
from inferbench_lib.report import history
from inferbench_lib.stats.intervals import critical_u, highest_level, signed_rank_interval
from inferbench_lib.stats.verdict import between_runs, ratio_of_intervals, unpaired_ratio
from inferbench_lib.studies.compare.changes import Change
from inferbench_lib.studies.compare.study import RunComparison, compare_runs

# The interval


@pytest.mark.parametrize(("m", "n"), [(4, 4), (3, 6), (5, 4)])
def test_critical_u_is_that_of_all_arrangements(m: int, n: int) -> None:
    """The count is found again by going through every way to rank the two samples."""
    counts = [sum(rank > other for rank in ranks for other in set(range(m + n)) - set(ranks)) for ranks in
              combinations(range(m + n), m)]  # fmt: skip
    share = [sum(count <= u for count in counts) / len(counts) for u in range(m * n + 1)]
    assert critical_u(m, n) == max((u for u in range(m * n + 1) if 2 * share[u] <= 0.05), default=None)


def test_critical_us_are_those_of_the_published_table() -> None:
    """Two-sided at 5 %, as tabled by Mann & Whitney: 6 and 6 rounds 5, 8 and 8 13, 10 and 10 23, 20 and 20 127."""
    assert [critical_u(n, n) for n in (3, 6, 8, 10, 20)] == [None, 5, 13, 23, 127]
    assert critical_u(6, 15) == 19


def test_interval_holds_what_the_test_does_not_reject() -> None:
    """Its ends are the ratios at which scipy's exact Mann–Whitney test turns."""
    rng = np.random.default_rng(5)
    first, second = np.exp(0.1 * rng.standard_normal(8)), np.exp(0.1 * rng.standard_normal(7))
    found = unpaired_ratio(first.tolist(), second.tolist())
    assert found.low is not None
    assert found.high is not None

    def p_value(ratio: float) -> float:
        return float(stats.mannwhitneyu(first / ratio, second, method="exact").pvalue)

    assert p_value(found.low * 1.0001) > 0.05 >= p_value(found.low / 1.0001)
    assert p_value(found.high / 1.0001) > 0.05 >= p_value(found.high * 1.0001)
    assert found.low < found.value < found.high


def test_interval_says_what_it_cannot_carry() -> None:
    """Three rounds against three carry none; six against six one of at most 1 − 2/924."""
    found = unpaired_ratio([2.0, 2.1, 1.9], [1.0, 1.1, 0.9])
    assert (found.value, found.low, found.high) == (pytest.approx(2.0, rel=0.02), None, None)
    assert found.reason == "3 against 3 rounds carry no 95 % interval; 4 against 4 are the fewest that do"
    assert highest_level(6, 6) == 1 - 2 / 924
    with pytest.raises(
        ValueError, match=r"^unpaired_ratio: expected two samples of round medians above 0 s, got \[\] and \[1\]$"
    ):
        unpaired_ratio([], [1])


@pytest.mark.parametrize("spread", [(0.03, 0.03), (0.02, 0.06)])
def test_both_intervals_hold_the_truth_as_often_as_promised(spread: tuple[float, float]) -> None:
    """Of 1,000 simulated pairs with a true ratio of 1.2 at least 92 % hold it, equally noisy or not."""
    rng = np.random.default_rng(8)
    by_rounds = by_intervals = 0
    for _ in range(1000):
        first, second = (
            scale * np.exp(sigma * rng.standard_normal(8)) for scale, sigma in zip((1.2, 1.0), spread, strict=True)
        )
        found = unpaired_ratio(first.tolist(), second.tolist())
        by_rounds += found.low <= 1.2 <= found.high
        joined = ratio_of_intervals(known(first), known(second))
        by_intervals += joined.low <= 1.2 <= joined.high
    assert by_rounds >= 920
    assert by_intervals >= 920


def known(values: Any) -> Interval:
    """The centre of a row of values with its 95 % interval, as a run's summary gives it."""
    logs = signed_rank_interval(np.log(values))
    assert logs.low is not None
    assert logs.high is not None
    return Interval(value=math.exp(logs.value), low=math.exp(logs.low), high=math.exp(logs.high))


def test_arms_of_two_intervals_add_up_as_squares() -> None:
    """Arms of 3 and 4 (on the logarithmic scale) make one of 5; a higher level stretches it; none is none."""
    arm = math.exp
    first = Interval(value=1.0, low=arm(-0.03), high=arm(0.03))
    second = Interval(value=1.0, low=arm(-0.04), high=arm(0.04))
    found = ratio_of_intervals(first, second)
    assert (found.low, found.high) == (pytest.approx(arm(-0.05)), pytest.approx(arm(0.05)))
    wider = ratio_of_intervals(first, second, level=0.99)
    assert wider.high == pytest.approx(arm(0.05 * 2.5758 / 1.95996), rel=1e-4)
    assert ratio_of_intervals(first, Interval(value=1.0)).reason == "one of the runs gives it no interval"
    with pytest.raises(ValueError, match=r"^ratio_of_intervals: expected values above 0, got 1\.0 and 0\.0$"):
        ratio_of_intervals(first, Interval(value=0.0))


# What is found


def named(study: RunComparison, name: str) -> Change:
    """The change of an executor's cell, or of a figure."""
    (found,) = [
        change for change in study.changes if change.name == name or (change.is_cell and f"{name}," in change.name)
    ]
    return found


def test_identical_runs_show_no_significant_difference() -> None:
    """Of 200 pairs among 50 identical runs at least 95 % say so of at least 95 % of all that is judged."""
    rng = np.random.default_rng(1)
    runs = [made(rng) for _ in range(50)]
    shares, claimed = [], []
    for at in range(200):
        judged = [one for one in pair(runs[at % 50], runs[(at + 1 + at // 50) % 50]).changes if one.ratio.is_judged]
        assert len(judged) >= 15
        claimed += [one.ratio.is_difference for one in judged]
        shares.append(sum(one.ratio.is_difference for one in judged) / len(judged))
    assert np.mean([share <= 0.05 for share in shares]) >= 0.95
    assert np.mean(claimed) < 0.01


@pytest.mark.parametrize("n_rounds", [6, 12])
def test_what_processes_differ_by_is_not_claimed(n_rounds: int) -> None:
    """Processes that scatter by 2 %, twice as much as rounds: some 5 % of figures are claimed, not 10 to 18 %."""
    changes = [
        change for study in pairs(200, seed=11, noise=0.01, process=0.02, n_rounds=n_rounds) for change in study.changes
    ]
    assert np.mean([change.ratio.is_difference for change in changes if change.ratio.is_judged]) < 0.06
    assert any("may differ by 5.7 % between their processes" in change.ratio.reason for change in changes)
    assert between_runs("s").scatter == pytest.approx(math.exp(1.96 * math.hypot(0.02, 0.02)) - 1)
    assert between_runs("×").scatter == pytest.approx(math.exp(1.96 * 0.04) - 1)


def test_a_planted_slowdown_is_found_and_no_other_executor_blamed() -> None:
    """Of 40 heads whose pool is 10 % slower at least 80 % are found; other cells stay the same."""
    studies = pairs(40, seed=2, head={"slower": {"shared_pool": 1.1}})
    found = [named(study, "shared_pool").ratio for study in studies]
    assert np.mean([ratio.verdict is Verdict.SLOWER for ratio in found]) >= 0.8
    assert np.median([ratio.value for ratio in found]) == pytest.approx(1 / 1.1, rel=0.01)
    assert np.mean([named(study, "speedup[shared_pool]").ratio.verdict is Verdict.SLOWER for study in studies]) >= 0.5
    others = [
        change for study in studies for change in study.changes if change.is_cell and "shared_pool" not in change.name
    ]
    assert np.mean([change.ratio.is_difference for change in others]) < 0.02


def test_what_the_control_workload_shows_too_is_not_claimed() -> None:
    """A machine 15 % slower in HEAD slows everything; its control does too, and no time is called changed."""
    for study in pairs(5, seed=3, head={"machine": 1.15}):
        (one,) = study.notebooks
        assert one.rule.control is not None
        assert one.rule.control.value == pytest.approx(1 / 1.15, rel=0.03)
        assert not any(change.ratio.is_difference for change in study.changes)
    reasons = {change.ratio.reason for change in study.changes if change.is_cell}
    assert "the control workload changed as well: the machine itself may have been faster or slower" in reasons


def test_a_slowdown_beyond_the_control_is_found() -> None:
    """A pool 40 % slower on a machine 5 % slower is found."""
    studies = pairs(10, seed=4, head={"machine": 1.05, "slower": {"shared_pool": 1.4}})
    assert all(named(study, "shared_pool").ratio.verdict is Verdict.SLOWER for study in studies)


def test_between_machines_no_allowance_is_made() -> None:
    """On another machine a difference is what is looked for, and the control is shown for scale alone."""
    rng = np.random.default_rng(6)
    base, head = made(rng), made(rng, machine=1.3)
    head = replace(head, machine=replace(head.machine, cpu_model="Another CPU"))
    study = pair(base, head)
    assert not study.same_machine
    assert study.notebooks[0].rule.tolerance("s") == between_runs("s")
    assert all(change.ratio.verdict is Verdict.SLOWER for change in study.changes if change.is_cell)
    assert ("machine", "cpu_model", "Example CPU @ 2.60 GHz", "Another CPU") in study.differences


def test_a_run_against_itself_is_the_same() -> None:
    """Every ratio is 1, and everything that is judged is not different."""
    run = made(np.random.default_rng(7))
    study = pair(run, run)
    assert study.differences == ()
    ratios = [change.ratio.value for change in study.changes if change.ratio.is_judged]
    assert len(ratios) >= 15
    assert ratios == pytest.approx([1.0] * len(ratios))
    assert {change.ratio.verdict for change in study.changes if change.ratio.is_judged} == {Verdict.INDISTINGUISHABLE}


def test_figures_that_say_a_cell_again_get_its_verdict() -> None:
    """`single_s` is the single process's cell, and is compared as that is."""
    rng = np.random.default_rng(9)
    study = pair(made(rng), made(rng, slower={"single": 1.5}))
    (cell,) = [change for change in study.changes if change.is_cell and "1 thread " in change.name]
    assert named(study, "single_s").ratio == cell.ratio
    assert cell.ratio.verdict is Verdict.SLOWER


def test_disturbed_cells_get_no_verdict() -> None:
    """Another program's load in one of the runs takes the verdict away, not the ratio; too many threads do not."""
    rng = np.random.default_rng(10)
    base, head = made(rng), made(rng, slower=dict.fromkeys(NAMES, 2.0))
    flag = Flag(name="other_load", text="other processes took 40 % of the CPUs")
    struck = replace(head, measurements=tuple(replace(cell, flags=(flag,)) for cell in head.measurements))
    study = pair(base, struck)
    assert {change.ratio.verdict for change in study.changes if change.is_cell} == {Verdict.UNSTABLE}
    assert named(study, "shared_pool").ratio.reason == f"HEAD was disturbed: {flag.text}"
    assert named(study, "shared_pool").ratio.value == pytest.approx(0.5, rel=0.05)
    asked = replace(flag, name="oversubscribed")
    ours = replace(head, measurements=tuple(replace(cell, flags=(asked,)) for cell in head.measurements))
    assert named(pair(base, ours), "shared_pool").ratio.verdict is Verdict.SLOWER


@pytest.mark.parametrize("unit", ["×", "inputs/s"])
@pytest.mark.parametrize("ratio", [0.8, 0.94, 1.0, 1.05, 1.06, 1.07, 1.09, 1.2])
@pytest.mark.parametrize("arm", [0.01, 0.03, 0.1])
def test_the_index_gives_the_verdict_of_this_comparison(unit: str, ratio: float, arm: float) -> None:
    """Of two runs that hold the figure alone, both call it changed or neither does."""
    base, head = (Figure(value=2 * at, low=2 * at / (1 + arm), high=2 * at * (1 + arm), unit=unit) for at in (1, ratio))
    run = replace(samples.multiprocess(), measurements=(), tables={})
    (change,) = pair(replace(run, summary={"speed": base}), replace(run, summary={"speed": head})).changes
    told = history.changes({"speed": base}, {"speed": head}, {"speed": "speed"})
    assert told.changed == change.ratio.is_difference


# What must not be compared


def test_other_work_is_refused_by_name() -> None:
    """Other trees or rows refuse the notebook; more rounds, other executors or batches and a newer parameter do not."""
    run = samples.multiprocess()

    def refused(**params: Any) -> str:
        return pair(run, replace(run, params={**run.params, **params})).notebooks[0].refused

    assert refused(n_trees=100) == "other work: n_trees: 50 in BASE, 100 in HEAD"
    assert refused(n_trees=100, seed=1) == "other work: seed: 0 in BASE, 1 in HEAD; n_trees: 50 in BASE, 100 in HEAD"
    assert refused(max_rounds=20, time_limit_s=1.0, executors=["single"], brand_new=1) == ""
    sweep = samples.sweep()
    sized = [
        replace(sweep, params={**sweep.params, "batch_sizes": sizes}) for sizes in ({"forest": [1]}, {"forest": [2]})
    ]
    assert pair(*sized).notebooks[0].refused == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"simulated": True}, "HEAD is of a simulated device, BASE of a real one"),
        ({"schema_version": 2}, "schema version 1 in BASE, 2 in HEAD"),
    ],
)
def test_other_kinds_of_runs_are_refused(change: dict[str, Any], message: str) -> None:
    """A simulated device and a real one, or two schemas, are never set against each other."""
    run = samples.multiprocess()
    study = pair(run, replace(run, **change))
    assert (study.notebooks[0].refused, study.changes) == (message, ())


def test_a_notebook_of_one_run_only_is_named() -> None:
    """What only one run holds is refused and says which holds it not."""
    study = compare_runs({NOTEBOOK: samples.multiprocess()}, {"batch_sweep": samples.sweep()}, "b")
    assert [(one.notebook, one.refused) for one in study.notebooks] == [
        (NOTEBOOK, "HEAD does not hold it"),
        ("batch_sweep", "BASE does not hold it"),
    ]


def test_cells_that_failed_are_refused_each_with_its_reason() -> None:
    """Failed, wrong or of another size: the cell is not compared, the others are."""
    base = samples.multiprocess()
    small = replace(samples.way("single"), inputs_per_call=1000)
    head = samples.multiprocess(small, samples.failed_way("threads"), samples.wrong(samples.way("naive_pool")))
    study = pair(base, head)
    reasons = {change.name: change.ratio.reason for change in study.changes if change.ratio.verdict is Verdict.INVALID}
    wanted = {
        "1 thread": "another size: 60,000 inputs per call in BASE, 1,000 in HEAD",
        "threads": f"HEAD is failed: {samples.FAILED['reason']}",
        "naive_pool": f"HEAD has wrong outputs: {samples.WRONG.detail}",
    }
    for name, why in wanted.items():
        assert [reason for cell, reason in reasons.items() if f" {name}" in cell and "·" in cell] == [why]
    assert any("shared_pool" in name for name in study.notebooks[0].only_base)


def test_other_threads_are_refused_on_one_machine_only() -> None:
    """A network on two threads against four: another configuration here, another machine's CPUs there."""
    run = samples.vs_gpu()
    fewer = replace(
        run,
        measurements=tuple(replace(cell, case=replace(cell.case, n_threads=2)) for cell in run.measurements),
    )
    here = [change.ratio.reason for change in pair(run, fewer).changes if change.is_cell]
    assert set(here) == {"threads: 4 in BASE, 2 in HEAD"}
    elsewhere = pair(run, replace(fewer, machine=replace(run.machine, logical_cores=2)))
    assert all(change.ratio.is_judged for change in elsewhere.changes if change.is_cell)


def test_best_batch_under_other_limits_is_refused() -> None:
    """Its cells are compared all the same."""
    study = pair(samples.sweep(), samples.sweep(max_latency_s=1.0))
    reasons = {change.ratio.reason for change in study.changes if change.name.startswith("best_")}
    assert reasons == {"under other limits: max_latency_s"}
    assert all(change.ratio.is_judged for change in study.changes if change.is_cell)


def test_too_few_rounds_have_no_verdict() -> None:
    """Three rounds a side carry none, and say how many would."""
    few: Run = samples.multiprocess(*(samples.way(name, wobble=(1.0, 1.01, 0.99), spans=()) for name in NAMES))
    ratio = named(pair(few, few), "shared_pool").ratio
    assert (ratio.verdict, ratio.low) == (Verdict.TOO_FEW, None)
    assert ratio.reason.startswith("3 against 3 rounds carry no")


def test_a_run_without_a_control_is_compared_without_it() -> None:
    """The allowance is that of the limit alone."""
    run = with_control(made(np.random.default_rng(11)), [])
    (one,) = pair(run, run).notebooks
    assert one.rule.control is None
    tolerance = one.rule.tolerance("s")
    assert (tolerance.low, tolerance.high) == (1 / 1.03, 1.03)
