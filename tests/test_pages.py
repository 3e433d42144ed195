"""An executed notebook becomes one page: whole, readable, and unable to load or run anything foreign."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output
from playwright.sync_api import Browser, Page
from sample_notebook import VERDICT, code, failed_notebook, html, picture, sample_notebook, with_cells

from inferbench_lib.errors import ReportError
from inferbench_lib.report import markup
from inferbench_lib.report.pages import Banner, NavLink, data_link, plain_text, render_page
from inferbench_lib.report.shell import TEMPLATE_DIR, duration_words

NAV = (NavLink(label="CPU processes", href="page.html"), NavLink(label="All runs", href="../index.html"))
HOSTILE = "</title><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\""


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
        self.contexts: list[object] = []

    def __call__(self, path: Path, *, width: int = 1440, scheme: str = "light", scripts: bool = True) -> Seen:
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


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opener]:
    opener = Opener(browser)
    yield opener
    for context in opener.contexts:
        context.close()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "page.html"
    notebook = sample_notebook()
    notebook.cells.append(code("download(run)", 11, html(data_link("raw.json", RAW, "application/json"))))
    render_page(notebook, path, title="Do several processes help?", nav=NAV)
    return path


RAW = json.dumps({"samples_s": [1.5, 2.5], "name": "größer <b>"}).encode()


def render(notebook: NotebookNode, folder: Path, **options: object) -> str:
    render_page(notebook, folder / "page.html", **({"title": "A page"} | options))
    return (folder / "page.html").read_text(encoding="utf-8")


# What it weighs and what it may do


def test_page_is_small_and_says_its_size(tmp_path: Path) -> None:
    """A page of three figures stays well below 300 kB, and the returned size is the file's."""
    n_bytes = render_page(sample_notebook(), tmp_path / "page.html", title="A page")
    assert n_bytes == (tmp_path / "page.html").stat().st_size
    assert n_bytes < 250_000


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
        machine_line=HOSTILE, verdict=HOSTILE, command=HOSTILE, when=HOSTILE, run_id=HOSTILE, status="failed",
    )  # fmt: skip
    nav = [NavLink(label=HOSTILE, href="page.html")]
    render(notebook, tmp_path, title=HOSTILE, nav=nav, banner=Banner(status=HOSTILE, where=HOSTILE, reason=HOSTILE))
    seen = open_page(tmp_path / "page.html")
    assert seen.page.title() == HOSTILE
    assert seen.page.locator("h1").inner_text() == HOSTILE
    assert seen.page.locator("figure img").get_attribute("alt") == HOSTILE
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


def test_navigation_stays_in_the_reports_folder(tmp_path: Path) -> None:
    """A link that is no relative name is refused before anything is written."""
    for href in ("https://x.example/a.html", "/etc/passwd", "javascript:alert(1)", "//x.example"):
        with pytest.raises(ReportError) as caught:
            render(sample_notebook(), tmp_path, nav=[NavLink(label="Out", href=href)])
        assert str(caught.value) == (
            f"navigation link 'Out': expected a relative name such as 'cpu_vs_gpu.html', got '{href}'; "
            "a page links only to files beside it"
        )
    assert list(tmp_path.iterdir()) == []


# What it shows


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_page_is_quiet_and_fits(sample: Path, open_page: Opener, width: int, scheme: str) -> None:
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
        "What would another machine do?", "Method", "Run it again",
    ]  # fmt: skip
    for href in [line.get_attribute("href") for line in lines.all()]:
        assert page.locator(f"{href}:is(h2, h3)").count() == 1


def test_equal_headings_get_different_anchors() -> None:
    """Two headings of the same words can both be linked to."""
    body = markup.finish("<h2>Method</h2><h3>Method</h3><h2>Main</h2><h2>×</h2>")
    assert [entry.anchor for entry in body.contents] == ["method", "method-2", "main-2", "section"]


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
        '<a class="download" download="a&quot;.csv" href="data:text/csv;base64,MSwyCg==">a&quot;.csv</a> '
        "<small>(4 bytes)</small>"
    )
    assert data_link("b", bytes(12_340), "text/csv").endswith("<small>(12.3 kB)</small>")


def test_terminal_text_is_read_as_it_was_seen() -> None:
    """Colours, links and overwritten progress lines are gone; the words and the last state stay."""
    assert plain_text("\x1b[1;31mred\x1b[0m \x1b]8;;x\x07link\x1b]8;;\x07") == "red link"
    assert plain_text("10%\r50%\r100%\nnext\r\n") == "100%\nnext\n"
    assert plain_text("a\x00b\tc") == "ab\tc"


def test_duration_words() -> None:
    """A duration is told in the two units that matter."""
    assert [duration_words(s) for s in (0.04, 9.96, 59.6, 65, 3599.7, 7380)] == [
        "0.0 s", "10 s", "1 min 00 s", "1 min 05 s", "1 h 00 min", "2 h 03 min",
    ]  # fmt: skip


# Failures


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


# Figures


def test_figure_without_alt_text_is_refused(tmp_path: Path) -> None:
    """A picture that says nothing to those who cannot see it is a defect, named by its cell."""
    for alt in ("", "  "):
        cell = code("show(figure)\nnext()", 1, picture(alt))
        cell.id = "cell-9"
        with pytest.raises(ReportError) as caught:
            render(with_cells(cell), tmp_path)
        assert str(caught.value) == (
            "picture of cell cell-9 ('show(figure)'): expected an alt text, got none; "
            'write display(fig, metadata={"image/png": {"alt": "what it shows"}})'
        )


