"""JupyterLab as `make lab` starts it, in a browser: a notebook opens, runs, shows its progress and its answer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import calibration_runs
import nbformat
import pytest
import sample_runs as samples
from calibration_runs import CNN
from playwright.sync_api import Browser, Page, Route
from processes import eventually
from tiny import NOTEBOOKS, OF_RUNS, ROOT, TINY

from inferbench_lib import store

pytestmark = pytest.mark.timeout(600)
Lab = tuple[Page, list[str]]
START_S, RUN_S = 120, 240
STORED = "20260712-140302-standard"
MORE: dict[str, Any] = {
    "cpu_multiprocess": {"executors": ["single", "threads", "shared_pool"], "cold_executors": []},
    "cpu_vs_gpu": {"iterations": {"cnn-small": 2}},
    "calibration": {"reuse": STORED},
    "hardware_analysis": {"reuse": STORED},
}
"""What keeps the runs here short: what takes the same time at any size shows a stored run."""
WITH_PARAMETERS = [name for name in NOTEBOOKS if name != "summary"]
MEASURING = [name for name in WITH_PARAMETERS if "reuse" not in MORE.get(name, {})]
IN_VIEW = """bars => bars.filter(bar => bar.closest(".jp-OutputArea-output")).map(bar => {
  const box = bar.getBoundingClientRect(), cell = bar.closest(".jp-OutputArea-output").getBoundingClientRect();
  return box.width > 0.9 * cell.width && box.top >= 0 && box.bottom <= innerHeight;
})"""
"""Whether each bar of a cell is as wide as the cell and on the screen; one that is being taken away has no cell."""
ORDER = [*NOTEBOOKS, *sorted(OF_RUNS)]
"""Those that measure first; what they leave is the summary's run."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the notebooks beside the library, their parameters made tiny, and a stored run to look around in."""
    root = tmp_path_factory.mktemp("lab")
    (root / "inferbench_lib").symlink_to(ROOT / "inferbench_lib")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    for name in WITH_PARAMETERS:
        path = root / "notebooks" / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
        values = {**TINY[name], **MORE.get(name, {})}
        cell.source += "".join(f"\n{parameter} = {value!r}" for parameter, value in values.items())
        nbformat.write(notebook, path)
    stored = root / "reports" / STORED
    store.save_run(samples.multiprocess(), stored)
    store.save_run(samples.hardware_run(), stored)
    store.save_run(calibration_runs.a_run(calibration_runs.variants(CNN, n_rounds=72)), stored)
    return root


