"""Engines are screened, measured and compared: the choice, its limits, where one overtakes another, and its code."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sample_runs as samples
from page_texts import row

from inferbench_lib import store
from inferbench_lib.errors import NotAvailable
from inferbench_lib.findings import Refusal
from inferbench_lib.progress import PROGRESS_FILE
from inferbench_lib.records import Case, Outcome, Run
from inferbench_lib.studies import voice
from inferbench_lib.studies.model_engines import page
from inferbench_lib.studies.model_engines.crossover import crossing, crossover
from inferbench_lib.studies.model_engines.measure import measure
from inferbench_lib.studies.model_engines.page_code import CODE
from inferbench_lib.studies.model_engines.params import Params
from inferbench_lib.studies.model_engines.screen import OTHER_THREADS, SLOWER, Tried, finalists, is_hopeless
from inferbench_lib.studies.model_engines.study import study
from inferbench_lib.work.base import Runner
from inferbench_lib.work.engines import ENGINES
from inferbench_lib.work.engines.sklearn import Sklearn
from inferbench_lib.work.engines.treelite import Treelite

# Screening


def trial(engine: str, seconds: float | None, *, threads: int = 1, precision: str = "fp32", batch: int = 1) -> Tried:
    case = Case(workload="forest", engine=engine, batch_size=batch, precision=precision, n_threads=threads)
    return Tried(case=case, seconds=seconds, reason="" if seconds else "not installed")


def test_the_own_engine_and_what_is_near_the_fastest_are_measured() -> None:
    """Own engine: fp32 with all threads. Others: the fewest threads within 10 %, at most twice the fastest in fp32."""
    reasons = {
        trial("sklearn", 10.0): "",
        trial("sklearn", 30.0, threads=2): "",
        trial("sklearn", 3.0, precision="bf16"): SLOWER,
        trial("onnxruntime", 1.2): OTHER_THREADS,
        trial("onnxruntime", 1.0, threads=2): "",
        trial("onnxruntime", 0.11, precision="int8"): "",
        trial("onnxruntime", 0.10, threads=2, precision="int8"): OTHER_THREADS,
        trial("treelite", 2.0): "",
        trial("treelite", 2.3, threads=2): OTHER_THREADS,
        trial("torch_compile", 2.1): SLOWER,
        trial("openvino", None): "not installed",
        trial("treelite", 5.0, batch=100): "",
    }
    found = finalists(list(reasons), keep_within=2.0, always={"forest": ["sklearn"]})
    assert [one.case for one in found] == [one.case for one in reasons]
    assert [one.reason for one in found] == list(reasons.values())
    assert {one.case.engine: one.times_slower for one in found if one.reason == SLOWER} == {
        "sklearn": 3.0,
        "torch_compile": 2.1,
    }


def test_what_was_hopeless_at_a_smaller_batch_is_not_tried() -> None:
    """More than 20 times slower than the fastest at a smaller size; other threads and smaller sizes are tried."""
    seen = [trial("onnxruntime", 1.0, batch=10), trial("sklearn", 20.1, batch=10), trial("treelite", 20.0, batch=10)]
    seen.append(trial("openvino", None, batch=10))
    hopeless = [
        (name, size, threads)
        for name in ("sklearn", "treelite", "openvino")
        for size in (1, 10, 100)
        for threads in (1, 2)
        if is_hopeless(trial(name, 1.0, batch=size, threads=threads).case, seen)
    ]
    assert hopeless == [("sklearn", 100, 1)]


# Where one engine overtakes another

SIZES = (100, 1000, 100_000)


def law(scale_s: float, power: float, noise: float = 0.0, n_rounds: int = 8, seed: int = 0) -> list[list[float]]:
    """Seconds of `scale_s * size ** power` by size and round, with lognormal noise."""
    rng = np.random.default_rng(seed)
    return [[scale_s * size**power * math.exp(rng.normal(0, noise)) for _ in range(n_rounds)] for size in SIZES]


def test_two_power_laws_cross_where_algebra_says() -> None:
    """1e-5 n = 1e-3 √n at n = 10,000; the slower to grow is `after`, and the other way round nothing crosses."""
    linear, root = law(1e-5, 1.0), law(1e-3, 0.5)
    found = crossing(SIZES, linear, root)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((10_000, 10_000, 10_000))
    assert crossing(SIZES, root, linear) is None
    assert crossing(SIZES, law(1e-3, 1.0), law(1e-4, 1.0)) is None


def test_the_last_of_several_crossings_counts() -> None:
    """The ratio passes 1 twice, from 1/2 to 2 and again from 1/2 to 2 between 100 and 1,000: at √100,000."""
    found = crossing((1, 10, 100, 1000), [[1.0] * 8] * 4, [[2.0] * 8, [0.5] * 8, [2.0] * 8, [0.5] * 8])
    assert found is not None
    assert found.value == pytest.approx(math.sqrt(1e5))


def test_rounds_that_differ_widen_the_interval() -> None:
    """With noise of 5 % the 95 % interval holds the true size in at least 25 of 30 experiments, and is no point."""
    held = 0
    for seed in range(30):
        found = crossing(SIZES, law(1e-5, 1.0, 0.05, 12, seed), law(1e-3, 0.5, 0.05, 12, seed + 1000))
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        assert found.low < found.value < found.high
        held += found.low <= 10_000 <= found.high
    assert held >= 25


def test_fewer_than_six_rounds_carry_no_interval() -> None:
    """The size stands, and the reason is in the place of its interval."""
    found = crossing(SIZES, law(1e-5, 1.0, n_rounds=5), law(1e-3, 0.5))
    assert found is not None
    assert found.value == pytest.approx(10_000)
    assert (found.low, found.high, found.reason) == (None, None, "needs 6 rounds, has 5")


def test_each_engine_crosses_with_its_fastest_threads() -> None:
    """onnxruntime is twice as fast at 1,000 rows, scikit-learn on 4 threads at 100,000: level at √(10³ · 10⁵)."""
    found = crossover("forest", samples.engine_cells())
    assert found is not None
    assert (found.before, found.after) == ("onnxruntime", "sklearn")
    assert found.batch_size.value == pytest.approx(10_000)
    assert crossover("cnn-small", samples.engine_cells()) is None


# The choice


def chosen(run: Run) -> dict[tuple[str, int], Any]:
    """The engine, precision and threads of each choice, or the words of its refusal."""
    return {
        (choice.workload, choice.batch_size): choice.best.reason
        if isinstance(choice.best, Refusal)
        else (choice.best.case.engine, choice.best.case.precision, choice.best.case.n_threads)
        for choice in study(run).choices
    }


def test_gains_are_over_the_library_as_it_comes() -> None:
    """scikit-learn on one thread, PyTorch on all CPUs: 4 ms over 10 µs, 1 s over 0.5 s on 4 threads, 40 ms over 4."""
    figures = samples.engines().summary
    gains = {
        "forest,onnxruntime,fp32,b1": 400,
        "forest,sklearn,fp32,b1": 0.2,
        "forest,onnxruntime,fp32,b1000": 4,
        "forest,sklearn,fp32,b100000": 2,
        "cnn-small,openvino,bf16,b16": 10,
        "cnn-small,onnxruntime,int8,b16": 20,
    }
    assert {name: figures[f"gain[{name}]"].value for name in gains} == pytest.approx(gains)
    assert figures["gain[forest,sklearn,fp32,b1]"].verdict == "slower"
    assert "gain[cnn-small,torch,fp32,b16]" not in figures
    assert figures["throughput[cnn-small,torch,fp32,b16,default]"].value == pytest.approx(16 / 0.04002)
    assert figures["latency_s[forest,onnxruntime,fp32,b1]"].value == pytest.approx(1.0005e-5)
    assert figures["page_faults_per_call[cnn-small,torch,fp32,b16,default]"].value == 50
    assert figures["agreement[cnn-small,onnxruntime,int8,b16]"].value == pytest.approx(0.98)
    assert figures["crossover_rows[forest]"].verdict == "onnxruntime before, sklearn after"


def test_the_share_of_the_gemm_peak_is_of_as_many_threads_in_fp32() -> None:
    """16 images of 20 MFLOP in 40.02 ms are 8 GFLOP/s, of the 40 on four threads; bf16 and forests have no share."""
    shares = {name: figure.value for name, figure in samples.engines().summary.items() if "gemm_share" in name}
    assert shares["gemm_share[cnn-small,torch,fp32,b16,default]"] == pytest.approx(16 * 20e6 / 0.04002 / 40e9)
    assert not any("bf16" in name or "int8" in name or "forest" in name for name in shares)


def test_outputs_that_disagree_too_often_exclude_an_engine() -> None:
    """int8 is twice as fast as bf16 and wrong for 20 of 1,000: out at 99 %, in at 98 %; no engine at all has words."""
    fastest = ("forest", 1), ("cnn-small", 16)
    assert [chosen(samples.engines())[key] for key in fastest] == [
        ("onnxruntime", "fp32", 4),
        ("openvino", "bf16", 4),
    ]
    assert chosen(samples.engines(min_agreement=0.98))["cnn-small", 16] == ("onnxruntime", "int8", 4)
    wrong = [samples.engine_cell("cnn-small", "torch", 16, 0.04, disagreements=20)]
    assert chosen(samples.engines(wrong)) == {("cnn-small", 16): "no engine agreed with the reference"}


def test_ties_are_no_disagreements() -> None:
    """With 500 of 1,000 rows in a tie and every limit at its highest, the engine agrees wholly."""
    cells = [
        samples.engine_cell("forest", "sklearn", 1, 4e-3, n_threads=1),
        samples.engine_cell("forest", "onnxruntime", 1, 1e-5, ties=500),
    ]
    run = samples.engines(cells, min_agreement=1.0)
    assert chosen(run) == {("forest", 1): ("onnxruntime", "fp32", 4)}
    told = row(page.table(study(run)), engine="onnxruntime on 4 threads")
    assert told["same class"] == "100 % of 1,000, 500 ties"


def test_the_limit_on_latency_excludes_engines() -> None:
    """100,000 rows take 0.5 s at best, so that a limit of 0.1 s leaves no engine there."""
    found = chosen(samples.engines(max_latency_s=0.1))
    assert found["forest", 100_000] == "no engine is within the limit on latency"
    assert found["forest", 1000] == ("onnxruntime", "fp32", 4)


def test_the_simplest_of_the_tied_is_chosen() -> None:
    """Channels last is 0.5 % slower than onnxruntime, which is a tie: stay in PyTorch; 25 % are none."""

    def of(channels_last_s: float) -> Any:
        times = {"torch": 40e-3, "torch_channels_last": channels_last_s, "onnxruntime": 20e-3}
        return chosen(samples.engines([samples.engine_cell("cnn-small", name, 16, s) for name, s in times.items()]))

    assert of(20.1e-3)["cnn-small", 16][0] == "torch_channels_last"
    assert of(25e-3)["cnn-small", 16][0] == "onnxruntime"


# The page


def test_the_verdict_names_each_engine_and_where_another_takes_over() -> None:
    """One sentence for each workload, at most 45 words; the pieces of code carry their workload's name."""
    answer = voice.answer(samples.engines())
    assert answer.verdict == (
        "The forest: use onnxruntime on 4 threads, 400× (400–400) at batch 1; from 10,000 inputs per call "
        "scikit-learn. The small network: use OpenVINO in bf16 on 4 threads, 10.0× (10.0–10.0) at batch 16."
    )
    assert answer.code.startswith("# forest\nimport onnxruntime")
    assert "\n\n# cnn-small\nimport openvino" in answer.code
    advice = voice.advice(samples.engines())
    assert advice is not None
    assert advice.gain is not None
    assert advice.gain.value == pytest.approx(400)
    assert advice.limits == "the class agrees for at least 99 % of the inputs"


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("nothing fits", "No recommendation for the forest: no engine is within the limit on latency."),
        ("all failed", "No recommendation for the small network: nothing was measured."),
        (
            "baseline failed",
            "No recommendation for the forest: no verdict, baseline is failed: worker 2 ended by SIGKILL",
        ),
        ("too few rounds", "No recommendation for the forest: no verdict, "),
        ("unstable", "No recommendation for the small network: no verdict, "),
        ("wrong outputs", "The small network: keep eager PyTorch on 4 threads; no engine gained more than 10 %."),
    ],
)
def test_what_is_not_shown_to_be_faster_is_not_recommended(name: str, verdict: str) -> None:
    """The sentence says why, no card and no code promise a gain, and advice is at most to keep what there is."""
    answer, advice = voice.answer(samples.RUNS[f"engines, {name}"]), voice.advice(samples.RUNS[f"engines, {name}"])
    assert verdict in answer.verdict
    assert answer.code == ""
    assert not any("×" in card.value for card in answer.cards)
    assert (advice.recommendation if advice else "") == ("keep the library as it comes" if "keep" in verdict else "")