def test_unfinished_figure_does_not_hide_the_failure(tmp_path: Path) -> None:
    """A figure that a raising cell left half drawn is called that, and the page is still made."""
    error = new_output("error", ename="ValueError", evalue="no data", traceback=["ValueError: no data"])
    text = render(with_cells(code("show(figure)", 1, picture(""), error)), tmp_path)
    assert 'alt="Unfinished: the cell raised while it drew this"' in text
    assert "Why: ValueError: no data" in text


def test_svg_is_a_picture_that_cannot_run(tmp_path: Path, open_page: Opener) -> None:
    """An SVG is embedded as an image, where its scripts are dead, and drawn."""
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="40"><rect width="90" height="40"/>'
        "<script>document.title='owned'</script></svg>"
    )
    output = new_output("display_data", data={"image/svg+xml": drawing}, metadata={"image/svg+xml": {"alt": "A box"}})
    render(with_cells(code("draw()", 1, output)), tmp_path)
    page = open_page(tmp_path / "page.html").page
    assert page.locator("figure img").evaluate("image => image.naturalWidth") == 90
    assert page.locator("svg").count() == 0
    assert page.title() == "A page"


def test_figures_are_numbered_captioned_and_sized(tmp_path: Path, open_page: Opener) -> None:
    """A caption is the figure's own or its alt text; a link leads to it; its size is known before it is drawn."""
    render(with_cells(code("a", 1, picture("What it shows")), code("b", 2, picture("Alt", caption="Said"))), tmp_path)
    page = open_page(tmp_path / "page.html").page
    assert page.locator("figcaption .caption").all_inner_texts() == ["Figure 1. What it shows", "Figure 2. Said"]
    assert page.locator("figcaption a").nth(1).get_attribute("href") == "#figure-2"
    # 8 x 3.6 inches at 144 dots an inch are 1152 x 518 whole dots, and at 96 CSS pixels an inch two thirds of that.
    image = page.locator("figure img").first
    assert (image.get_attribute("width"), image.get_attribute("height")) == ("768", "345")


def test_viewer_by_keyboard(sample: Path, open_page: Opener) -> None:
    """Full screen: → and n go on, ← and p go back, round and round; q and Esc close; the focus comes back."""
    page = open_page(sample).page
    opener = page.locator("figure .open").nth(1)
    viewer, counter = page.locator("dialog.viewer"), page.locator(".counter")
    for close in ("q", "Escape"):
        opener.focus()
        page.keyboard.press("Enter")
        assert viewer.is_visible()
        assert counter.inner_text() == "2 / 3"
        for key, expected in (
            ("ArrowRight", "3 / 3"), ("n", "1 / 3"), ("ArrowLeft", "3 / 3"), ("p", "2 / 3"), ("x", "2 / 3"),
        ):  # fmt: skip
            page.keyboard.press(key)
            assert counter.inner_text() == expected, key
        assert page.locator(".viewer .caption").inner_text().startswith("Figure 2.")
        page.keyboard.press(close)
        assert viewer.is_hidden()
        assert opener.evaluate("element => element === document.activeElement")


def test_viewer_by_buttons_and_swipe(sample: Path, open_page: Opener) -> None:
    """The same by buttons with names, and by a finger; a short touch is no swipe."""
    page = open_page(sample, width=360).page
    page.locator("figure .open").first.click()
    counter = page.locator(".counter")
    page.get_by_role("button", name="Next figure").click()
    assert counter.inner_text() == "2 / 3"
    page.get_by_role("button", name="Previous figure").click()
    assert counter.inner_text() == "1 / 3"
    swipe = """([from, to]) => {
        const viewer = document.querySelector("dialog.viewer");
        const touch = x => new Touch({identifier: 1, target: viewer, clientX: x, clientY: 300});
        viewer.dispatchEvent(new TouchEvent("touchstart", {touches: [touch(from)], changedTouches: [touch(from)]}));
        viewer.dispatchEvent(new TouchEvent("touchend", {touches: [], changedTouches: [touch(to)]}));
    }"""
    for path, expected in (([300, 100], "2 / 3"), ([200, 190], "2 / 3"), ([100, 300], "1 / 3")):
        page.evaluate(swipe, path)
        assert counter.inner_text() == expected
    page.get_by_role("button", name="Close").click()
    assert page.locator("dialog.viewer").is_hidden()


# Light, dark, paper


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


def test_dark_page_keeps_figures_on_white(sample: Path, open_page: Opener) -> None:
    """In the dark the paper is dark and figures stand on a white card."""
    page = open_page(sample, scheme="dark").page
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(20, 23, 27)"
    card = page.locator("figure img").first.evaluate("image => getComputedStyle(image).backgroundColor")
    assert card == "rgb(255, 255, 255)"


def test_print_is_light_and_whole(sample: Path, open_page: Opener) -> None:
    """On paper: light even from a dark screen, no buttons, contents or code, folded words unfolded, figures uncut."""
    page = open_page(sample, scheme="dark").page
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).color") == "rgb(22, 25, 29)"
    for gone in (".toggle-code", ".contents", ".top", "details.code"):
        assert page.locator(gone).first.is_hidden(), gone
    assert page.get_by_text("Rounds are interleaved in random order").is_visible()
    assert page.locator("figure").first.evaluate("figure => getComputedStyle(figure).breakInside") == "avoid"
    assert page.pdf(format="A4").startswith(b"%PDF-")