@pytest.fixture(scope="module")
def address(repository: Path) -> Iterator[str]:
    """The address, with its token, that a started JupyterLab prints."""
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_SETTINGS_DIR")
    own = {name: str(repository / ".jupyter" / name.lower()) for name in (*folders, "JUPYTERLAB_WORKSPACES_DIR")}
    arguments = ["--no-browser", "--port=0"] + (["--allow-root"] if os.geteuid() == 0 else [])
    log = repository / "log"
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "inferbench_lib", "lab", *arguments],
            cwd=repository,
            env={**os.environ, **own, "INFERBENCH_REPORTS": str(repository / "reports")},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        assert eventually(lambda: "?token=" in log.read_text(), within_s=START_S), log.read_text()
        found = re.search(r"http://127\.0\.0\.1:\d+/lab/tree/notebooks/START\.md\?token=\w+", log.read_text())
        assert found, log.read_text()
        yield found[0]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def lab(browser: Browser) -> Iterator[Lab]:
    """A page on a small screen, that reaches 127.0.0.1 alone; and what it asked for elsewhere."""
    elsewhere: list[str] = []

    def only_here(route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.route(re.compile(r"^(http|https|ws|wss):"), only_here)
    yield context.new_page(), elsewhere
    context.close()


def run_all(page: Page) -> None:
    """Run all cells by the menu, which does nothing before the kernel is ready."""
    page.locator(".jp-NotebookPanel:visible .jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for()
    page.locator(".lm-MenuBar-item", has_text=re.compile(r"^Run$")).click()
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
    page.locator(".jp-InputPrompt", has_text=re.compile(r"\[(\*|\d+)\]")).first.wait_for(state="attached")


def test_it_opens_on_a_page_that_lists_every_notebook(address: str, repository: Path, lab: Lab) -> None:
    """The start page is shown, not edited; it links to each notebook, and a link opens it."""
    page, elsewhere = lab
    page.set_default_timeout(1000 * START_S)
    page.goto(address)
    links = page.locator(".jp-MarkdownViewer table a")
    links.first.wait_for()
    named = {text for text in links.all_inner_texts() if (repository / "notebooks" / f"{text}.ipynb").exists()}
    assert named == set(ORDER)
    links.filter(has_text="batch_sweep").click()
    page.locator(".jp-NotebookPanel:visible .jp-CodeCell").first.wait_for()
    assert elsewhere == []


@pytest.mark.parametrize("name", ORDER)
def test_a_notebook_runs_in_jupyterlab(name: str, address: str, repository: Path, lab: Lab) -> None:
    """Run all cells: the bar moves and goes, the answer comes, no cell fails, the file keeps the outputs."""
    page, elsewhere = lab
    page.set_default_timeout(1000 * START_S)
    with page.expect_websocket(lambda socket: "/api/kernels/" in socket.url):
        page.goto(address.replace("/START.md?", f"/{name}.ipynb?") + "&reset")  # without what was open before
    page.locator(".jp-NotebookPanel:visible .jp-CodeCell").first.wait_for()
    run_all(page)

    seen = followed(page)
    shares = [int(found[1]) for text in seen if (found := re.search(r"(\d+) %", text))]
    assert shares == sorted(shares)
    if name in MEASURING:
        assert len(set(shares)) > 1, seen
        assert any(f" · {name}: " in text for text in seen), seen

    size = page.locator(".jp-OutputArea .answer").first.evaluate("answer => getComputedStyle(answer).fontSize")
    assert float(size.removesuffix("px")) > 20

    waiting = page.locator(".jp-InputPrompt", has_text="[*]")
    assert eventually(lambda: waiting.count() == 0, within_s=RUN_S)
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert elsewhere == []

    with page.expect_response(lambda response: response.request.method == "PUT" and name in response.url):
        page.keyboard.press("Control+s")
    saved = nbformat.read(repository / "notebooks" / f"{name}.ipynb", as_version=4)
    code = [cell for cell in saved.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert [cell.source for cell in code if cell.execution_count is None] == []
    assert [output for output in outputs if output.output_type in ("error", "stream")] == []
    assert any('class="answer"' in output.get("data", {}).get("text/html", "") for output in outputs)
    assert any("download=" in output.get("data", {}).get("text/html", "") for output in outputs)
    found = list((repository / "reports").glob(f"lab-*/data/{name}.json"))
    assert len(found) == (1 if name in (*MEASURING, "compare") else 0)  # what is only read again is not stored
    assert [store.load_run(path).run_id for path in found] == [path.parents[1].name for path in found]
    if name == "cpu_multiprocess":
        look_around(page)
    end_kernels(page, address)


def followed(page: Page) -> list[str]:
    """What the bar says, each text once, until the answer is there."""
    seen: list[str] = []
    in_view: list[bool] = []
    bar = page.locator(".jp-OutputArea .inferbench-progress")
    line = bar.locator(".widget-hprogress")
    answer = page.locator(".jp-OutputArea .answer")
    failed = page.locator("[data-mime-type='application/vnd.jupyter.error']")
    deadline = time.monotonic() + RUN_S
    while answer.count() == 0 and failed.count() == 0 and time.monotonic() < deadline:
        text = " ".join(" ".join(bar.all_text_contents()).split())
        if text and text not in seen:
            seen.append(text)
        in_view += line.evaluate_all(IN_VIEW)
        page.wait_for_timeout(50)
    assert failed.count() == 0, failed.first.inner_text()
    answer.first.wait_for()
    if len(seen) > 2:  # long enough to look at
        assert any(in_view), seen
    return seen


def end_kernels(page: Page, address: str) -> None:
    """Leave the machine to the next notebook."""
    base, _, token = address.partition("/lab/tree/notebooks/START.md?token=")
    headers = {"Authorization": f"token {token}"}
    for kernel in page.request.get(f"{base}/api/kernels", headers=headers).json():
        page.request.delete(f"{base}/api/kernels/{kernel['id']}", headers=headers)


def look_around(page: Page) -> None:
    """The controls of the last cell: the run of here and the stored one; "all" is shown, and a filter leaves fewer."""
    said = page.locator(".jp-OutputArea .reading", has_text="measured again")
    controls = page.locator(".jp-OutputArea select")
    here, stored = controls.first.locator("option").all_inner_texts()
    assert (here[:4], stored) == ("lab-", STORED)
    shown = "select => select.selectedOptions[0]?.text"
    assert [controls.nth(number).evaluate(shown) for number in (1, 2, 3)] == ["all"] * 3
    controls.first.select_option(STORED)
    page.get_by_text(f"5 of 5 cells of run {STORED}").wait_for()
    controls.nth(2).select_option("threads")
    page.get_by_text(f"1 of 5 cells of run {STORED}").wait_for()
    assert said.count() == 1


def test_without_its_token_nothing_opens(address: str, lab: Lab) -> None:
    """Another user of the machine who knows the port meets a question for the token."""
    page, _ = lab
    page.goto(address.partition("?")[0])
    page.locator("#password_input").wait_for()
    assert page.locator(".jp-NotebookPanel").count() == 0
