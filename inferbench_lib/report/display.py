"""What a notebook's cells call to show something: an answer, a view, a table, a sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inferbench_lib import store
from inferbench_lib.records import Run
from inferbench_lib.report.pictures import DPI
from inferbench_lib.report.words import escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

NARROW_INCHES = 4.6
"""The width that is drawn for a phone: 328 CSS pixels wide there, its 9-point letters are 9 pixels high, and every
device pixel of a screen of twice that density has a dot of its own."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One headline figure: the value, what it is, and how sure."""

    value: str
    label: str
    interval: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The first screen of a page: one sentence, the figures that carry it, what a reader must know beside it."""

    verdict: str
    cards: tuple[Card, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class View:
    """One figure: tidy data, how it is drawn, what it shows for those who cannot see it, what to read in it.

    `draw(frame, axes)` only draws on the axes of `grid`, which on a phone stand below each other. `name` is that of
    the PNG file in `figures/`; `mark` stands above the picture, so that it is not shown without it.
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
        """What the picture shows: the first sentence of its alt text; the rest is read back below it."""
        return f"{self.alt.partition('. ')[0].removesuffix('.')}."

    def figure(self, *, is_narrow: bool = False) -> Figure:
        """The drawn figure: for a desk, or narrow for a phone."""
        from matplotlib.figure import Figure

        from inferbench_lib.report.look import fit, style

        (width, height), grid = self.size_inches, self.grid
        if is_narrow:
            n_panels = grid[0] * grid[1]
            width, height = NARROW_INCHES, height / grid[0] * n_panels
            grid = (n_panels, 1)
        with style():
            figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
            axes = figure.subplots(*grid, squeeze=False)
            self.draw(self.frame, list(axes.flat))
            if self.mark:
                figure.suptitle(self.mark, color="#b3261e", fontweight="bold")
            fit(figure)
        return figure


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows with words before and after them."""

    frame: DataFrame
    reading: str = ""
    notes: tuple[str, ...] = field(default=())


def answer(value: Answer) -> None:
    """Show the answer block and the headline cards."""
    cards = "".join(
        f'<div class="card"><b>{escaped(card.value)}</b><span>{escaped(card.label)}</span>'
        f"<small>{escaped(card.interval)}</small></div>"
        for card in value.cards
    )
    flags = "".join(f'<p class="flag">{escaped(text)}</p>' for text in value.flags)
    _html(f'<div class="answer">{escaped(value.verdict)}</div><div class="cards">{cards}</div>{flags}')


def show(view: View) -> None:
    """Keep the picture in the run's `figures/`, show it with its alt text, and read it back; no picture of nothing."""
    from base64 import b64encode

    from IPython.display import Image, display

    from inferbench_lib.report.pictures import png

    if view.frame.empty:  # the reading says that nothing was measured; a blank picture would not
        read(view.reading)
        return
    picture = png(view.figure())
    store.write_file(store.run_folder() / "figures" / f"{view.name}.png", picture)
    about: dict[str, Any] = {"alt": view.alt, "caption": view.caption}
    if view.has_narrow:
        about["narrow"] = {"image/png": b64encode(png(view.figure(is_narrow=True))).decode("ascii")}
    display(Image(picture, format="png"), metadata={"image/png": about})
    read(view.reading)


def table(value: Table) -> None:
    """Show rows, then what to read in them."""
    import pandas as pd

    with pd.option_context("display.max_colwidth", None):
        _html(value.frame.to_html(index=False, border=0, na_rep="–"))
    for note in value.notes:
        read(note)
    if value.reading:
        read(value.reading)


def read(text: str) -> None:
    """Show a sentence that was computed."""
    _html(f'<p class="reading">{escaped(text)}</p>')


def download(*runs: Run) -> None:
    """Offer the raw data embedded in the page: a JSON file a run, and the samples of one run, or the figures of many,
    as a table; what there is no room for is told. The spans of single samples stay in the run's folder.
    """
    from inferbench_lib.report.carried import carried, carried_together

    offered = carried(runs[0]) if len(runs) == 1 else carried_together(runs)
    _html(f'<ul class="downloads">{"".join(f"<li>{link}</li>" for link in offered.links)}</ul>')
    if offered.note:
        read(offered.note)


def markup(text: str) -> None:
    """Show HTML of our own making."""
    _html(text)


def warn(texts: Sequence[str]) -> None:
    """Show what a reader must know."""
    _html("".join(f'<p class="flag">{escaped(text)}</p>' for text in texts))


def _html(text: str) -> None:
    from IPython.display import HTML, display

    display(HTML(text))
