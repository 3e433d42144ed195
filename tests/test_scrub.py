"""A notebook that is sent to someone says nothing about whose machine it ran on."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output
from sample_notebook import code, html, picture, sample_notebook, with_cells

from inferbench_lib import privacy
from inferbench_lib.privacy import scrub
from inferbench_lib.report.downloads import data_link
from inferbench_lib.report.pages import render_page

REPO, HOME, TMP = "/srv/canary-repo", "/home/canaryuser", "/var/canary-tmp"
USER, HOST = "canaryuser", "canaryhost.lan.example"
CANARY = re.compile("canary|lan.example")
LEAKS = (
    f"{REPO}/inferbench_lib/pool.py, {REPO}. {HOME}/.cache file://{HOME}/x.csv {TMP}/ipykernel_7/1.py "
    f"{USER}@{HOST} canaryhost ~{USER} /Users/{USER}/y"
)


@pytest.fixture(autouse=True)
def someone_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library believes that it runs in the canaries' folders, as their user, on their host.

    `tmp_path` is asked for so that pytest makes it before the temporary folder is another.
    """
    monkeypatch.setattr(privacy, "ROOT", Path(REPO))
    monkeypatch.setattr(privacy.Path, "home", lambda: Path(HOME))
    monkeypatch.setattr(privacy.tempfile, "gettempdir", lambda: TMP)
    monkeypatch.setattr(privacy.getpass, "getuser", lambda: USER)
    monkeypatch.setattr(privacy.socket, "gethostname", lambda: HOST)
    privacy._rules.cache_clear()
    yield
    privacy._rules.cache_clear()


def leaky_notebook() -> NotebookNode:
    """A canary in every place where text can stand."""
    error = new_output("error", ename="ValueError", evalue=LEAKS, traceback=[f"\x1b[31m{LEAKS}\x1b[0m", LEAKS])
    notebook = with_cells(
        new_markdown_cell(f"# Title\n\nread from {LEAKS}"),
        code(f"path = '{REPO}/data'", 1, tags=["injected-parameters"]),
        code("print(path)", 2, new_output("stream", name="stdout", text=LEAKS)),
        code("show()", 3, html(f"<p title='{REPO}/t'>{LEAKS}</p>"), picture(f"A chart of {LEAKS}")),
        code("download()", 4, html(data_link("raw.json", json.dumps({"path": LEAKS}).encode(), "application/json"))),
        code("download()", 5, html(data_link("raw.csv", (f"{LEAKS}\n" * 20).encode(), "text/csv"))),
        code("fail()", 6, error),
        reason=LEAKS,
    )
    notebook.metadata["papermill"] = {
        "input_path": f"{REPO}/a.ipynb",
        "output_path": f"{TMP}/b.ipynb",
        "parameters": {"path": LEAKS, "rows": 5},
        "exception": True,
    }
    notebook.cells[2].metadata["note"] = {"deep": [LEAKS]}
    return notebook


def embedded(text: str) -> list[str]:
    """What stands decoded in the data links."""
    links = re.findall(r"application/(json|gzip);base64,([A-Za-z0-9+/=]+)", text)
    contents = [(kind, base64.b64decode(payload)) for kind, payload in links]
    return [(gzip.decompress(content) if kind == "gzip" else content).decode() for kind, content in contents]


def test_no_canary_survives(tmp_path: Path) -> None:
    """Nothing of the user, the host and the folders is left in notebook, page or embedded download."""
    notebook = leaky_notebook()
    before = nbformat.writes(notebook)
    assert len(CANARY.findall(before)) > 50
    assert all(CANARY.search(text) for text in embedded(before.replace("\\", "")))
    scrub(notebook)
    render_page(notebook, tmp_path / "page.html", title="A page")
    for text in (nbformat.writes(notebook), (tmp_path / "page.html").read_text(encoding="utf-8")):
        assert CANARY.findall(text) == []
        data, packed = embedded(text.replace("\\", ""))
        assert CANARY.findall(data + packed) == []
        assert json.loads(data)["path"].startswith("<repo>/inferbench_lib/pool.py, <repo>. <home>/.cache")


def test_what_it_becomes() -> None:
    """Each folder and name becomes its neutral word; papermill's paths go, other values stay."""
    notebook = leaky_notebook()
    scrub(notebook)
    expected = (
        "<repo>/inferbench_lib/pool.py, <repo>. <home>/.cache file://<home>/x.csv <tmp>/ipykernel_7/1.py "
        "<user>@<host> <host> ~<user> /Users/<user>/y"
    )
    assert notebook.cells[2].outputs[0].text == expected
    assert notebook.metadata.papermill == {"parameters": {"path": expected, "rows": 5}, "exception": True}
    assert notebook.cells[2].metadata.note.deep == [expected]


def test_neutral_words_are_seen_on_the_page(tmp_path: Path) -> None:
    """In Markdown and HTML a neutral word is text, not an unknown tag that swallows it."""
    notebook = leaky_notebook()
    scrub(notebook)
    text = "&lt;repo&gt;/inferbench_lib/pool.py"
    assert text in notebook.cells[0].source
    assert text in notebook.cells[3].outputs[0].data["text/html"]
    render_page(notebook, tmp_path / "page.html", title="A page")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count(text) >= 5
    assert "<repo>" not in page


def test_ordinary_words_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user called root and a host called main do not take these words from the text; root's home still goes."""
    monkeypatch.setattr(privacy.Path, "home", lambda: Path("/root"))
    monkeypatch.setattr(privacy.getpass, "getuser", lambda: "root")
    monkeypatch.setattr(privacy.socket, "gethostname", lambda: "main")
    privacy._rules.cache_clear()
    notebook = with_cells(new_markdown_cell("The root cause, √ the main root/share, /root/x, /rooted, __main__"))
    scrub(notebook)
    assert notebook.cells[0].source == (
        "The root cause, √ the main root/share, &lt;home&gt;/x, /rooted, __main__"
    )  # fmt: skip


def test_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system knows no name for the user, no text is taken for one."""

    def nobody() -> str:
        raise KeyError("uid")

    monkeypatch.setattr(privacy.getpass, "getuser", nobody)
    privacy._rules.cache_clear()
    notebook = with_cells(new_markdown_cell("below /home/ and /users/ alike"))
    scrub(notebook)
    assert notebook.cells[0].source == "below /home/ and /users/ alike"


def test_parts_of_words_and_pictures_stay() -> None:
    """A name inside a longer word is another word, and the letters of a picture are no text."""
    picture_data = "AAAA/canaryuser/BBBB"
    text = f"canaryusers precanaryuser <img alt='x' src='data:image/png;base64,{picture_data}'>"
    notebook = with_cells(code("show()", 1, html(text)))
    notebook.cells[0].outputs[0].data["image/png"] = picture_data
    scrub(notebook)
    assert notebook.cells[0].outputs[0].data["text/html"] == text
    assert notebook.cells[0].outputs[0].data["image/png"] == picture_data


def test_clean_notebook_is_left_alone() -> None:
    """A notebook that names nobody comes back as it was."""
    notebook = sample_notebook()
    before = nbformat.writes(notebook)
    scrub(notebook)
    assert nbformat.writes(notebook) == before
