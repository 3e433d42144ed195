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
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Browser, Page, Route
from processes import eventually
from tiny import ROOT, TINY

pytestmark = pytest.mark.timeout(600)
NOTEBOOK = "cpu_multiprocess"
PARAMETERS = {**TINY[NOTEBOOK], "max_rounds": 6, "min_rounds": 6, "executors": ["single", "threads", "shared_pool"]}
START_S, RUN_S = 120, 240


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the notebooks beside the library, the parameters of one of them made tiny."""
    root = tmp_path_factory.mktemp("lab")
    (root / "inferbench_lib").symlink_to(ROOT / "inferbench_lib")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    path = root / "notebooks" / f"{NOTEBOOK}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    cell.source += "".join(f"\n{name} = {value!r}" for name, value in PARAMETERS.items())
    nbformat.write(notebook, path)
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
        found = re.search(r"http://127\.0\.0\.1:\d+/lab/tree/notebooks\?token=\w+", log.read_text())
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
def lab(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A page, tall enough for a whole notebook, that reaches 127.0.0.1 alone; and what it asked for elsewhere."""
    elsewhere: list[str] = []

    def only_here(route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    context = browser.new_context(viewport={"width": 1400, "height": 6000})
    context.route(re.compile(r"^(http|https|ws|wss):"), only_here)
    yield context.new_page(), elsewhere
    context.close()


def run_all(page: Page) -> bool:
    """Run all cells by the menu, which does nothing before the kernel answers."""
    page.locator(".lm-MenuBar-item", has_text=re.compile(r"^Run$")).click()
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
    page.wait_for_timeout(2000)
    return True


def test_a_notebook_runs_in_jupyterlab(address: str, repository: Path, lab: tuple[Page, list[str]]) -> None:
    """Run all cells: the bar moves and goes, the answer and figures come, no cell fails, the file keeps the outputs."""
    page, elsewhere = lab
    page.set_default_timeout(1000 * START_S)
    with page.expect_websocket(lambda socket: "/api/kernels/" in socket.url):
        page.goto(address.replace("/notebooks?", f"/notebooks/{NOTEBOOK}.ipynb?"))
    page.locator(".jp-NotebookPanel:visible .jp-CodeCell").first.wait_for()
    begun = page.locator(".jp-InputPrompt", has_text=re.compile(r"\[(\*|\d+)\]"))
    assert eventually(lambda: run_all(page) and begun.count() > 0, within_s=START_S)

    seen: list[str] = []
    bar = page.locator(".jp-OutputArea .widget-hbox, .jp-OutputArea .jupyter-widgets.widget-box")
    answer = page.locator(".jp-OutputArea .answer")
    deadline = time.monotonic() + RUN_S
    while answer.count() == 0 and time.monotonic() < deadline:
        text = " ".join(" ".join(bar.all_inner_texts()).split())  # the bar's spaces are as wide as digits
        if text and text not in seen:
            seen.append(text)
        page.wait_for_timeout(50)
    answer.wait_for()
    shares = [int(found[1]) for text in seen if (found := re.search(r"(\d+)%", text))]
    assert len(set(shares)) >= 3, seen
    assert shares == sorted(shares)
    assert any("round 1: forest" in text for text in seen), seen

    page.locator("a.download").wait_for()  # the last cell's output
    assert page.locator(".jp-OutputArea .widget-hbox:visible").count() == 0
    assert page.locator(".jp-OutputArea .jp-RenderedImage img").count() == 2
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert elsewhere == []

    with page.expect_response(lambda response: response.request.method == "PUT" and NOTEBOOK in response.url):
        page.keyboard.press("Control+s")
    saved = nbformat.read(repository / "notebooks" / f"{NOTEBOOK}.ipynb", as_version=4)
    outputs = [output for cell in saved.cells for output in cell.get("outputs", [])]
    assert any("download=" in output.get("data", {}).get("text/html", "") for output in outputs)
    assert [output for output in outputs if output.output_type == "error"] == []
    assert (repository / "reports" / "lab" / "data" / f"{NOTEBOOK}.json").exists()


def test_without_its_token_nothing_opens(address: str, lab: tuple[Page, list[str]]) -> None:
    """Another user of the machine who knows the port meets a question for the token."""
    page, _ = lab
    page.goto(address.partition("?")[0])
    page.locator("#password_input").wait_for()
    assert page.locator(".jp-NotebookPanel").count() == 0
