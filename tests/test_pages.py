"""A page loads nothing, obeys nothing foreign and never hides a failure."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from nbformat.v4 import new_markdown_cell, new_output
from page_helpers import Opener, render
from sample_notebook import code, failed_notebook, html, picture, sample_notebook, with_cells

HOSTILE = "</title><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\""


def test_page_is_small(tmp_path: Path) -> None:
    """A page of three figures stays well below 300 kB."""
    render(sample_notebook(), tmp_path)
    assert (tmp_path / "page.html").stat().st_size < 250_000


def test_page_names_no_address(sample: Path) -> None:
    """Outside embedded data there is no address that a browser could load, not even the link of the text."""
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", sample.read_text(encoding="utf-8"))
    assert re.findall(r"\w+://\S*", text) == []
    assert "Barrett et al. (arxiv.org/abs/1602.00602)" in text


def test_policy_admits_the_page_script_by_its_hash(sample: Path) -> None:
    """The policy forbids everything but the page's one script, named by the SHA-256 of its text."""
    text = sample.read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy.replace("&#39;", "'") == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_injected_script_does_not_run(sample: Path, tmp_path: Path, open_page: Opener) -> None:
    """Script and handlers written into a finished page stay dead under its policy; its own script still works."""
    attack = "<script>document.title='owned'</script><img src='data:,' onerror=\"document.title='owned'\">"
    path = tmp_path / "attacked.html"
    path.write_text(sample.read_text(encoding="utf-8").replace("<article>", f"<article>{attack}"), encoding="utf-8")
    seen = open_page(path)
    assert seen.page.title() == "Do several processes help?"
    assert any("Content Security Policy" in line for line in seen.console)
    assert seen.page.locator(".toggle-code").is_visible()


def test_hostile_text_is_text(tmp_path: Path, open_page: Opener) -> None:
    """Markup in titles, labels, alt texts, statuses, machine names and errors is shown, never obeyed."""
    error = new_output("error", ename=HOSTILE, evalue=HOSTILE, traceback=[HOSTILE])
    notebook = with_cells(
        code(HOSTILE, 1, picture(HOSTILE, caption=HOSTILE), error),
        new_markdown_cell(f"## Heading {HOSTILE}"),
        code("print()", 2, new_output("stream", name="stdout", text=HOSTILE)),
        machine_line=HOSTILE, verdict=HOSTILE, command=HOSTILE, when=HOSTILE, run_id=HOSTILE,
        status=HOSTILE, reason=HOSTILE,
    )  # fmt: skip
    render(notebook, tmp_path, title=HOSTILE, nav=[(HOSTILE, "page.html")])
    seen = open_page(tmp_path / "page.html")
    assert seen.page.title() == HOSTILE
    assert seen.page.locator("h1").inner_text() == HOSTILE
    assert seen.page.locator("figure img").get_attribute("alt") == HOSTILE
    assert seen.page.locator("pre.stream").inner_text() == HOSTILE
    assert seen.page.locator(".error p").inner_text() == f"{HOSTILE}: {HOSTILE}"
    assert seen.page.locator(".error pre").inner_text() == HOSTILE
    assert seen.page.locator("script").count() == 1
    assert seen.page.locator("[onerror]").count() == 0
    assert seen.console == []


def test_html_output_is_unplugged(tmp_path: Path) -> None:
    """Scripts, frames, handlers and remote pictures in a cell's HTML are taken out; its words stay."""
    foreign = (
        '<p onclick="x()">kept</p><script src="https://x.example/a.js"></script><iframe src="//x.example"></iframe>'
        '<img src="https://x.example/a.png" alt="a chart">'
        '<a href="javascript:alert(1)">go</a><a href="//x.example">out</a>'
    )
    text = render(with_cells(code("foreign()", 1, html(foreign))), tmp_path)
    assert '<div class="output"><p>kept</p>[picture: a chart]goout</div>' in text


def test_failed_notebook_says_where_and_why(tmp_path: Path, open_page: Opener) -> None:
    """A cell that raised puts a red banner on top, with the cell, the reason and a link to the traceback."""
    text = render(failed_notebook(), tmp_path)
    assert "\x1b" not in text
    page = open_page(tmp_path / "page.html").page
    banner = page.locator(".banner")
    assert banner.inner_text().split("\n\n") == [
        "INCOMPLETE failed",
        "Where: cell 12",
        "Why: WorkerDied: worker 2 ended by SIGKILL in batch 7, likely out of memory",
    ]
    banner.get_by_role("link").click()
    assert page.locator("#failed").inner_text().startswith("WorkerDied: worker 2 ended by SIGKILL")


def test_status_of_the_runner_wins(tmp_path: Path) -> None:
    """A notebook that looks complete but was killed carries the runner's status and reason."""
    about = {"status": "killed", "reason": "its process ended without a word"}
    text = render(sample_notebook(about=about), tmp_path)
    assert "<strong>INCOMPLETE</strong> <span>killed</span>" in text
    assert "Why: its process ended without a word" in text


def test_truncated_notebook_never_looks_complete(tmp_path: Path) -> None:
    """Where cells were never run the page says so, even if the record says complete; a whole one has no banner."""
    notebook = sample_notebook()
    assert "INCOMPLETE" not in render(notebook, tmp_path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells[-2:]:
        cell.execution_count = None
    at = notebook.cells.index(cells[-2]) + 1
    text = render(notebook, tmp_path)
    assert "<strong>INCOMPLETE</strong> <span>stopped early</span>" in text
    assert f"Where: cell {at}" in text


def test_simulated_times_are_striped(tmp_path: Path) -> None:
    """Times of the simulated device are never shown without saying so."""
    assert "<strong>SIMULATED</strong>" in render(sample_notebook(about={"simulated": True}), tmp_path)
    assert "<strong>SIMULATED</strong>" not in render(sample_notebook(), tmp_path)