def test_a_workload_without_its_own_library_is_named() -> None:
    """Nothing can be compared without it, and no table fills the gap with another engine's gain."""
    run = samples.engines([samples.engine_cell("forest", "onnxruntime", 1, 1e-5)])
    lost = "its own library was not measured, and nothing can be compared without it."
    assert voice.answer(run).verdict == f"No recommendation for the forest: {lost}"
    assert page.gain_by_batch(study(run)).reading == "No engine was measured."


def test_what_failed_and_what_was_left_out_stand_with_their_reasons() -> None:
    """A cell that failed in the rounds is on the first screen and in its table, a failed trial in the other table."""
    cells = [one for one in samples.engine_cells() if one.case.engine != "openvino"]
    lost = samples.without_samples(Case(workload="cnn-small", engine="openvino", batch_size=16), **samples.FAILED)
    said = study(samples.engines([*cells, lost]))
    assert f"The small network, OpenVINO, batch 16: {samples.FAILED['reason']}" in page.answer(said).flags
    assert row(page.table(said), engine="OpenVINO on 1 thread")["outcome"] == f"failed: {samples.FAILED['reason']}"
    assert page.left_out(said).frame.to_dict("records") == [
        {"workload": "the forest", "engine": "treelite", "batches": "1, 1,000, 100,000"} | {"reason": samples.REFUSED}
    ]
    assert row(page.price_list(said), engine="onnxruntime")["conversion, once"] == "2.00 s"


