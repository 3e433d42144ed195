"""What the tests of pages share: rendering in a line, and opening a file in a browser that watches."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nbformat import NotebookNode
from playwright.sync_api import Browser, BrowserContext, Page
from sample_notebook import code, html, sample_notebook

from inferbench_lib.report.downloads import data_link
from inferbench_lib.report.pages import render_page

NAV = (("CPU processes", "page.html"), ("All runs", "../index.html"))


RAW = json.dumps({"samples_s": [1.5, 2.5], "name": "größer <b>"}).encode()
"""What the sample page offers as a download."""


def sample_page(folder: Path) -> Path:
    """The page of the sample notebook, with a download."""
    notebook = sample_notebook()
    notebook.cells.append(code("download(run)", 11, html(data_link("raw.json", RAW, "application/json"))))
    render(notebook, folder, title="Do several processes help?", nav=NAV)
    return folder / "page.html"


def render(notebook: NotebookNode, folder: Path, **options: Any) -> str:
    """The text of the page `page.html` in `folder`."""
    render_page(notebook, folder / "page.html", **({"title": "A page"} | options))
    return (folder / "page.html").read_text(encoding="utf-8")


@dataclass
class Seen:
    """A page in a browser, and what it asked for and said."""

    page: Page
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)


class Opener:
    """Opens files in contexts of their own, with the network off."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.contexts: list[BrowserContext] = []

    def __call__(
        self, path: Path, *, width: int = 1440, scheme: Literal["light", "dark"] = "light", scripts: bool = True
    ) -> Seen:
        context = self._browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,
            offline=True,
            java_script_enabled=scripts,
            reduced_motion="reduce",
            accept_downloads=True,
        )
        self.contexts.append(context)
        seen = Seen(context.new_page())
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.on("console", lambda message: seen.console.append(message.text))
        seen.page.on("pageerror", lambda error: seen.console.append(str(error)))
        seen.page.goto(path.as_uri())
        return seen

    def close(self) -> None:
        """Close what was opened."""
        for context in self.contexts:
            context.close()
