"""Show something in a notebook: an answer, a view, a table, a sentence, the raw data."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferbench_lib import store
from inferbench_lib.records import Run
from inferbench_lib.report.downloads import ROOM_BYTES, embed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

    from inferbench_lib.report.look import PageFigure

NARROW_INCHES = 4.6
"""Width of a figure for a phone, where it is 328 CSS pixels wide: its 9-point letters are 9 pixels high, at two image
pixels per CSS pixel."""
LAB_STYLE = Path(__file__).parent / "template" / "lab.css"
DECIDING = ("verdict", "verified", "outcome")
"""Columns that follow the label, so that they are seen where a table is wider than the screen."""
LONG, SHOWN = 12, 8
"""A table of more than `LONG` rows shows the first `SHOWN`; the rest is folded."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """Headline figure: its value, its label and its interval."""

    label: str
    value: str
    interval: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """First screen of a page: the verdict, the code that follows it, its headline figures, and warnings."""

    verdict: str
    cards: tuple[Card, ...] = ()
    flags: tuple[str, ...] = ()
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class View:
    """Figure of a page: tidy data, a function that draws it, alternative text, and the sentence below it.

    `draw(frame, axes)` only draws, on the axes of `grid`, which are stacked on a phone. `name` names the PNG file in
    `figures/`. `mark` (SIMULATED) is part of the picture.
    """

    name: str
    frame: DataFrame
    draw: Callable[[DataFrame, Sequence[Axes]], None]
    alt: str
    reading: str
    size_inches: tuple[float, float] = (7.4, 3.6)
    grid: tuple[int, int] = (1, 1)
    mark: str = ""
    has_narrow: bool = True

    @property
    def caption(self) -> str:
        """Return the first sentence of the alternative text."""
        return f"{self.alt.partition('. ')[0].removesuffix('.')}."

    def figure(self, *, is_narrow: bool = False) -> PageFigure:
        """Draw the figure, for a desktop or narrow for a phone; as the last line of a cell it is shown."""
        from inferbench_lib.report.look import PageFigure, blank, fit, style

        (width, height), grid = self.size_inches, self.grid
        if is_narrow:
            n_panels = grid[0] * grid[1]
            width, height = NARROW_INCHES, height / grid[0] * n_panels
            grid = (n_panels, 1)
        with style():
            figure = PageFigure(alt=self.alt, figsize=(width, height), layout="constrained")
            axes = figure.subplots(*grid, squeeze=False)
            if self.frame.empty:
                for ax in axes.flat:
                    blank(ax)
            else:
                self.draw(self.frame, list(axes.flat))
            if self.mark:
                figure.suptitle(self.mark, color="#b3261e", fontweight="bold")
            fit(figure)
        return figure


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows, with notes and a reading below them."""

    frame: DataFrame
    reading: str = ""
    notes: tuple[str, ...] = ()


def answer(value: Answer) -> None:
    """Show the answer block, its code and the headline cards; in JupyterLab with their style, which a page has."""
    cards = "".join(
        f'<div class="card"><b>{escape(card.value)}</b><span>{escape(card.label)}</span>'
        f"<small>{escape(card.interval)}</small></div>"
        for card in value.cards
    )
    flags = "".join(f'<p class="flag">{escape(text)}</p>' for text in value.flags)
    verdict = f'<div class="answer">{escape(value.verdict)}</div>{code(value.code)}'
    style = "" if store.is_report() else f"<style>{LAB_STYLE.read_text(encoding='utf-8')}</style>"
    markup(f'{style}{verdict}<div class="cards">{cards}</div>{flags}')


def code(lines: str) -> str:
    """Return lines of code to copy, as HTML; nothing for none."""
    return f'<pre class="copy" tabindex="0"><code>{escape(lines)}</code></pre>' if lines else ""


def show(view: View) -> None:
    """Save the picture in the run's `figures/`, show it, then its reading; without data only the reading."""
    from base64 import b64encode

    from IPython.display import Image, display

    from inferbench_lib.report.look import png

    if view.frame.empty:  # the reading says that nothing was measured
        read(view.reading)
        return
    picture = png(view.figure())
    if store.RUN_FOLDER in os.environ:  # a stored run that is only read again keeps no pictures
        store.write_file(store.run_folder() / "figures" / f"{view.name}.png", picture)
    about: dict[str, Any] = {"alt": view.alt, "caption": view.caption}
    if view.has_narrow:
        about["narrow"] = {"image/png": b64encode(png(view.figure(is_narrow=True))).decode("ascii")}
    display(Image(picture, format="png"), metadata={"image/png": about})
    read(view.reading)


def table(value: Table) -> None:
    """Show rows, the rest of a long table folded, their notes and their reading; without rows no table."""
    columns = list(value.frame.columns)
    frame = value.frame[columns[:1] + sorted(columns[1:], key=lambda name: (*DECIDING, name).index(name))]
    n_shown = SHOWN if len(frame) > LONG else len(frame)
    more = (
        f'<details class="rows"><summary>{len(frame) - n_shown} more rows</summary>{_rows(frame[n_shown:])}</details>'
    )
    if len(frame):
        markup(_rows(frame[:n_shown]) + more * (n_shown < len(frame)))
    for note in value.notes:
        read(note)
    if value.reading:
        read(value.reading)


def _rows(frame: DataFrame) -> str:
    import pandas as pd

    with pd.option_context("display.max_colwidth", None):
        return frame.to_html(index=False, border=0, na_rep="–")


def read(text: str) -> None:
    """Show a computed sentence."""
    markup(f'<p class="reading">{escape(text)}</p>')


def download(*runs: Run, room_bytes: int = ROOM_BYTES) -> None:
    """Embed raw data as downloads: one record per run, and a table of one run's samples or of all runs' figures.

    At most `room_bytes` of HTML; a note names what is left out.
    """
    links, note = embed(runs, room_bytes)
    markup(f'<ul class="downloads">{"".join(f"<li>{link}</li>" for link in links)}</ul>')
    if note:
        read(note)


def markup(text: str) -> None:
    """Show trusted HTML."""
    from IPython.display import HTML, display

    display(HTML(text))
