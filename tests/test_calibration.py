"""The harness measured by itself: known work on a fake counter, identical variants, the page, the file it leaves."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

import inferbench_lib as ib
from inferbench_lib import calibrate, config, store
from inferbench_lib.analysis.calibration import figures, study
from inferbench_lib.analysis.comparison import compare_rounds
from inferbench_lib.analysis.identical import compare_identical
from inferbench_lib.analysis.simulation import AR1_LAGS, autoregressive, times_from_noise
from inferbench_lib.benches import CellSeries, LoopBench
from inferbench_lib.probes import AgreementBench, HarnessBench
from inferbench_lib.records import Case, Machine, Measurement, Outcome, Run, Verdict, Verification
from inferbench_lib.report import studies
from inferbench_lib.report.views import calibration as page
from inferbench_lib.timing import harness
from inferbench_lib.timing.harness import DeadlineSpin, overhead, spin_samples

ROOT = Path(__file__).parent.parent
FOREST, CNN = Case(workload="forest", batch_size=10), Case(workload="cnn-small", batch_size=1)
REQUIRED = {
    "timer_cost_ns", "bias[5us]", "bias[50us]", "bias[500us]", "bias[5ms]", "aa_false_alarms", "aa_comparisons",
    "aa_false_alarms_naive", "coverage[0.0]", "coverage[0.3]", "coverage[0.6]", "coverage[0.87]", "detectable_ratio",
}  # fmt: skip


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


def spin_row(label: str, duration_s: float, calls: int, ratio: float) -> Measurement:
    """Six rounds of two samples that all read `ratio` times the truth: what the spin says and 50 ns more."""
    return Measurement(
        case=Case(workload="spin", engine=label, batch_size=1),
        samples_s=(ratio * (duration_s + 50e-9),) * 12,
        round_sizes=(2,) * 6,
        calls_per_sample=calls,
        series={"said_s": (duration_s,) * 12},
        figures={"duration_s": duration_s},
        notes={"part": "spin"},
    )


def alike_row(case: Case, rounds: np.ndarray) -> Measurement:
    """A variant with these rounds of samples, shape (rounds, calls)."""
    return Measurement(
        case=case,
        samples_s=tuple(rounds.ravel().tolist()),
        round_sizes=(rounds.shape[1],) * len(rounds),
        notes={"part": "identical"},
    )


def quiet_rounds(*, n_rounds: int, seed: int, spread: float = 0.002, factor: float = 1.0) -> np.ndarray:
    """Calls of about a millisecond with independent noise."""
    noise = np.random.default_rng(seed).standard_normal((n_rounds, 3))
    return factor * 1e-3 * np.exp(spread * noise)


def variants(
    case: Case, *, n_rounds: int, factors: tuple[float, ...] = (1, 1, 1, 1), spread: float = 0.002, seed: int = 0
) -> list[Measurement]:
    """Four variants; `factors` makes some of them slower."""
    return [
        alike_row(case, quiet_rounds(n_rounds=n_rounds, seed=10 * seed + number, spread=spread, factor=factor))
        for number, factor in enumerate(factors)
    ]


def a_run(alike: list[Measurement], *, comparisons: int = 12, bias: float = 1.001) -> Run:
    """A stored run put together by hand."""
    simulated = [
        {"lag1": lag1, "n_rounds": n_rounds, "calls_per_round": calls}
        for n_rounds, calls in ((15, 5), (8, 3))
        for lag1 in AR1_LAGS
    ]
    agreement = [
        Measurement(case=FOREST, samples_s=(seconds,) * 8, round_sizes=(1,) * 8, calls_per_sample=5,
                    notes={"part": "agreement", "timer": timer})
        for timer, seconds in (("inferbench", 1.01e-3), ("torch", 1e-3))
    ]  # fmt: skip
    durations = {"5us": 5e-6, "50us": 5e-5, "500us": 5e-4, "5ms": 5e-3}
    spins = [
        spin_row(label, s, calls, bias) for label, s in durations.items() for calls in ((2, 1) if s < 5e-3 else (1,))
    ]
    names = ("timer_pair_ns", "timer_step_ns", "clock_ns", "loop_ns", "between_ns", "spin_edge_ns")
    return Run(
        notebook="calibration",
        run_id="by-hand",
        machine=Machine(cpu_model="Example CPU"),
        params={"comparisons": comparisons, "rounds_a_comparison": 8, "seed": 0},
        measurements=(*spins, *agreement, *alike),
        tables={
            "overhead": {name: [50.0, 40.0, 60.0] for name in names},
            "simulated": {
                "coverage": [{**row, "quantity": q, "share": 0.95} for row in simulated for q in ("median", "ratio")],
                "detection": [{**row, "share": 1 - row["lag1"] / 100} for row in simulated],
            },
        },
    )


def test_bias_is_what_the_loop_reads_over_the_truth() -> None:
    """Samples 0.1 % above what a spin says and its edge have a bias of 0.001, whatever its length."""
    found = figures(study(a_run(variants(FOREST, n_rounds=8))))
    for label in ("5us", "50us", "500us", "5ms"):
        assert found[f"bias[{label}]"].value == pytest.approx(0.001)
        assert found[f"bias[{label}]"].low == pytest.approx(0.001)


def test_bias_is_of_blocks_and_of_single_calls_apart() -> None:
    """The bias of a short spin is that of its blocks; the one of single calls stands beside it."""
    run = a_run(variants(FOREST, n_rounds=8))
    single = next(row for row in run.measurements if row.case.engine == "5us" and row.calls_per_sample == 1)
    slower = replace(single, samples_s=tuple(1.1 * seconds for seconds in single.samples_s))
    rows = tuple(slower if row is single else row for row in run.measurements)
    found = figures(study(replace(run, measurements=rows)))
    assert found["bias[5us]"].value == pytest.approx(0.001)
    assert found["bias_single_call[5us]"].value == pytest.approx(1.1 * 1.001 - 1)


def test_blocks_of_rounds_are_paired_without_sharing_a_call() -> None:
    """Variants that take 1, 2, 4 and 8 s: each block of 8 rounds pairs all four once, another way in each block."""
    steady = np.tile([1.0, 1.001, 0.999], (24, 1))
    cells = [alike_row(FOREST, 2.0**number * steady) for number in range(4)]
    found = compare_identical(cells, wanted=6, n_rounds=8)
    assert (found.n_blocks, found.n_pairings) == (3, 1)
    assert [one.ratio.value for one in found.comparisons] == pytest.approx([1 / 2, 1 / 2, 1 / 4, 1 / 4, 1 / 8, 1 / 2])


def test_blocks_are_paired_anew_where_there_are_too_few() -> None:
    """Two blocks give 4 comparisons that share nothing; asked for 9, every pair of every block is compared."""
    steady = np.tile([1.0, 1.001, 0.999], (16, 1))
    cells = [alike_row(FOREST, 2.0**number * steady) for number in range(4)]
    found = compare_identical(cells, wanted=9, n_rounds=8)
    assert (found.n_blocks, found.n_pairings, len(found.comparisons)) == (2, 3, 12)
    ratios = sorted(one.ratio.value for one in found.comparisons)
    assert ratios == pytest.approx([1 / 8] * 2 + [1 / 4] * 4 + [1 / 2] * 6)


def test_identical_variants_raise_no_alarm() -> None:
    """Noise of 0.2 % never carries an interval beyond the 1 % that a verdict needs."""
    cells = variants(FOREST, n_rounds=80) + variants(CNN, n_rounds=80, seed=1)
    found = compare_identical(cells, wanted=40, n_rounds=8)
    assert (len(found.comparisons), found.n_alarms, found.n_withheld) == (40, 0, 0)
    assert found.alarm_rate.high == pytest.approx(1 - 0.025 ** (1 / 40))


def test_a_variant_that_is_not_identical_is_an_alarm_in_every_block() -> None:
    """A variant slower by 10 % is in one comparison of each of its 10 blocks, and each of them claims a difference."""
    cells = variants(FOREST, n_rounds=80, factors=(1, 1, 1, 1.1)) + variants(CNN, n_rounds=80, seed=1)
    found = compare_identical(cells, wanted=40, n_rounds=8)
    assert found.n_alarms == 10
    assert {one.workload for one in found.comparisons if one.is_alarm} == {"forest"}


def test_the_t_test_on_calls_raises_alarms_that_rounds_do_not() -> None:
    """On a machine whose speed wanders slowly, calls taken for independent differ far too often; rounds do not."""
    noise = autoregressive((60 * 8 * 12,), 0.99, np.random.default_rng(3)).reshape(60 * 8, 4, 3)
    order = np.random.default_rng(4).permuted(np.tile(np.arange(4), (60 * 8, 1)), axis=1)
    times = times_from_noise(np.take_along_axis(noise, order[:, :, None], axis=1))
    found = compare_identical([alike_row(FOREST, times[:, number]) for number in range(4)], wanted=120, n_rounds=8)
    assert found.n_alarms <= 0.05 * 120
    assert found.naive_alarms(in_turn=True) >= 0.3 * 120


def test_found_slowdowns_are_those_that_comparisons_would_call_slower() -> None:
    """The share of comparisons that would find 5 % is that of comparisons with the candidate really made slower."""
    cells = variants(FOREST, n_rounds=80, spread=0.05)
    found = compare_identical(cells, wanted=20, n_rounds=8)
    rounds = [np.median(np.reshape(cell.samples_s, (80, 3)), axis=1) for cell in cells]
    pairings = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    verdicts = [
        compare_rounds(list(rounds[a][8 * b : 8 * b + 8]), list(1.05 * rounds[c][8 * b : 8 * b + 8])).verdict
        for b in range(10)
        for a, c in pairings[b % 3]
    ]
    share = verdicts.count(Verdict.SLOWER) / 20
    assert 0 < share < 1
    assert found.found(0.05) == share


def test_smallest_slowdown_is_that_of_the_workload_that_scatters_more() -> None:
    """With ten times the scatter in one workload, that one says what this machine can tell apart."""
    cells = variants(FOREST, n_rounds=40) + variants(CNN, n_rounds=40, spread=0.02, seed=1)
    found = compare_identical(cells, wanted=20, n_rounds=8)
    assert found.detectable_ratio == found.detectable["cnn-small"] > found.detectable["forest"] > 1.01


@pytest.mark.parametrize(
    "broken",
    [
        Measurement(case=FOREST, outcome=Outcome.FAILED, reason="killed"),
        replace(variants(FOREST, n_rounds=8)[0], verification=Verification(passed=False, n_checked=1, detail="row 0")),
    ],
)
def test_a_workload_with_an_unusable_variant_is_left_out(broken: Measurement) -> None:
    """A variant that failed or gave wrong outputs takes its workload out; the other one is still compared."""
    broken = replace(broken, notes={"part": "identical"})
    cells = [broken, *variants(FOREST, n_rounds=8)[1:], *variants(CNN, n_rounds=8)]
    assert {one.workload for one in compare_identical(cells, wanted=2, n_rounds=8).comparisons} == {"cnn-small"}


@pytest.mark.parametrize(
    ("alike", "expected"),
    [
        (
            variants(FOREST, n_rounds=80),
            "This machine is quiet enough for differences of {detectable} and more, which 8 rounds find with 80 % "
            "chance; 0 false alarms in 20 comparisons of identical work, where a t-test on the same calls raised {naive}.",
        ),
        (
            variants(FOREST, n_rounds=80, spread=0.1),
            "This machine is quiet enough only for differences of {detectable} and more, which 8 rounds find with 80 % "
            "chance; {alarms} in 20 comparisons of identical work, where a t-test on the same calls raised {naive}. "
            "Close what else runs, or take more rounds, to tell smaller ones apart.",
        ),
        (
            variants(FOREST, n_rounds=80, factors=(1, 1, 1, 1.1)),
            "Do not trust verdicts of this machine now: 10 false alarms in 20 comparisons of identical work, where a "
            "t-test on the same calls raised {naive}. Close what else runs and calibrate again.",
        ),
        (
            [],
            "No verdict: identical variants could not be compared; see what failed, or give it more time.",
        ),
    ],
    ids=["quiet", "noisy", "alarming", "nothing"],
)
def test_one_sentence_says_what_the_machine_is_fit_for(alike: list[Measurement], expected: str) -> None:
    """The page's sentence follows from the alarms and from the smallest slowdown, each with its figure."""
    said = study(a_run(alike, comparisons=20))
    ratio, alarms = said.identical.detectable_ratio, said.identical.n_alarms
    assert page.answer(said).verdict == expected.format(
        detectable=f"{100 * (ratio - 1):.1f} %" if ratio and ratio < 1.1 else f"{100 * ((ratio or 1) - 1):.0f} %",
        naive=said.identical.naive_alarms(),
        alarms=f"{alarms} false alarm{'' if alarms == 1 else 's'}",
    )


