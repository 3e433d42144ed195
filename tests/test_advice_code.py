"""The code under a recommendation runs as it stands, and returns the outputs of the plain call."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import sample_runs as samples
from bs4 import BeautifulSoup
from tiny import ROOT

from inferbench_lib import studies
from inferbench_lib.records import Measurement, Run
from inferbench_lib.report import display
from inferbench_lib.studies import voice
from inferbench_lib.studies.summary import page as summary

PREPARED = """\
import numpy as np
from sklearn.ensemble import RandomForestClassifier

if __name__ == "__main__":
    rows = np.random.default_rng(0).normal(size=(20_005, 3)).astype(np.float32)
    model = RandomForestClassifier(3, n_jobs=7, random_state=0).fit(rows, rows[:, 0] > 0)
    expected = model.predict(rows)
"""
CHECK = """
    outputs = outputs if "outputs" in globals() else model.predict(rows)
    assert (outputs == expected).all() and len(outputs) == 20_005
    print(model.n_jobs)
"""
PREPARED_NETWORK = """\
import torch
from inferbench_lib.work.cnn import Cnn

if __name__ == "__main__":
    work, n_images = Cnn(size="small"), 20
    model, images = work.model(), torch.from_numpy(work.draw(n_images))
"""
CHECK_NETWORK = """
    outputs = torch.as_tensor(outputs if "outputs" in globals() else model(images)).detach().numpy()
    seen = work.agree(outputs, work.answers(images.numpy()), "{precision}")
    assert seen.passed and outputs.shape == (n_images, 10), seen.detail
    print(torch.get_num_threads())
"""


@cache
def executed(code: str) -> str:
    """What a script prints that runs the code around a real model and its inputs, and checks the outputs."""
    is_network = "torch" in code
    if is_network and not pytest.importorskip("torch").cuda.is_available():
        code = code.replace("cuda:0", "cpu")
    precision = "bf16" if "bfloat16" in code or "bf16" in code else "fp32"
    parts = (PREPARED_NETWORK, CHECK_NETWORK.format(precision=precision)) if is_network else (PREPARED, CHECK)
    with TemporaryDirectory() as folder:
        script = Path(folder, "script.py")
        script.write_text(parts[0] + textwrap.indent(code, "    ") + parts[1])
        environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            [sys.executable, script],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env=environment,
            cwd=folder,
        )
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    return done.stdout.strip()


def blocks(code: str) -> list[str]:
    """The code of each workload, without the comment that names it where there are several."""
    return [re.sub(r"^# .*\n", "", block) for block in re.split(r"\n\n(?=# )", code) if block]


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
def test_the_code_of_a_way_predicts_the_same(executor: str) -> None:
    """As a script: the recommended way returns every row's prediction in order; a parameter is set on the model."""
    told = executed(voice.answer(fastest(executor)).code)
    assert told == {"single": "1", "threads": "2"}.get(executor, "7")


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


def in_bf16() -> Run:
    """A run of `hardware_analysis` in which the small network is twice as fast in bf16."""
    fp32 = samples.network("small", "cpu", 16)
    bf16 = replace(fp32, case=replace(fp32.case, precision="bf16"), samples_s=tuple(s / 2 for s in fp32.samples_s))
    return samples.hardware_run([fp32, bf16])


def shown(page: str) -> set[str]:
    """Each block of code that a page shows of any sample, in its answer or its recommendations."""
    runs = [*samples.ALL, in_bf16()]
    if page == "summary":
        whole = {run.notebook: run for run in (samples.multiprocess(), samples.vs_gpu(), samples.sweep(), in_bf16())}
        fronts = [whole, *({run.notebook: run} for run in runs)]
        codes = [summary.answer(each).code for each in fronts]
        for each in fronts:
            copied = BeautifulSoup(summary.to_do(each), "html.parser").select("pre.copy code")
            codes += [block.get_text() for block in copied]
    else:
        mine = [run for run in runs if run.notebook == page]
        codes = [voice.answer(run).code for run in mine]
        codes += [advice.code for run in mine if (advice := voice.advice(run))]
    return {block for code in codes for block in blocks(code)}


@pytest.mark.parametrize("page", studies.in_report())
def test_every_line_that_a_page_shows_runs(page: str) -> None:
    """Around a real model and its inputs, in a process of its own, with outputs equal to the reference's."""
    found = shown(page)
    assert found
    for block in sorted(found):
        told = executed(block)
        for asked in re.findall(r"n_jobs = (\d+)|set_num_threads\((\d+)\)", block):
            assert told == "".join(asked)


@pytest.mark.parametrize("wrong", ["model.n_jobs = missing", "outputs = torch.mul(model(images), 1.01)"])
def test_a_wrong_line_is_seen(wrong: str) -> None:
    """A line that fails, and outputs that are too far from the reference."""
    with pytest.raises(AssertionError, match=r"Error"):
        executed(wrong)


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
