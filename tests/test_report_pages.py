"""The pages of real reports in a browser with the network off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page
from pydantic import TypeAdapter
from tiny import FULL_PROFILE, NOTEBOOKS, Report, TinyReports, page_name

from inferbench_lib import studies
from inferbench_lib.records import Run
from inferbench_lib.store import load_run

pytestmark = pytest.mark.timeout(900)
WIDTHS = (360, 768, 1440)
FIGURES = "main figure[id]"


@pytest.fixture
def full(tiny_reports: TinyReports) -> Report:
    return tiny_reports.of(FULL_PROFILE)


class Watched:
    """A page with everything it asked for and said."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.messages: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))

    def open(self, path: Path) -> Page:
        self.requests.clear()
        self.messages.clear()
        self.page.goto(path.as_uri())
        return self.page

    @property
    def remote(self) -> list[str]:
        """Requests for more than files and embedded data."""
        return [url for url in self.requests if not url.startswith(("file:", "data:"))]


@pytest.fixture
def watched(page: Page) -> Watched:
    return Watched(page)


def test_every_page_is_quiet_and_fits(full: Report, watched: Watched) -> None:
    """On a phone, a tablet and a desk, light and dark: one file, no message, no sideways scrolling, no empty alt."""
    for path in [*full.pages, full.folder.parent / "index.html"]:
        page = watched.open(path)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{path.name} at {width} px is {wide} px wide"
        assert [url for url in watched.requests if url.startswith("file:")] == [path.as_uri()]
        assert watched.remote == []
        assert watched.messages == [], path.name
        assert page.locator("img:not([alt]), img[alt='']").count() == 0
        broken = page.evaluate("[...document.images].filter(image => !image.naturalWidth).length")
        assert broken == 0, f"{path.name}: {broken} pictures that cannot be shown"


def test_a_page_that_asks_for_more_would_be_caught(tmp_path: Path, watched: Watched) -> None:
    """The watch sees a remote picture, a script's message and an error."""
    path = tmp_path / "bad.html"
    path.write_text("<img src='http://192.0.2.1/a.png'><script>console.log('said'); throw new Error('raised')</script>")
    watched.open(path)
    assert watched.remote == ["http://192.0.2.1/a.png"]
    assert "said" in watched.messages
    assert any("raised" in message for message in watched.messages)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_viewer_leafs_through_the_figures(name: str, full: Report, page: Page) -> None:
    """A figure opens full screen; → n go on, ← p go back, round and round; q and Esc close; buttons do the same."""
    page.goto((full.folder / page_name(name)).as_uri())
    n_figures = page.locator(FIGURES).count()
    assert n_figures, f"{name} shows no figure"
    viewer = page.locator("dialog.viewer")
    counter = viewer.locator(".counter")

    def at(number: int) -> None:
        assert counter.text_content() == f"{(number - 1) % n_figures + 1} / {n_figures}"

    page.locator(f"{FIGURES} button.open").first.click()
    assert viewer.is_visible()
    at(1)
    for key, number in (("ArrowRight", 2), ("n", 3), ("ArrowLeft", 2), ("p", 1), ("p", 0)):
        page.keyboard.press(key)
        at(number)
    page.keyboard.press("q")
    assert not viewer.is_visible()
    page.locator(f"{FIGURES} button.open").first.click()
    viewer.locator("button.next").click()
    at(2)
    viewer.locator("button.previous").click()
    at(1)
    viewer.locator("button.close").click()
    assert not viewer.is_visible()
    page.locator(f"{FIGURES} button.open").first.click()
    page.keyboard.press("Escape")
    assert not viewer.is_visible()


def test_code_is_behind_a_button(full: Report, page: Page) -> None:
    """Code is hidden at first, shown by the button, hidden by it again."""
    for path in full.pages:
        page.goto(path.as_uri())
        first = page.locator("details.code pre").first
        button = page.locator("button.toggle-code")
        assert not first.is_visible()
        button.click()
        assert first.is_visible()
        button.click()
        assert not first.is_visible()


def test_tables_sort(full: Report, page: Page) -> None:
    """A click on a heading puts the rows in order, another turns them round; no row is lost."""
    page.goto((full.folder / "cpu_multiprocess.html").as_uri())
    table = page.locator("table.sortable").first
    rows = table.locator("tbody tr")
    before = rows.all_inner_texts()

    def sort() -> list[str]:
        table.locator("thead button").first.click()
        return rows.all_inner_texts()

    ascending, descending = sort(), sort()
    assert len(before) >= 4
    assert sorted(ascending) == sorted(descending) == sorted(before)
    assert ascending == descending[::-1]


def test_an_injected_script_does_not_run(full: Report, watched: Watched) -> None:
    """The page's policy stops an inline script that something put into it."""
    page = watched.open(full.pages[0])
    page.evaluate(
        "const script = document.createElement('script'); script.textContent = 'window.injected = 1';"
        "document.body.append(script)"
    )
    assert page.evaluate("window.injected") is None
    assert any("Content Security Policy" in message for message in watched.messages)


@pytest.mark.parametrize("name", [name for name in NOTEBOOKS if name != "summary"])
def test_download_is_the_stored_run(name: str, full: Report, page: Page) -> None:
    """The raw data of a page, and of the front page, arrive as the stored record, all but spans of single samples."""
    stored = load_run(full.folder / "data" / f"{name}.json")
    slim = replace(stored, measurements=tuple(replace(row, spans=()) for row in stored.measurements))
    for holder in dict.fromkeys((name, "summary" if name in studies.in_report() else name)):
        page.goto((full.folder / page_name(holder)).as_uri())
        with page.expect_download() as waiting:
            page.locator("a.download", has_text=f"{name}.json").click()
        assert waiting.value.suggested_filename == f"{name}.json"
        assert TypeAdapter(Run).validate_json(Path(waiting.value.path()).read_bytes()) == slim


def test_navigation_leads_to_every_page(full: Report, watched: Watched) -> None:
    """From the first page each other page of the run, and the index, is one press away."""
    start = full.pages[0]
    for path in [*full.pages[1:], full.folder.parent / "index.html"]:
        page = watched.open(start)
        href = f"../{path.name}" if path.parent != start.parent else path.name
        page.locator(f"header.top nav a[href='{href}']").click()
        page.wait_for_url(path.as_uri())
