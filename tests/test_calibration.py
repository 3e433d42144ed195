"""A calibration run: its figures, its page, and the file that it leaves for later pages."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from calibration_runs import CNN, FOREST, a_run, variants

import inferbench_lib as ib
from inferbench_lib import store, studies
from inferbench_lib.records import Machine, Measurement, Run, from_plain, plain
from inferbench_lib.studies import voice
from inferbench_lib.studies.calibration import measure as calibrate
from inferbench_lib.studies.calibration import page
from inferbench_lib.studies.calibration.study import figures, study

ROOT = Path(__file__).parent.parent
REQUIRED = {
    "timer_cost_ns", "bias[5us]", "bias[50us]", "bias[500us]", "bias[5ms]", "aa_false_alarms", "aa_comparisons",
    "aa_false_alarms_naive", "detectable_ratio",
}  # fmt: skip


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


@pytest.mark.parametrize(
    ("alike", "expected"),
    [
        (
            variants(FOREST, n_rounds=80),
            "This machine is quiet enough: a slowdown of {detectable} or more is found with 80 % chance. Of 20 "
            "comparisons of identical work, 0 were called different; at most 1 may be expected.",
        ),
        (
            variants(FOREST, n_rounds=80, spread=0.1),
            "This machine is noisy: only a slowdown of {detectable} or more is found with 80 % chance. Close other "
            "programs, or take more rounds. Of 20 comparisons of identical work, {alarms} called different; at most 1 "
            "may be expected.",
        ),
        (
            variants(FOREST, n_rounds=80, factors=(1, 1, 1, 1.1)),
            "Do not trust this machine's verdicts now: of 20 comparisons of identical work, 10 were called different; "
            "at most 1 may be expected. Close other programs and calibrate again.",
        ),
        (
            [],
            "No verdict: identical variants could not be compared. See what failed, or allow more time.",
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
        alarms=f"{alarms} {'was' if alarms == 1 else 'were'}",
    )


def test_every_promise_is_a_row_that_can_fail() -> None:
    """A bias above its limit, alarms above 5 % and another timer's disagreement each say no."""
    good = page.table(study(a_run(variants(FOREST, n_rounds=80), comparisons=20))).frame
    assert set(good["holds"]) == {"yes"}
    run = a_run(variants(FOREST, n_rounds=80, factors=(1, 1, 1, 1.1)), comparisons=20, bias=1.03)
    slow = tuple(replace(row, samples_s=tuple(1.04 * s for s in row.samples_s))
                 if row.notes.get("timer") == "inferbench" else row for row in run.measurements)  # fmt: skip
    bad = page.table(study(replace(run, measurements=slow))).frame
    assert list(bad.loc[bad["holds"] == "no", "what"]) == [
        "bias at 5.00 µs", "bias at 50.0 µs", "bias at 500 µs", "bias at 5.00 ms", "false alarms on identical variants",
        "the forest by our loop over torch.utils.benchmark.Timer",
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


def test_a_run_that_holds_simulated_series_still_shows() -> None:
    """Records of 0.1.0 hold a table of simulated series and its parameter: neither is read, nothing else changes."""
    run = a_run(variants(FOREST, n_rounds=24))
    series = {"coverage": [{"lag1": 0.0, "share": 0.95}], "detection": []}
    older = replace(run, params={**run.params, "simulated_series": 4000}, tables={**run.tables, "simulated": series})
    stored = from_plain(plain(older))
    assert figures(study(stored)) == figures(study(run))
    assert page.answer(study(stored)).verdict == page.answer(study(run)).verdict


def test_the_figure_of_false_alarms_says_what_it_shows() -> None:
    """Few alarms are due to taking turns, not to the test: a t-test's few are set beside its many on calls in a row."""
    said = study(a_run(variants(FOREST, n_rounds=24), comparisons=12))
    alarms = replace(said.identical, p_values_in_a_row=(0.01, 0.02, 0.5))
    reading = page.identical_ratios(replace(said, identical=alarms)).reading
    assert " of comparisons; the rule allows 5 %); " in reading
    assert reading.endswith(
        "Taking turns keeps false alarms rare, whatever the test: a t-test on the same interleaved calls raises "
        f"{alarms.naive_alarms}. Where each variant makes 50 calls in a row instead, it raises 2 in 3."
    )
    counts = {"aa_comparisons": 200, "aa_false_alarms": 5, "aa_false_alarms_naive": 2}
    in_a_row = {"aa_false_alarms_naive_in_a_row": 37, "aa_comparisons_in_a_row": 90}
    latest = dict.fromkeys(REQUIRED, 1.0) | counts | in_a_row | {"loop_overhead_ns": 1.0}
    rows = dict(page._latest_rows(latest))
    assert rows["false alarms on identical variants"] == "5 of 200"
    assert rows["of a t-test on calls in a row, which do not take turns"] == "37 of 90"
    assert "2 of 200" not in rows.values()


def test_sharing_of_calls_is_said() -> None:
    """The page says whether comparisons share calls, and in how many each call serves."""
    alike = variants(FOREST, n_rounds=24)
    assert "; no two of them share a call." in page.identical_ratios(study(a_run(alike, comparisons=6))).reading
    assert "; each call serves in 3 of them." in page.identical_ratios(study(a_run(alike, comparisons=60))).reading


@pytest.fixture(scope="module")
def run_here(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A tiny calibration of this machine, and its reports folder."""
    reports = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERBENCH_REPORTS", str(reports))
        patch.setenv("INFERBENCH_RUN_FOLDER", str(reports / "here"))
        patch.setattr(calibrate, "HARNESS_ROUNDS", 6)
        patch.setattr(calibrate, "AGREEMENT_ROUNDS", 6)
        patch.setattr(calibrate, "STRETCHES", 1)
        run = ib.calibration(comparisons=4, samples_a_turn=1, n_trees=5, n_train=200)
    return run, reports


def test_calibration_leaves_its_figures_flat(run_here: tuple[Run, Path]) -> None:
    """`reports/calibration.json` holds every promised key as a number, and nothing but the run's figures."""
    run, reports = run_here
    kept = json.loads((reports / "calibration.json").read_text())
    assert kept.keys() >= REQUIRED
    assert all(isinstance(kept[name], int | float) and math.isfinite(kept[name]) for name in REQUIRED)
    assert kept.keys() - {"run_id", "started_at", "processor"} == run.summary.keys()
    assert kept["aa_comparisons"] == 4


def test_calibration_keeps_its_raw_samples(run_here: tuple[Run, Path]) -> None:
    """What the figures rest on is stored and says the same when it is read again; all outputs were right."""
    run, reports = run_here
    stored = store.load_run(reports / "here" / "data" / "calibration.json")
    assert figures(study(stored)) == figures(study(run)) == run.summary
    alike = [row for row in stored.measurements if row.notes["part"] == "identical"]
    assert [len(row.round_sizes) for row in alike] == [8] * 8
    assert [len(row.series["in_a_row_s"]) for row in alike] == [50] * 8
    assert len({row.worker_pid for row in alike}) == 8
    assert all(row.verification and row.verification.passed for row in alike)
    assert all(view(study(stored)).reading for view in page.VIEWS)


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
    sentence = voice.answer(run).verdict
    assert shown.reading == f"{sentence} Measured {run.started_at} (run here)."
    assert "0 of 4" in str(list(shown.frame["measured"])) or run.summary["aa_false_alarms"].value != 0
    other = page.latest(Machine(cpu_model="another"))
    assert other.reading == f"{sentence} Measured {run.started_at} (run here) on another CPU, {run.machine.cpu_model}."


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "How well this machine can measure is not known yet: run make calibrate (3 minutes)."),
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
    shown = page.latest(Machine())
    assert shown.reading == expected
    assert list(shown.frame["measured"]) == ["not measured"]


def test_rounds_suffice_for_the_comparisons_asked_for() -> None:
    """Two hundred comparisons of 8 rounds, four in each block, need 400 rounds; late as it is, one block is made."""
    plan = calibrate._plan(studies.params("calibration")(), ends_s=0.0)
    assert plan.time_limit_s == 0
    assert (plan.min_rounds, plan.max_rounds, plan.target_width) == (8, 400, 0.0)


def test_parameters_of_the_notebook_are_the_defaults() -> None:
    """The notebook's parameters cell says what the configuration does when nothing is asked for."""
    notebook = nbformat.read(ROOT / "notebooks/calibration.ipynb", as_version=4)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    names: dict[str, Any] = {}
    exec(cell.source, names)
    assert studies.parameters("calibration", names) == studies.params("calibration")().model_dump()
