"""Tables on a page: they scroll in their own box, align their numbers and sort by what a cell means."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from page_helpers import render
from playwright.sync_api import Page
from sample_notebook import code, html, sample_notebook, with_cells

from inferbench_lib.report import display, markup
from inferbench_lib.report.markup import sort_key
from inferbench_lib.report.pages import render_page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234", 1234.0),
        ("−3.5", -3.5),
        ("900 µs", 900e-6),
        ("1.2 ms", 1.2e-3),
        ("2 min", 120.0),
        ("1.5 GB", 1.5e9),
        ("2 MiB", 2.0 * 2**20),
        ("18.9 GFLOP/s", 18.9e9),
        ("[1.79, 1.86]", 1.79),
        ("~ 4.4×", 4.4),
        ("1e-3", 1e-3),
        ("71 %", 71.0),
        ("900–950 µs", 900e-6),
        ("950 µs – 1.05 ms", 950e-6),
        ("3 models", 3.0),
        ("faster", None),
        ("", None),
    ],
)
def test_sort_key(text: str, expected: float | None) -> None:
    """A cell sorts by the number it begins with, in its base unit."""
    key = sort_key(text)
    assert key == (None if expected is None else pytest.approx(expected, rel=1e-12))


def test_number_columns_are_aligned_and_blanks_go_last() -> None:
    """A column of numbers and blanks aligns right; one word in it makes it a column of words."""
    frame = pd.DataFrame({"way": ["4 processes", "one"], "time": ["2 s", "not measured"], "note": ["1", "fast"]})
    table = BeautifulSoup(markup.finish(frame.to_html(index=False)).html, "html.parser").table
    assert table is not None
    assert [" ".join(cell.get_attribute_list("class")) for cell in table.select("td")] == ["", "num", "", "", "num", ""]
    assert [cell.get("data-sort") for cell in table.select("td")] == [None, "2", None, None, "", None]
    assert table.select("[style]") == []


def test_joined_cells_are_left_as_they_are() -> None:
    """A table with cells joined over rows cannot be sorted without tearing it apart, so it is not offered."""
    frame = pd.DataFrame({"x": [1, 2]}, index=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]))
    html = markup.finish(frame.to_html()).html
    assert "rowspan" in html
    assert "sortable" not in html
    assert "sortable" in markup.finish(frame.reset_index(drop=True).to_html()).html


def test_a_click_sorts_and_says_so(tmp_path: Path, page: Page) -> None:
    """Headings are buttons: up, then down, by value across units, blanks last, announced by aria-sort."""
    render_page(sample_notebook(), tmp_path / "page.html", title="A page")
    page.goto((tmp_path / "page.html").as_uri())
    table = page.locator("table.sortable")
    head = table.locator("th", has_text="start-up")
    column = table.locator("tbody td:nth-child(3)")
    assert column.all_inner_texts() == ["–", "900 µs", "1.5 s", "12 ms"]
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert column.all_inner_texts() == ["900 µs", "12 ms", "1.5 s", "–"]
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert column.all_inner_texts() == ["1.5 s", "12 ms", "900 µs", "–"]
    assert head.get_attribute("aria-sort") == "descending"
    table.get_by_role("button", name="executor").click()
    assert table.locator("tbody td:nth-child(1)").all_inner_texts() == [
        "naive pool",
        "shared-memory pool",
        "single process",
        "threads",
    ]
    assert head.get_attribute("aria-sort") is None


def test_wide_table_scrolls_in_its_own_box(tmp_path: Path, page: Page) -> None:
    """On a phone a wide table moves inside its box, which the keyboard can reach, and the page stays."""
    page.set_viewport_size({"width": 360, "height": 740})
    render_page(sample_notebook(), tmp_path / "page.html", title="A page")
    page.goto((tmp_path / "page.html").as_uri())
    box = page.get_by_role("region", name="Table 1")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    assert box.get_attribute("tabindex") == "0"
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def shown_table(frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page with a table as a notebook shows it."""
    outputs: list[str] = []
    monkeypatch.setattr(display, "markup", outputs.append)
    display.table(display.Table(frame=frame))
    render(with_cells(code("table()", 1, html(outputs[0]))), tmp_path)
    return tmp_path / "page.html"


def test_a_long_table_is_folded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: Page) -> None:
    """Of 20 rows 8 are seen; a click shows the other 12. Sorting puts the first of all 20 on top."""
    frame = pd.DataFrame({"cell": [f"cell {number}" for number in range(20)], "ms": range(20, 0, -1)})
    page.goto(shown_table(frame, tmp_path, monkeypatch).as_uri())
    rows = page.locator("tbody tr")
    assert [row.is_visible() for row in rows.all()] == [True] * 8 + [False] * 12
    page.get_by_text("12 more rows").click()
    assert rows.nth(19).is_visible()
    page.get_by_role("button", name="ms").first.click()
    assert page.locator("tbody td:nth-child(2)").all_inner_texts() == [str(number) for number in range(1, 21)]


def test_a_table_of_twelve_rows_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to 12 rows nothing is folded."""
    text = shown_table(pd.DataFrame({"cell": range(12)}), tmp_path, monkeypatch).read_text()
    assert "more rows" not in text


def test_a_phone_shows_the_deciding_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: Page) -> None:
    """At 375 pixels the verdict and the verification of a wide table are seen without scrolling it."""
    names = ["way", *(f"figure {number}" for number in range(9)), "verified", "verdict"]
    frame = pd.DataFrame([["ProcessPoolExecutor, kept warm", *["1.84–2.00 s"] * 9, "PASSED", "faster"]], columns=names)
    page.set_viewport_size({"width": 375, "height": 800})
    page.goto(shown_table(frame, tmp_path, monkeypatch).as_uri())
    assert page.locator("thead th").all_inner_texts()[:3] == ["way", "verdict", "verified"]
    for text in ("faster", "PASSED"):
        box = page.get_by_text(text, exact=True).bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 375
