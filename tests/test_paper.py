"""A printed page: tables repeat their heads, and a figure is on the sheet of its heading."""

from __future__ import annotations

from pathlib import Path

import pdf_text
from nbformat.v4 import new_markdown_cell
from page_helpers import Opener, render
from sample_notebook import code, html, picture, with_cells

N_ROWS = 120


def printed(notebook: object, folder: Path, open_page: Opener) -> list[str]:
    """The text of each sheet of a notebook's page."""
    render(notebook, folder)  # type: ignore[arg-type]
    return pdf_text.pages(open_page(folder / "page.html").page.pdf(format="A4"))


def test_a_table_over_several_sheets_repeats_its_heads(tmp_path: Path, open_page: Opener) -> None:
    """Each sheet with rows of a table has the table's heads above them."""
    rows = "".join(f"<tr><td>row{number}</td><td>{number}</td></tr>" for number in range(N_ROWS))
    table = (
        f"<table class='dataframe'><thead><tr><th>cell</th><th>verdict</th></tr></thead><tbody>{rows}</tbody></table>"
    )
    sheets = [
        text for text in printed(with_cells(code("table()", 1, html(table))), tmp_path, open_page) if "row" in text
    ]
    assert len(sheets) > 1
    for text in sheets:
        assert "verdict" in text.partition("row")[0].split()[-2:]


def test_a_figure_is_printed_below_its_heading(tmp_path: Path, open_page: Opener) -> None:
    """Wherever a sheet ends, a heading, its sentence and its figure are on the same one."""
    cells = []
    for number in range(9):
        cells += [
            new_markdown_cell(f"## Question{number}\n\nSentence of it.\n\n"),
            code("show()", number + 1, picture("A figure")),
            new_markdown_cell("\n\n".join(["Filling words."] * (2 + number))),
        ]
    sheets = printed(with_cells(*cells), tmp_path, open_page)
    assert len(sheets) > 3
    for number in range(9):
        (sheet,) = [text for text in sheets if f"Question{number}\n" in text]
        assert f"Figure {number + 1}." in sheet