def test_every_promise_is_a_row_that_can_fail() -> None:
    """A bias above its limit, alarms above 5 % and a detection below 95 % each say no."""
    good = page.table(study(a_run(variants(FOREST, n_rounds=80), comparisons=20))).frame
    assert set(good["holds"]) == {"yes"}
    run = a_run(variants(FOREST, n_rounds=80, factors=(1, 1, 1, 1.1)), comparisons=20, bias=1.03)
    rows = run.tables["simulated"]["detection"]
    run.tables["simulated"]["detection"] = [{**row, "share": 0.94} for row in rows]
    slow = tuple(replace(row, samples_s=tuple(1.04 * s for s in row.samples_s))
                 if row.notes.get("timer") == "inferbench" else row for row in run.measurements)  # fmt: skip
    bad = page.table(study(replace(run, measurements=slow))).frame
    assert list(bad.loc[bad["holds"] == "no", "what"]) == [
        "bias at 5.00 µs", "bias at 50.0 µs", "bias at 500 µs", "bias at 5.00 ms", "false alarms on identical variants",
        "a slowdown of 5 % found", "the forest by our loop over torch.utils.benchmark.Timer",
    ]  # fmt: skip


@pytest.mark.parametrize("factors", [(1, 1, 1, 1), (1, 1, 1, 1.1)])
def test_every_figure_is_drawn_and_read_back(factors: tuple[float, ...]) -> None:
    """Each view draws without measuring, with or without alarms, and says in words what it shows."""
    said = study(a_run(variants(FOREST, n_rounds=24, factors=factors) + variants(CNN, n_rounds=24), comparisons=12))
    for view in page.VIEWS:
        drawn = view(said)
        assert drawn.figure().axes
        assert drawn.alt
        assert drawn.reading.endswith(".")