def test_the_heat_map_has_a_panel_for_each_workload_and_writes_each_gain() -> None:
    """Engines by batch sizes, and the numbers of the figures in the cells; a cell that was not measured is empty."""
    drawn = page.gain_by_batch(study(samples.engines())).figure()
    panels = {ax.get_title(loc="left"): ax for ax in drawn.axes}
    assert list(panels) == ["the forest", "the small network"]
    forest, network = panels.values()
    assert [text.get_text() for text in forest.get_xticklabels()] == ["1", "1,000", "100,000"]
    assert [text.get_text() for text in forest.get_yticklabels()] == ["scikit-learn", "onnxruntime"]
    assert [text.get_text() for text in forest.texts] == ["0.20×", "2.00×", "2.00×", "400×", "4.00×", "1.00×"]
    assert {"10.0×", "20.0×", "1.25×"} <= {text.get_text() for text in network.texts}


# The code under a recommendation

ROWS = """\
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
rows = np.random.default_rng(0).normal(size=(505, 3)).astype(np.float32)
label = rows[:, 0].round().clip(-1, 1).astype(int)
forest, boosted = RandomForestClassifier(5, random_state=0), HistGradientBoostingClassifier(max_iter=5)
fitted = [forest.fit(rows, label), boosted.fit(rows, label > 0)]
for name, code in blocks.items():
    for model in fitted[: 2 if name == "treelite" else 1]:
        seen = {"model": model, "rows": rows}
        exec(code, seen)
        assert (seen["outputs"] == model.predict(rows)).all() and len(seen["outputs"]) == 505, name
    print(name)
"""
IMAGES = """\
import copy, torch
torch.manual_seed(0)
layers = (torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 10 * 10, 10))
network, images = torch.nn.Sequential(*layers).eval(), torch.randn(5, 3, 12, 12)
expected = network(images).detach()
for name, code in blocks.items():
    seen = {"torch": torch, "model": copy.deepcopy(network), "images": images}
    exec(code, seen)
    assert torch.allclose(torch.as_tensor(seen["outputs"]), expected, rtol=1e-4, atol=1e-5), name
    assert "set_num_threads" not in code or torch.get_num_threads() == 2
    print(name)
"""


