"""Draw the ratio of each cell of two runs, with the interval that decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from inferbench_lib.report.display import View
from inferbench_lib.report.look import FAINT, INK, PALETTE
from inferbench_lib.report.words import capital, joined, times
from inferbench_lib.studies.compare.changes import SAME
from inferbench_lib.studies.compare.study import CompareStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 12
"""Cells in the figure; of more, those that changed most."""
LOOKS = {
    "faster": ("^", PALETTE[2]),
    "slower": ("v", PALETTE[1]),
    "unstable": ("X", FAINT),
    SAME: ("o", PALETTE[0]),
}


def ratios(said: CompareStudy) -> View:
    """Return the figure of the ratio of each cell, or of those that changed most."""
    is_several = len(said.pairs) > 1
    rows = [
        (f"{change.label}{f' · HEAD {number}' if is_several else ''}", change.verdict, change.ratio.value,
         change.ratio.low, change.ratio.high, band.low, band.high)
        for number, pair in enumerate(said.pairs, start=1)
        for one in pair.notebooks
        for band in (one.rule.tolerance("s"),)
        for change in one.changes
        if change.is_cell and change.ratio.is_judged
    ]  # fmt: skip
    columns = ["label", "verdict", "value", "low", "high", "tolerance_low", "tolerance_high"]
    frame = pd.DataFrame(rows, columns=columns)
    distance = frame["value"].astype(float).map(math.log).abs()
    frame = frame.loc[distance.nlargest(MOST_ROWS).index.sort_values()].reset_index(drop=True)
    told = joined(f"{count} {name}" for name, count in frame["verdict"].value_counts().items())
    told = told or "no cell could be compared"
    more = f" Shown are the {MOST_ROWS} of {len(rows)} cells that changed most." if len(rows) > MOST_ROWS else ""
    if is_several:
        more += f" {capital(joined(f'HEAD {n} is {pair.head}' for n, pair in enumerate(said.pairs, start=1)))}."
    return View(
        name="compared_ratios",
        frame=frame,
        draw=_draw,
        alt=f"Speed of HEAD over BASE for each cell, with the interval that decides. {told}.",
        reading=f"Cells in the figure: {told}.{more} The bar is the interval that decides. Ratios in the shaded band "
        "count as no difference.",
        size_inches=(7.4, 1.2 + 0.4 * max(3, len(frame))),
        mark=said.run.mark,
    )


def _draw(frame: Any, axes: Sequence[Axes]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    ax = axes[0]
    for place, row in enumerate(frame.itertuples()):
        marker, colour = LOOKS[row.verdict]
        ax.fill_betweenx(
            [place - 0.5, place + 0.5], row.tolerance_low, row.tolerance_high, color=FAINT, alpha=0.15, linewidth=0
        )
        ax.plot([row.low, row.high], [place, place], color=colour, linewidth=4, alpha=0.55, solid_capstyle="butt")
        ax.plot(row.value, place, marker, color=colour, markersize=7)
        if row.verdict != SAME:
            ax.annotate(f"{times(row.value)} {row.verdict}", (row.value, place), (0, 7), textcoords="offset points",
                        ha="center", fontsize=8, color=INK)  # fmt: skip
    ax.axvline(1, color=INK, linewidth=1)
    ax.set_yticks(range(len(frame)), list(frame["label"]), fontsize=8)
    ax.set_ylim(len(frame) - 0.4, -0.8)
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(MaxNLocator(6) if high < 3 * low else LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("speed of HEAD over BASE (right of 1 is faster)")
