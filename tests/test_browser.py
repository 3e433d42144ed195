"""Every page of a report, for every reader: any width, light and dark, by keyboard, by screen reader, on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import axe_playwright_python  # type: ignore[import-untyped]
import pytest
from page_helpers import Opener
from playwright.sync_api import Browser, Page
from sample_report import sample_comparison, sample_report
from tiny import Report, page_name

from inferbench_lib import studies

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
ALL_RUNS, COMPARED = "all runs", "compare"
PAGES = (*studies.in_report(), ALL_RUNS, COMPARED)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
A4_HEIGHT_PX = (297 - 2 * 16) / 25.4 * 96
"""The height between the margins of a sheet, in CSS pixels."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One report for all tests here, and beside it the comparison of two runs."""
    work = tmp_path_factory.mktemp("sample")
    made = sample_report(work)
    for one in (made, sample_comparison(work)):
        assert one.code == 0, one.said
    return made


def path_of(report: Report, name: str) -> Path:
    reports = report.folder.parent
    if name == COMPARED:
        return next(reports.glob("*-compare/compare.html"))
    return reports / "index.html" if name == ALL_RUNS else report.folder / page_name(name)


@pytest.mark.parametrize("name", PAGES)
def test_page_fits_every_screen_and_asks_for_nothing(name: str, report: Report, open_page: Opener) -> None:
    """At 360, 768 and 1440 pixels, light and dark: one file, no message, no sideways scrolling, at most 400 kB."""
    path = path_of(report, name)
    assert path.stat().st_size <= 400_000
    for scheme in SCHEMES:
        seen = open_page(path, scheme=scheme)
        for width in (360, 768, 1440):
            seen.page.set_viewport_size({"width": width, "height": 800})
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= width, (scheme, width)
        assert [url for url in seen.requests if not url.startswith("data:")] == [path.as_uri()]
        assert seen.console == []


def violations(page: Page) -> list[str]:
    """What axe finds: the rule, and the first element that breaks it."""
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run().then(result => result.violations)")
    return [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in found]


@pytest.mark.parametrize("name", PAGES)
def test_nothing_bars_a_reader(name: str, report: Report, browser: Browser) -> None:
    """axe finds no violation, light and dark, on a phone and at a desk, whatever is folded unfolded."""
    for scheme, width in zip(SCHEMES, (1440, 360), strict=True):
        # The page's policy forbids scripts that are not its own, and axe is one.
        context = browser.new_context(bypass_csp=True, offline=True, color_scheme=scheme,
                                      viewport={"width": width, "height": 800}, reduced_motion="reduce")  # fmt: skip
        page = context.new_page()
        page.goto(path_of(report, name).as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(block => { block.open = true; })")
        assert violations(page) == [], scheme
        context.close()


def test_a_barred_page_would_be_found(tmp_path: Path, browser: Browser) -> None:
    """The search sees a picture without words, letters that cannot be read and a heading that skips a level."""
    path = tmp_path / "barred.html"
    path.write_text(
        "<!doctype html><html lang=en><title>x</title><main><h1>a</h1><h3>b</h3><img src='data:,'>"
        "<p style='color:#999;background:#fff'>faint words</p></main>"
    )
    page = browser.new_page()
    page.goto(path.as_uri())
    found = {line.partition(":")[0] for line in violations(page)}
    assert {"image-alt", "color-contrast", "heading-order"} <= found


@pytest.mark.parametrize("name", PAGES)
def test_keyboard_reaches_what_there_is(name: str, report: Report, open_page: Opener) -> None:
    """The first Tab shows a link that skips to the report; whatever has the focus afterwards shows it."""
    page = open_page(path_of(report, name)).page
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    assert skip.evaluate("link => link === document.activeElement && link.getBoundingClientRect().top >= 0")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    outlined = "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
    for _ in range(25):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement !== document.body"):
            assert page.evaluate(outlined), page.evaluate("document.activeElement.outerHTML.slice(0, 120)")


@pytest.mark.parametrize("name", [*studies.in_report(), COMPARED])
def test_every_heading_and_figure_can_be_linked_to(name: str, report: Report, open_page: Opener) -> None:
    """Each has an address of its own and a link that bears it, and every link of the page leads somewhere."""
    page = open_page(path_of(report, name)).page
    for kind in ("main :is(h2, h3)", "main figure"):
        addresses = page.locator(kind).evaluate_all("found => found.map(one => one.id)")
        links = page.locator(f"{kind} .permalink").evaluate_all("found => found.map(one => one.hash.slice(1))")
        assert addresses == links
        assert len(set(addresses)) == len(addresses) > 0
    targets = page.locator("a[href^='#']").evaluate_all("found => found.map(one => one.hash.slice(1))")
    assert [target for target in targets if not page.evaluate("id => !!document.getElementById(id)", target)] == []


@pytest.mark.parametrize("name", PAGES)
def test_paper_holds_every_figure_whole(name: str, report: Report, open_page: Opener) -> None:
    """Printed, no figure is taller than a sheet or broken over two."""
    page = open_page(path_of(report, name), width=673).page  # the width between the margins
    page.emulate_media(media="print")
    for figure in page.locator("main figure").all():
        box = figure.bounding_box()
        assert box is not None
        assert box["height"] <= A4_HEIGHT_PX
        assert figure.evaluate("figure => getComputedStyle(figure).breakInside") == "avoid"


@pytest.mark.parametrize("name", PAGES)
def test_page_reads_without_scripts(name: str, report: Report, open_page: Opener) -> None:
    """With scripts off the same words are there, and no button that would do nothing."""
    with_scripts, without = (open_page(path_of(report, name), scripts=scripts).page for scripts in (True, False))
    words = [page.locator("main").inner_text().split() for page in (with_scripts, without)]
    folded = {"Code", "Filter", "Copy"}  # without scripts, code unfolds cell by cell; no filter and no copying
    assert [word for word in words[0] if word not in folded] == [word for word in words[1] if word not in folded]
    assert [button.is_visible() for button in without.locator("button").all()].count(True) == 0


def test_front_page_answers_on_its_first_screen(report: Report, open_page: Opener) -> None:
    """On a phone what to do; at a desk four figures, the machine, when, and how far to trust it beside."""
    phone = open_page(path_of(report, "summary"), width=360).page
    box = phone.locator(".answer").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 800
    page = open_page(path_of(report, "summary")).page
    assert page.locator(".answer").inner_text().startswith("Use another engine: onnxruntime on 4 threads")
    assert page.locator(".card").count() == 4
    for part in (".cards", ".provenance", ".trust"):
        box = page.locator(part).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 800, part
    assert page.locator(".provenance").inner_text().startswith("Example CPU @ 2.60 GHz")
    assert page.locator("section.again pre.command").inner_text() == "make report PROFILE=standard"


def test_front_page_leads_to_every_notebook(report: Report, open_page: Opener) -> None:
    """Each card opens its page, which leads back."""
    page = open_page(path_of(report, "summary")).page
    for name in studies.in_report()[:-1]:
        page.locator(f".notebooks a[href='{name}.html']").click()
        page.wait_for_url(path_of(report, name).as_uri())
        page.locator("header.top a[href='index.html']").click()
        page.wait_for_url(path_of(report, "summary").as_uri())
