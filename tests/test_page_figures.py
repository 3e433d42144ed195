"""Figures say what they show, and open full screen by key, button and finger."""

from __future__ import annotations

import base64
import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import sample_runs as samples
from matplotlib.text import Text
from nbformat.v4 import new_output
from page_helpers import Opener, render
from page_texts import views
from PIL import Image
from sample_notebook import code, draw, picture, with_cells

from inferbench_lib.errors import ReportError
from inferbench_lib.report.look import PageFigure, few_colours, plain_ticks, png
from inferbench_lib.studies import voice


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
    assert 'alt="Unfinished: the cell raised an error"' in text
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


@pytest.mark.parametrize("name", ["multiprocess", "devices", "sweep", "hardware"])
def test_figures_are_light_crisp_and_legible_on_a_phone(name: str) -> None:
    """Drawn for the 328 pixels that a phone of 360 has for it: two dots a pixel, no letter below 9 pixels, small."""
    for view in views(name):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", category=DeprecationWarning)  # between seaborn and matplotlib
            figure = view.figure(is_narrow=True)
            payload = png(figure)
        dots = struct.unpack(">I", payload[16:20])[0]
        assert dots / 328 >= 2, view.name
        points = min(
            float(text.get_fontsize()) for text in figure.findobj(Text) if text.get_text() and text.get_visible()
        )
        assert points / 72 * figure.dpi * 328 / dots >= 8.9, view.name
        assert len(payload) < 50_000, view.name


def test_a_picture_has_few_colours_and_each_is_near_its_own() -> None:
    """A colour within 16 of a commoner one becomes that one; where 256 do not suffice, within 32, 64, …"""
    white, nearly, blue = (255, 255, 255), (239, 255, 255), (0, 114, 178)
    pixels = np.array([[white, nearly, white], [blue, (238, 255, 255), blue]], dtype=np.uint8)
    numbers, colours = few_colours(pixels)
    assert colours[numbers].tolist() == [[list(white)] * 3, [list(blue), [238, 255, 255], list(blue)]]
    many = np.stack(np.meshgrid(*[np.arange(0, 256, 25)] * 3), axis=-1).reshape(-1, 11, 3).astype(np.uint8)
    numbers, colours = few_colours(many)
    assert len(colours) <= 256
    assert np.abs(colours[numbers].astype(int) - many).max() == 25


def test_a_phone_is_shown_the_figure_drawn_for_it(tmp_path: Path, open_page: Opener) -> None:
    """A narrow screen takes the narrow drawing, a wide one the wide, and the viewer the same as the page."""
    wide, narrow = draw(bars=True), draw(bars=False)
    about = {"alt": "Bars", "narrow": {"image/png": base64.b64encode(narrow).decode()}}
    output = new_output(
        "display_data", data={"image/png": base64.b64encode(wide).decode()}, metadata={"image/png": about}
    )
    render(with_cells(code("show(figure)", 1, output)), tmp_path)
    for width, expected in ((360, narrow), (1440, wide)):
        seen = open_page(tmp_path / "page.html", width=width)
        for image in ("main figure img", ".stage img"):
            source = seen.page.locator(image).evaluate("image => image.currentSrc")
            shown = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
            assert shown.convert("RGB").tobytes() == Image.open(io.BytesIO(expected)).convert("RGB").tobytes()
            seen.page.locator("figure .open").click(force=True)
        assert seen.console == []


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


def test_ticks_of_a_short_logarithmic_axis_differ() -> None:
    """From 3.6 to 5 no label stands twice: 3.6, 3.8, … instead of 4, 4, …; thousands have their comma."""
    figure = PageFigure(alt="short")
    ax = figure.subplots()
    ax.set_yscale("log")
    plain_ticks(ax.yaxis)
    for low, high in ((3.6, 5.0), (0.01, 2e4)):
        ax.set_ylim(low, high)
        figure.draw_without_rendering()
        shown = [label.get_text() for label in ax.get_yticklabels() if low <= label.get_position()[1] <= high]
        assert len(shown) == len(set(shown)) > 2
    assert "10,000" in shown


@pytest.mark.parametrize("name", samples.NAMES)
def test_words_of_a_page_are_few(name: str) -> None:
    """A verdict has at most 45 words, and an alternative text at most 150 characters, whatever was measured."""
    assert len(voice.answer(samples.RUNS[name]).verdict.split()) <= 45
    assert {view.name: len(view.alt) for view in views(name) if len(view.alt) > 150} == {}