def test_sharing_of_calls_is_said() -> None:
    """The page says whether comparisons share calls, and in how many each call serves."""
    alike = variants(FOREST, n_rounds=24)
    assert "; no two of them share a call." in page.identical_ratios(study(a_run(alike, comparisons=6))).reading
    assert "; each call serves in 3 of them." in page.identical_ratios(study(a_run(alike, comparisons=60))).reading


class SpinBench(LoopBench):
    """A bench whose every call takes 200 µs."""

    def open(self, case: Case) -> CellSeries:
        return CellSeries(
            case=case,
            call=DeadlineSpin().spin,
            batches=repeat(200_000),
            agree=lambda batch, output: Verification(passed=batch == 200_000, n_checked=1),
            inputs_per_call=1,
        )


def test_both_timers_time_the_same_calls() -> None:
    """Our loop and torch's timer both read spins of 200 µs as that, one sample a round, within wide bounds."""
    bench = AgreementBench(SpinBench, FOREST, seed=0)
    for _ in range(6):
        bench.turn(5)
    ours, theirs = bench.finish(5)
    assert (ours.notes, theirs.notes) == ({"timer": "inferbench"}, {"timer": "torch"})
    for row in (ours, theirs):
        assert (row.round_sizes, row.calls_per_sample) == ((1,) * 6, 5)
        assert 200e-6 <= min(row.samples_s) < 400e-6


