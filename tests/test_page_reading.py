"""A page can be read on a phone, at a desk, in the dark, on paper and without scripts."""

from __future__ import annotations

import copy
import re
from io import BytesIO
from pathlib import Path
from typing import Literal

import pytest
from nbformat.v4 import new_markdown_cell, new_output
from page_helpers import RAW, Opener, render
from PIL import Image
from playwright.sync_api import Browser, Locator
from sample_notebook import VERDICT, code, html, sample_notebook, with_cells

from inferbench_lib import studies
from inferbench_lib.report import display, markup
from inferbench_lib.report.downloads import data_link
from inferbench_lib.report.pages import plain_text
from inferbench_lib.report.shell import TEMPLATE_DIR

TITLES = ("What inference costs here", *(studies.params(name).title for name in studies.measured()), "All runs")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_page_is_quiet_and_fits(sample: Path, open_page: Opener, width: int, scheme: Literal["light", "dark"]) -> None:
    """On a phone, a tablet and a desk, light and dark: one file read, no message, no sideways scrolling."""
    seen = open_page(sample, width=width, scheme=scheme)
    assert [url for url in seen.requests if not url.startswith("data:")] == [sample.as_uri()]
    assert seen.console == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.page.locator("img:not([alt]), img[alt='']").count() == 0


def test_verdict_is_on_the_first_screen_of_a_phone(sample: Path, open_page: Opener) -> None:
    """Without scrolling a phone shows the title and the whole verdict."""
    box = open_page(sample, width=360).page.locator(".answer p").first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 600


def test_verdict_from_metadata_when_the_notebook_shows_none(tmp_path: Path) -> None:
    """The recorded verdict leads the page, unless the notebook has an answer of its own."""
    text = render(with_cells(new_markdown_cell("Hello"), verdict=VERDICT), tmp_path)
    assert text.count(f'<div class="answer"><p>{VERDICT}</p></div>') == 1
    assert render(sample_notebook(), tmp_path).count('class="answer"') == 1


def test_contents_lead_to_their_headings(sample: Path, open_page: Opener) -> None:
    """Each line of the contents names a heading that is there, and anchors are never given twice."""
    page = open_page(sample).page
    lines = page.locator(".contents a")
    assert lines.all_inner_texts() == [
        "How much faster is each way?", "Every way that was measured", "Where did the time go?",
        "What would another machine do?", "Method", "Run it again", "Glossary",
    ]  # fmt: skip
    for href in [line.get_attribute("href") for line in lines.all()]:
        assert page.locator(f"{href}:is(h2, h3)").count() == 1


def test_equal_headings_get_different_anchors() -> None:
    """Two headings of the same words can both be linked to."""
    body = markup.finish("<h2>Method</h2><h3>Method</h3><h2>Main</h2><h2>×</h2>")
    assert [anchor for _, anchor, _ in body.contents] == ["method", "method-2", "main-2", "section"]


def test_code_shows_at_the_press_of_a_button(sample: Path, open_page: Opener) -> None:
    """Code is out of sight until the button is pressed by keyboard, and goes again with the next press."""
    page = open_page(sample).page
    button = page.get_by_role("button", name="Show code")
    blocks = page.locator("details.code pre")
    assert [block.is_visible() for block in blocks.all()] == [False] * blocks.count()
    button.focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("button", name="Hide code", pressed=True).is_visible()
    assert [block.is_visible() for block in blocks.all()] == [True] * blocks.count()
    page.keyboard.press("Space")
    assert blocks.first.is_hidden()


def test_page_reads_without_scripts(sample: Path, open_page: Opener) -> None:
    """With scripts off the words, figures and tables are there, and code opens cell by cell."""
    page = open_page(sample, scripts=False).page
    assert page.get_by_text(VERDICT).is_visible()
    assert [figure.is_visible() for figure in page.locator("figure img").all()] == [True] * 3
    assert page.locator(".toggle-code").is_hidden()
    summary = page.locator("details.code summary").first
    assert page.locator("details.code pre").first.is_hidden()
    summary.click()
    assert page.locator("details.code pre").first.is_visible()


