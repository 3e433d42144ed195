"""Style every figure alike: colours, fonts, axes that fit their width, and small PNG files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from textwrap import fill
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

# Okabe & Ito (2008): apart for every kind of colour vision, and apart in grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
INK, FAINT = "#1f2328", "#6b7280"
NARROW_INCHES = 6.0
"""Figures narrower than this are for a phone."""
DPI = 144
NEAR = 16
"""Colours that differ by at most this much, of 255 in red, green and blue, become the most frequent of them.

Flat colours with smoothed edges look the same, and a picture has a quarter of its size in full colour.
"""
MOST_COLOURS = 256  # of a PNG's palette
LINE_NAME, LIMIT_NAME = "line name", "limit name"
MOST_LETTERS_BESIDE = 8
"""On a phone, a longer line name is placed above or below the end of its line."""


@contextmanager
def style() -> Iterator[None]:
    """Apply the style of every figure."""
    look: dict[Any, Any] = {
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.edgecolor": "#c4c9d0",
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=PALETTE),
        "grid.color": "#e6e8eb",
        "xtick.color": INK,
        "ytick.color": INK,
        "legend.frameon": False,
        "figure.facecolor": "white",
        "text.hinting": "force_autohint",  # crisper stems, and smaller pictures
        "savefig.facecolor": "white",
    }
    with mpl.rc_context(look):
        yield


def is_narrow(ax: Axes) -> bool:
    """Return whether the figure is drawn for a phone."""
    return bool(ax.figure.get_figwidth() < NARROW_INCHES)  # type: ignore[union-attr]


def outlined() -> dict[str, Any]:
    """Return options that outline text in white, so that it is readable on a line."""
    return {"path_effects": [withStroke(linewidth=2.5, foreground="white")]}


def fit(figure: Figure) -> None:
    """Wrap titles and labels to the figure's width, and hide tick labels that would overlap."""
    inches = figure.get_figwidth()
    for ax in figure.axes:
        share = ax.get_subplotspec().get_gridspec().ncols  # type: ignore[union-attr]
        ax.set_xlabel(fill(ax.get_xlabel(), max(1, int(10 * inches / share))))
        ax.set_ylabel(fill(ax.get_ylabel(), max(1, int(10 * figure.get_figheight() / len(figure.axes) * share))))
        ax.set_title(fill(ax.get_title(loc="left"), max(1, int(9 * inches / share))))
        if any(" " in label.get_text() for label in ax.get_yticklabels()):
            broken = [fill(label.get_text(), int(3.5 * inches)) for label in ax.get_yticklabels()]
            ax.set_yticks(ax.get_yticks(), broken)
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    figure.set_layout_engine("none")  # a second layout would double the time
    for ax in figure.axes:
        _separate_line_names(ax)
        end = -float("inf")
        for label in sorted(ax.get_xticklabels(), key=lambda one: one.get_position()[0]):
            box = label.get_window_extent()
            label.set_visible(box.x0 > end)
            end = box.x1 + 4 if box.x0 > end else end


def _separate_line_names(ax: Axes) -> None:
    """Move line names up until none overlaps another, a limit or the limit's name."""
    limits: list[Any] = [text for text in ax.texts if text.get_gid() == LIMIT_NAME]
    placed: list[Any] = [limit.get_window_extent() for limit in limits]
    placed += [_line_box(ax, limit.xy[1]) for limit in limits]
    names: list[Any] = [text for text in ax.texts if text.get_gid() == LINE_NAME]
    for name in sorted(names, key=lambda one: float(one.get_window_extent().y0)):
        box = name.get_window_extent()
        for other in sorted(placed, key=lambda one: float(one.y0)):
            if box.overlaps(other):
                x, y = name.xyann
                name.xyann = (x, y + (other.y1 - box.y0) * 72 / ax.figure.get_dpi())
                box = name.get_window_extent()
        placed.append(box)


def _line_box(ax: Axes, y: float) -> Any:
    """Return the box of a horizontal line, with a small margin above."""
    of_axes, at = ax.get_window_extent(), float(ax.transData.transform((1.0, y))[1])
    return Bbox([[of_axes.x0, at - 1], [of_axes.x1, at + 2]])


def doubling_axis(ax: Axes, places: Sequence[float], title: str) -> None:
    """Set a logarithmic x axis with a tick at each measured value."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(places, [f"{place:,.0f}" if place < 10_000 else f"{place / 1000:,.0f}k" for place in places])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(title)


def blank(ax: Axes) -> None:
    """Write "not measured" in the place of a drawing."""
    ax.axis("off")
    ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", va="center", color=FAINT)


def plain_ticks(axis: Any) -> None:
    """Write plain numbers on a logarithmic axis."""
    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"))
    axis.set_minor_locator(NullLocator())


def decade_ticks(axis: Any, say: Callable[[float], str], *, most: int) -> None:
    """Write at most so many powers of ten on a logarithmic axis, in the unit that reads best."""
    axis.set_major_locator(LogLocator(base=10, numticks=most))
    axis.set_major_formatter(FuncFormatter(lambda value, _: say(value)))
    axis.set_minor_locator(NullLocator())


class PageFigure(Figure):
    """Figure that a notebook shows as the last value of a cell, with its alternative text."""

    def __init__(self, *, alt: str, **options: Any) -> None:
        super().__init__(dpi=DPI, **options)
        self.alt = alt

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        return png(self), {"alt": self.alt}


def png(figure: Figure) -> bytes:
    """Return the figure's picture with a palette of its own."""
    canvas, packed = FigureCanvasAgg(figure), BytesIO()
    canvas.draw()
    numbers, colours = few_colours(np.asarray(canvas.buffer_rgba())[..., :3])
    flat = Image.fromarray(numbers)
    flat.putpalette(colours.tobytes())
    flat.save(packed, format="PNG", optimize=True, dpi=(figure.dpi, figure.dpi))
    return packed.getvalue()


def few_colours(pixels: NDArray[np.uint8], near: int = NEAR) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the number of each pixel's colour (height × width), and those colours (n × 3), from height × width × 3.

    A colour becomes the most frequent one within `near` of it; where 256 colours do not suffice, `near` is doubled.
    """
    packed = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
    values, where, counts = np.unique(packed, return_inverse=True, return_counts=True)
    seen = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1)
    becomes = np.full(len(values), -1)
    chosen: list[NDArray[np.int32]] = []
    for place in np.argsort(-counts, kind="stable"):
        if becomes[place] < 0:
            is_near = np.abs(seen - seen[place]).max(axis=1) <= near
            becomes[is_near & (becomes < 0)] = len(chosen)
            chosen.append(seen[place])
    if len(chosen) > MOST_COLOURS:
        return few_colours(pixels, 2 * near)
    return becomes.astype(np.uint8)[where].reshape(pixels.shape[:2]), np.array(chosen, dtype=np.uint8)
