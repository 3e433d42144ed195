"""In JupyterLab: Tab lists the calls, Shift-Tab shows their parameters, a figure is shown, a misspelt name is refused.

The kernel answers the very requests that JupyterLab sends.
"""

from __future__ import annotations

import shutil
from base64 import b64decode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel
from PIL import Image
from small_notebooks import job, write
from tiny import ROOT

import inferbench_lib as ib
from inferbench_lib import studies
from inferbench_lib.report.runner import run_report

pytestmark = pytest.mark.timeout(120)
TIMEOUT_S = 60
DRAWS = (
    "import pandas as pd\nfrom inferbench_lib.report import figures\nfrom inferbench_lib.report.display import View",
    "frame = pd.DataFrame({'label': ['a', 'b'], 'group': 'g', 'value': [1.0, 2.0], 'low': 0.9, 'high': 2.1})",
    "frame.attrs = {'say': '{:.1f}'.format, 'y': 'seconds'}",
    "view = View(name='bars', frame=frame, draw=figures.bars, alt='Two bars.', reading='b is larger.')",
    "view.figure()",
)


@pytest.fixture(scope="module")
def kernel() -> Iterator[BlockingKernelClient]:
    """A kernel in which the library is imported as the notebooks import it."""
    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=TIMEOUT_S)
    client.execute_interactive("import inferbench_lib as ib", timeout=TIMEOUT_S)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def help_on(kernel: BlockingKernelClient, code: str) -> str:
    """What Shift-Tab shows with the cursor at the end of the code."""
    found: dict[str, Any] = kernel.inspect(code, len(code), reply=True, timeout=TIMEOUT_S)["content"]
    assert found["found"], code
    return str(found["data"]["text/plain"])


def test_tab_lists_what_there_is(kernel: BlockingKernelClient) -> None:
    """After `ib.` every question and every call is offered, and nothing that is neither."""
    offered = kernel.complete("ib.", 3, reply=True, timeout=TIMEOUT_S)["content"]["matches"]
    assert {name.removeprefix("ib.") for name in offered} == set(ib.__all__)


@pytest.mark.parametrize("name", ib.QUESTIONS)
def test_shift_tab_shows_the_parameters_with_their_meaning(name: str, kernel: BlockingKernelClient) -> None:
    """Inside the parentheses of a question its own parameters are shown with defaults, and each is explained."""
    said = help_on(kernel, f"ib.{name}(")
    for field, of in studies.params(name).model_fields.items():
        assert f"{field}:" in said, field
        assert of.description
        assert of.description in said
    assert "values" not in said.partition("Docstring")[0]


@pytest.mark.parametrize("name", sorted(set(ib.__all__) - set(ib.QUESTIONS)))
def test_shift_tab_explains_every_call(name: str, kernel: BlockingKernelClient) -> None:
    """Every other name is found too, with a docstring."""
    assert "Docstring:" in help_on(kernel, f"ib.{name}(")


def test_a_figure_as_the_last_line_of_a_cell_is_shown(kernel: BlockingKernelClient) -> None:
    """The cell's output is a PNG at the resolution of a page, with the figure's alternative text."""
    outputs: list[dict[str, Any]] = []
    for source in DRAWS:
        done = kernel.execute_interactive(source, output_hook=outputs.append, timeout=TIMEOUT_S)
        assert done["content"]["status"] == "ok", done["content"]
    (shown,) = [output["content"] for output in outputs if output["msg_type"] == "execute_result"]
    with Image.open(BytesIO(b64decode(shown["data"]["image/png"]))) as picture:
        assert picture.size == (int(7.4 * 144), int(3.6 * 144))
    assert shown["metadata"]["image/png"]["alt"] == "Two bars."


def test_a_figure_as_the_last_line_is_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a report it is a picture with its alternative text; no cell fails over it."""
    monkeypatch.setenv("INFERBENCH_REPORTS", str(tmp_path / "reports"))
    write(tmp_path, figure=DRAWS)
    assert run_report(job(tmp_path, "figure")) == 0
    (page,) = (tmp_path / "reports").glob("*/figure.html")
    (picture,) = BeautifulSoup(page.read_text(), "html.parser").select("figure img")
    assert (picture["alt"], picture["width"]) == ("Two bars.", str(round(7.4 * 96)))


def test_a_misspelt_parameter_fails_the_page_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in the parameters cell that is no parameter is refused as in a profile; nothing is measured."""
    monkeypatch.setenv("INFERBENCH_REPORTS", str(tmp_path / "reports"))
    shutil.copy(ROOT / "notebooks" / "batch_sweep.ipynb", tmp_path)
    notebook = nbformat.read(tmp_path / "batch_sweep.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    cell.source += "\nforest_batch_size = [1, 10]"
    nbformat.write(notebook, tmp_path / "batch_sweep.ipynb")
    assert run_report(job(tmp_path, "batch_sweep")) == 1
    (page,) = (tmp_path / "reports").glob("*/batch_sweep.html")
    banner = BeautifulSoup(page.read_text(), "html.parser").select_one(".banner")
    assert banner is not None
    assert (
        "ConfigError: parameters: 'forest_batch_size': expected one of the parameters of batch_sweep (" in banner.text
    )
    assert not (page.parent / "data").exists()