def test_tagged_cells_are_dropped_unless_they_raised(tmp_path: Path) -> None:
    """`hide` and `explore` cells leave the page, but an error never hides; the notebook itself is not changed."""
    raised = new_output("error", ename="ValueError", evalue="seen", traceback=["ValueError: seen"])
    notebook = with_cells(
        code("secret_one", 1, tags=["hide"]), code("secret_two", 2, tags=["explore"]),
        code("shown_three", 3), code("raised_four", 4, raised, tags=["explore"]),
    )  # fmt: skip
    before = copy.deepcopy(notebook)
    text = render(notebook, tmp_path)
    assert [word for word in ("secret_one", "secret_two", "shown_three", "raised_four") if word in text] == [
        "shown_three",
        "raised_four",
    ]
    assert notebook == before


def test_parameters_and_command_are_at_the_end(sample: Path, open_page: Opener) -> None:
    """How to run it again closes the page: the command, and both parameter cells, folded."""
    page = open_page(sample).page
    again = page.locator("section.again")
    assert again.locator("pre.command").inner_text() == "make report PROFILE=standard"
    assert again.locator("summary").all_inner_texts() == [
        "Parameters, as the notebook sets them",
        "Parameters of this run",
    ]
    assert page.locator("article details.parameters").count() == 0
    again.locator("summary").nth(1).click()
    assert "batch_size = 25_000" in again.locator("details").nth(1).inner_text()


def test_download_gives_back_the_same_bytes(sample: Path, open_page: Opener) -> None:
    """A data link leaves the page as the file that was put in, byte for byte, under its name."""
    page = open_page(sample).page
    with page.expect_download() as waiting:
        page.get_by_role("link", name="raw.json").click()
    assert waiting.value.suggested_filename == "raw.json"
    assert Path(waiting.value.path()).read_bytes() == RAW


def test_data_link_says_its_size() -> None:
    """A download tells how much it is before it is taken."""
    assert data_link('a".csv', b"1,2\n", "text/csv") == (
        '<a class="download" download="a&#34;.csv" href="data:text/csv;base64,MSwyCg==">a&#34;.csv</a> '
        "<small>(4 bytes)</small>"
    )
    assert data_link("b", bytes(12_340), "text/csv").endswith("<small>(12.3 kB)</small>")


def test_terminal_text_is_read_as_it_was_seen() -> None:
    """Colours, links and overwritten progress lines are gone; the words and the last state stay."""
    assert plain_text("\x1b[1;31mred\x1b[0m \x1b]8;;x\x07link\x1b]8;;\x07") == "red link"
    assert plain_text("10%\r50%\r100%\nnext\r\n") == "100%\nnext\n"
    assert plain_text("a\x00b\tc") == "ab\tc"