@pytest.mark.parametrize(("unit", "program"), [("rows", ROWS), ("images", IMAGES)])
def test_the_code_of_every_engine_predicts_the_same(unit: str, program: str, tmp_path: Path) -> None:
    """In a process of its own, around real models, outputs equal the plain call's; of two boosted classes too."""
    there = [name for name, of in CODE if of == unit and find_spec(ENGINES[name].library)]
    if not shutil.which("g++"):
        there = [name for name in there if name != "torch_compile"]
    codes = {name: CODE[name, unit].format(n_threads=2, hint="f32") for name in there}
    run = [sys.executable, "-c", f"blocks = {codes!r}\n{program}"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line in codes] == there


# Real measurements


class NotInstalled(Treelite):
    """An engine whose library is not there."""

    library = "no_such_library"
    package = "no-such-library"


class NotConverted(Treelite):
    """An engine that refuses every model."""

    name = "not_converted"

    def load(self) -> None:
        raise NotAvailable("forest: cannot be converted to ONNX in fp32: ValueError: no")


class Dying(Sklearn):
    """scikit-learn in a process that dies of 20 rows."""

    def runner(self, **settings: Any) -> Runner:
        runner = super().runner(**settings)
        return replace(runner, run=lambda batch: _die() if len(batch) == 20 else runner.run(batch))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_engines_that_cannot_run_are_rows_and_the_others_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not installed, not converted, died at 20 rows: each with its reason; the own engine is there unasked."""
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "progress"))
    monkeypatch.setenv(store.RUN_FOLDER, str(tmp_path))
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path))
    for engine in (Dying, NotInstalled, NotConverted):
        monkeypatch.setitem(ENGINES, engine.name, engine)
    tiny = {"n_features": 4, "n_trees": 3, "n_train": 200, "device": "cpu", "threads": [1]}
    rounds = {"min_rounds": 1, "max_rounds": 1, "time_limit_s": 5.0, "keep_within": 1e9}
    engines = ["onnxruntime", "treelite", "not_converted"]
    run = measure(Params(batch_sizes={"forest": [1, 20]}, engines=engines, **tiny, **rounds))
    reasons = {(one["case"]["engine"], one["case"]["batch_size"]): one["reason"] for one in run.tables["tried"]}
    assert set(reasons) == {(name, n) for name in ("sklearn", *engines) for n in (1, 20)}
    assert {case for case, reason in reasons.items() if not reason} == {
        ("sklearn", 1), ("onnxruntime", 1), ("onnxruntime", 20),
    }  # fmt: skip
    assert "SIGKILL" in reasons["sklearn", 20]
    assert "pip install no-such-library" in reasons["treelite", 1]
    assert "cannot be converted to ONNX in fp32: ValueError: no" in reasons["not_converted", 20]
    assert {(cell.case.engine, cell.case.batch_size): cell.outcome for cell in run.measurements} == {
        case: Outcome.OK for case, reason in reasons.items() if not reason
    }
    assert all(cell.figures["n_disagreements"] == 0 for cell in run.measurements)
    said = study(run)
    assert [(choice.workload, choice.batch_size) for choice in said.choices] == [("forest", 1)]
    assert set(page.left_out(said).frame["engine"]) == {"scikit-learn", "treelite"}
