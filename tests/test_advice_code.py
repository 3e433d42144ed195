"""The code under a recommendation runs as it stands, and returns the outputs of the plain call."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sample_runs as samples
from bs4 import BeautifulSoup
from tiny import ROOT

from inferbench_lib.records import Measurement, Run
from inferbench_lib.report import display
from inferbench_lib.studies import voice
from inferbench_lib.studies.summary import page as summary

PREPARED = """\
import numpy as np
from sklearn.ensemble import RandomForestClassifier

if __name__ == "__main__":
    rows = np.random.default_rng(0).normal(size=(40, 3))
    model = RandomForestClassifier(3, n_jobs=7, random_state=0).fit(rows, rows[:, 0] > 0)
    expected = model.predict(rows)
"""
CHECK = """
    outputs = globals().get("outputs", model.predict(rows))
    assert (outputs == expected).all() and len(outputs) == 40
    print(model.n_jobs)
"""


def fastest(executor: str, **case: Any) -> Run:
    """A run in which one process takes 4 s, and an executor with two workers 1 s."""
    single, threads = samples.way("single"), samples.way("threads")
    way = threads if executor == "threads" else samples.way("shared_pool")
    n_processes, n_threads = (1, 2) if executor == "threads" else (2, 1)
    found = replace(way.case, executor=executor, n_processes=n_processes, n_threads=n_threads, **case)
    measured = samples.cell(found, 1.0, inputs_per_call=samples.N_ROWS)
    alone = replace(single, case=replace(single.case, **case))
    return samples.multiprocess(*([alone] if executor == "single" else [alone, measured]))


@pytest.mark.parametrize("executor", ["single", "threads", "process_pool", "loky", "naive_pool", "shared_pool", "dask"])
def test_the_code_of_a_way_predicts_the_same(executor: str, tmp_path: Path) -> None:
    """As a script: the recommended way returns every row's prediction in order; a parameter is set on the model."""
    code = voice.answer(fastest(executor)).code
    script = tmp_path / "script.py"
    script.write_text(PREPARED + textwrap.indent(code, "    ") + CHECK)
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == {"single": "1", "threads": "2"}.get(executor, "7")


@pytest.mark.parametrize(("executor", "n_threads"), [("single", 1), ("threads", 2)])
def test_threads_of_a_network_are_those_of_torch(executor: str, n_threads: int) -> None:
    """`torch.set_num_threads`, as often as there were threads; pools have no such line."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        exec(voice.answer(fastest(executor, workload="cnn-small", engine="torch")).code, {"torch": torch})
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert voice.answer(fastest("shared_pool", workload="cnn-small", engine="torch")).code == ""


def on_cpu(cells: tuple[Measurement, ...], **case: Any) -> tuple[Measurement, ...]:
    return tuple(replace(cell, case=replace(cell.case, device="cpu", **case)) for cell in cells)


def test_the_loop_over_the_best_batches_predicts_the_same() -> None:
    """Both workloads of a sweep: 25 rows in batches of 10, 9 images in batches of 4; and by any other engine."""
    torch = pytest.importorskip("torch")
    run = samples.sweep()
    forest = tuple(cell for cell in run.measurements if cell.case.workload == "forest")
    network = on_cpu(tuple(cell for cell in run.measurements if cell.case.device != "cpu"))
    both = replace(run, measurements=forest + network)
    code = voice.answer(both).code.replace("10_000", "10")
    assert code.startswith("# the forest on cpu, 1 thread\nmodel.n_jobs = 1\n")

    class Doubled:
        def predict(self, rows: np.ndarray) -> np.ndarray:
            assert len(rows) <= 10
            return 2 * rows[:, 0]

    loop, other = code.split("\n\n")
    rows, images = np.arange(25.0)[:, None], torch.arange(9.0)[:, None]
    seen: dict[str, Any] = {"np": np, "model": Doubled(), "rows": rows}
    exec(loop, seen)
    assert seen["outputs"].tolist() == (2 * rows[:, 0]).tolist()
    seen = {"torch": torch, "images": images, "model": torch.nn.Identity()}
    exec(other, seen)
    assert torch.equal(seen["outputs"], images)
    assert 'torch.cat([model(batch.to("cuda:0")).cpu() for batch' in voice.answer(run).code
    onnx = replace(run, measurements=on_cpu(forest, engine="onnxruntime"))
    seen = {"rows": np.arange(25), "predict": len}
    exec(voice.answer(onnx).code.replace("10_000", "10"), seen)
    assert seen["outputs"] == [10, 10, 5]


def test_the_code_stands_under_its_recommendation(monkeypatch: pytest.MonkeyPatch) -> None:
    """On its own page and on the front page, as a block to copy; without code there is no block."""
    run, html = samples.multiprocess(), list[str]()
    monkeypatch.setattr(display, "markup", html.append)
    display.answer(voice.answer(run))
    for text in (html[0], summary.to_do({run.notebook: run})):
        assert [block.get_text() for block in BeautifulSoup(text, "html.parser").select("pre.copy code")] == [
            "model.n_jobs = 4"
        ]
    display.answer(voice.answer(samples.RUNS["multiprocess, all failed"]))
    assert "<pre" not in html[1]