def test_every_ink_can_be_read_on_every_ground() -> None:
    """Each text colour reaches 4.5:1 on each ground it is used on, light and dark (WCAG 2.2, 1.4.3)."""
    style = (TEMPLATE_DIR / "page.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    inks = {"ink", "muted", "link", "good", "bad", "warn", "model", "keyword", "string", "number", "comment", "name"}
    own_grounds = {"good": "good-wash", "bad": "bad-wash", "warn": "warn-wash", "model": "model-wash"}
    for theme in (light, dark):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", theme))
        pairs = [(ink, ground) for ink in inks for ground in ("paper", "raised")]
        pairs += [*own_grounds.items(), ("link", "bad-wash"), *(("ink", ground) for ground in own_grounds.values())]
        assert {pair: r for pair in pairs if (r := contrast(colours[pair[0]], colours[pair[1]])) < 4.5} == {}
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # a well-known near miss


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2, definitions of contrast ratio and relative luminance)."""
    lights = []
    for colour in (one, other):
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_dark_page_has_dark_figures(sample: Path, open_page: Opener) -> None:
    """In the dark a figure's ground is as dark as the page around it, full screen too; printed it is white."""
    page = open_page(sample, scheme="dark").page
    figure = page.locator("figure img").first

    def ground(picture: Locator) -> int:
        """The most frequent grey of what the screen shows of a picture."""
        with Image.open(BytesIO(picture.screenshot())) as seen:
            counts = seen.convert("L").histogram()
        return counts.index(max(counts))

    paper = 0.299 * 0x14 + 0.587 * 0x17 + 0.114 * 0x1B
    assert ground(figure) == pytest.approx(paper, abs=12)
    figure.click()
    assert ground(page.locator(".stage img")) == pytest.approx(paper, abs=12)
    page.keyboard.press("Escape")
    page.emulate_media(media="print")
    assert figure.evaluate("image => getComputedStyle(image).filter") == "none"


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080), (375, 800)])
def test_full_screen_shows_a_figure_whole(sample: Path, open_page: Opener, width: int, height: int) -> None:
    """On each screen the picture, its caption and the buttons are inside it, one below the other."""
    page = open_page(sample, width=width).page
    page.set_viewport_size({"width": width, "height": height})
    for figure in page.locator("figure .open").all():
        figure.click()
        boxes = [page.locator(f".viewer {part}").bounding_box() for part in (".stage img", ".caption", ".controls")]
        ends = [0.0]
        for box in filter(None, boxes):
            assert box["y"] >= ends[-1]
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            ends.append(box["y"] + box["height"])
        assert len(ends) == 4
        assert ends[-1] <= height
        page.keyboard.press("Escape")


def test_navigation_of_a_phone_shows_every_page(tmp_path: Path, open_page: Opener) -> None:
    """At 375 pixels the title of each page of the run is whole on the screen, and none needs scrolling."""
    nav = [(title, f"{number}.html") for number, title in enumerate(TITLES)]
    render(sample_notebook(), tmp_path, nav=nav)
    page = open_page(tmp_path / "page.html", width=375).page
    links = page.locator("header.top nav a")
    assert links.all_inner_texts() == list(TITLES)
    for link in links.all():
        box = link.bounding_box()
        assert box is not None
        assert 0 <= box["x"] < box["x"] + box["width"] <= 375
        assert box["y"] + box["height"] <= 160


def test_a_line_is_copied_at_the_press_of_a_button(tmp_path: Path, browser: Browser) -> None:
    """From a file, with the network off: the code under the answer and the command are copied as they stand."""
    lines = "model.n_jobs = 2\nrows = rows[:10]"
    notebook = with_cells(code("answer()", 1, html(f'<div class="answer">Do it.</div>{display.code(lines)}')))
    notebook.metadata["inferbench"] = {"command": "make report"}
    render(notebook, tmp_path)
    context = browser.new_context(offline=True)
    context.grant_permissions(["clipboard-read"])
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator("header.title pre.copy").inner_text() == lines
    for number, expected in enumerate((lines, "make report")):
        button = page.locator(".copyable button").nth(number)
        button.press("Enter")
        assert button.inner_text() == "Copied"
        assert page.evaluate("navigator.clipboard.readText()") == expected
    context.close()


def test_print_is_light_and_whole(sample: Path, open_page: Opener) -> None:
    """On paper: light even from a dark screen, no buttons, contents or code, folded words unfolded, figures uncut."""
    page = open_page(sample, scheme="dark").page
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).color") == "rgb(22, 25, 29)"
    for gone in (".toggle-code", ".contents", ".top", "details.code"):
        assert page.locator(gone).first.is_hidden(), gone
    assert page.get_by_text("Rounds are interleaved in random order").is_visible()
    assert page.locator("figure").first.evaluate("figure => getComputedStyle(figure).breakInside") == "avoid"
    assert page.locator(".copyable button").first.is_hidden()
    assert page.pdf(format="A4").startswith(b"%PDF-")