@pytest.fixture(scope="module")
def run_here(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A tiny calibration of this machine, and its reports folder."""
    reports = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERBENCH_REPORTS", str(reports))
        patch.setenv("INFERBENCH_RUN_FOLDER", str(reports / "here"))
        patch.setattr(calibrate, "HARNESS_ROUNDS", 6)
        patch.setattr(calibrate, "AGREEMENT_ROUNDS", 6)
        run = ib.calibration(comparisons=4, samples_a_turn=1, n_trees=5, n_train=200, simulated_series=50)
    return run, reports


def test_calibration_leaves_its_figures_flat(run_here: tuple[Run, Path]) -> None:
    """`reports/calibration.json` holds every promised key as a number, and the sentence; they are the run's figures."""
    run, reports = run_here
    kept = json.loads((reports / "calibration.json").read_text())
    assert kept.keys() >= REQUIRED
    assert all(isinstance(kept[name], int | float) and math.isfinite(kept[name]) for name in REQUIRED)
    assert kept.keys() - {"sentence", "run_id", "started_at", "processor"} == run.summary.keys()
    assert kept["aa_comparisons"] == 4
    assert kept["sentence"] == studies.answer(run).verdict


def test_calibration_keeps_its_raw_samples(run_here: tuple[Run, Path]) -> None:
    """What the figures rest on is stored and says the same when it is read again; all outputs were right."""
    run, reports = run_here
    stored = store.load_run(reports / "here" / "data" / "calibration.json")
    assert figures(study(stored)) == figures(study(run)) == run.summary
    alike = [row for row in stored.measurements if row.notes["part"] == "identical"]
    assert [len(row.round_sizes) for row in alike] == [8] * 8
    assert len({row.worker_pid for row in alike}) == 8
    assert all(row.verification and row.verification.passed for row in alike)
    assert len(studies.readings(stored)) == len(page.VIEWS)


def test_reused_calibration_leaves_the_latest_one_alone(
    run_here: tuple[Run, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Showing a stored run again measures nothing and does not pose as the newest calibration."""
    run, reports = run_here
    monkeypatch.setenv("INFERBENCH_REPORTS", str(reports))
    monkeypatch.setenv("INFERBENCH_RUN_FOLDER", str(tmp_path / "again"))
    before = (reports / "calibration.json").stat().st_mtime_ns
    assert ib.calibration(reuse="here").summary == run.summary
    assert (tmp_path / "again/data/calibration.json").exists()
    assert (reports / "calibration.json").stat().st_mtime_ns == before


def test_latest_calibration_is_shown_to_other_pages(
    run_here: tuple[Run, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another page of this machine shows the sentence and the figures; on another machine it says whose they are."""
    run, reports = run_here
    monkeypatch.setenv("INFERBENCH_REPORTS", str(reports))
    shown = page.latest(run.machine)
    sentence = studies.answer(run).verdict
    assert shown.reading == f"{sentence} Measured {run.started_at} (run here)."
    assert "0 of 4" in str(list(shown.frame["measured"])) or run.summary["aa_false_alarms"].value != 0
    other = page.latest(Machine(cpu_model="another"))
    assert (
        other.reading
        == f"{sentence} Measured {run.started_at} (run here) on another processor, {run.machine.cpu_model}."
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "How well this machine can measure is not known yet: make calibrate finds out in 3 minutes."),
        (
            "{",
            "calibration.json: expected what make calibrate wrote, got a damaged file (Expecting property name "
            "enclosed in double quotes: line 1 column 2 (char 1)); run it again.",
        ),
        (
            "{}",
            "calibration.json: expected what make calibrate wrote, got a damaged file ('detectable_ratio'); "
            "run it again.",
        ),
    ],
)
def test_missing_or_damaged_calibration_is_said(
    content: str | None, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a usable calibration a page says so and how to make one."""
    monkeypatch.setenv("INFERBENCH_REPORTS", str(tmp_path))
    if content is not None:
        (tmp_path / "calibration.json").write_text(content)
    shown = page.latest()
    assert shown.reading == expected
    assert list(shown.frame["measured"]) == ["not measured"]


def test_rounds_suffice_for_the_comparisons_asked_for() -> None:
    """Two hundred comparisons of 8 rounds, four of them in each block, need 400 rounds; none ends them early."""
    plan = calibrate._plan(config.Calibration())
    assert (plan.min_rounds, plan.max_rounds, plan.target_width) == (8, 400, 0.0)


def test_parameters_of_the_notebook_are_the_defaults() -> None:
    """The notebook's parameters cell says what the configuration does when nothing is asked for."""
    notebook = nbformat.read(ROOT / "notebooks/calibration.ipynb", as_version=4)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    names: dict[str, Any] = {}
    exec(cell.source, names)
    assert config.parameters("calibration", names) == config.Calibration().model_dump()
