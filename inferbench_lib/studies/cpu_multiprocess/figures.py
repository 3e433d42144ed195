"""Draw bars against marks, and a heat map with a border."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from inferbench_lib.findings import Ratio
from inferbench_lib.report.look import FAINT, INK, PALETTE, outlined

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DataFrame = Any  # pandas' own; its rows have no types to check


def _nothing(ax: Axes) -> None:
    ax.axis("off")
    ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", va="center", color=FAINT)


def bars(
    values: Mapping[str, Ratio | float], x: str, marks: list[tuple[float, str]], say: Callable[[float], str]
) -> DataFrame:
    """Return the frame of `bars_and_marks`: a bar for each value, with the interval of a ratio."""
    import pandas as pd

    rows = [
        {"label": label, "value": of.value, "low": of.low, "high": of.high}
        if isinstance(of, Ratio)
        else {"label": label, "value": of, "low": None, "high": None}
        for label, of in values.items()
    ]
    frame = pd.DataFrame(rows, columns=["label", "value", "low", "high"]).astype({"low": float, "high": float})
    frame.attrs = {"x": x, "say": say, "marks": marks}
    return frame


def bars_and_marks(frame: DataFrame, axes: Sequence[Axes]) -> None:
    """Draw one bar per label with its interval and figure, against marks; the frame is that of `bars`.

    Marks are pairs of a value and its name, drawn as lines across all bars.
    """
    ax = axes[0]
    if frame.empty:
        return _nothing(ax)
    for place, row in enumerate(frame.itertuples()):
        ax.barh(place, row.value, height=0.55, color=PALETTE[0], alpha=0.8)
        if row.low == row.low:
            ax.plot([row.low, row.high], [place, place], color=INK, linewidth=2, solid_capstyle="butt")
        end = max(row.value, row.high if row.high == row.high else row.value)
        ax.annotate(frame.attrs["say"](row.value), (end, place), (4, 0), textcoords="offset points", va="center",
                    fontsize=9, **outlined())  # fmt: skip
    for number, (value, text) in enumerate(frame.attrs["marks"]):
        ax.axvline(value, color=PALETTE[1], linewidth=1.4, linestyle=("-", "--", ":")[number % 3], label=text)
    ax.set_yticks(range(len(frame)), list(frame["label"]))
    ax.set_ylim(len(frame) - 0.5, -0.6)
    ax.margins(x=0.14)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(frame.attrs["x"])
    if frame.attrs["marks"]:
        ax.figure.legend(loc="outside lower center", ncols=1, fontsize=9)
    return None


def heat_map(frame: DataFrame, axes: Sequence[Axes]) -> None:
    """Draw a cell for each x and y with its figure, and a border around those that pay. Columns: x, y, value, pays."""
    import numpy as np

    ax = axes[0]
    if frame.empty:
        return _nothing(ax)
    xs, ys = sorted(set(frame["x"])), list(dict.fromkeys(frame["y"]))
    values, pays = np.full((len(ys), len(xs)), np.nan), np.zeros((len(ys), len(xs)), dtype=bool)
    for row in frame.itertuples():
        at = ys.index(row.y), xs.index(row.x)
        values[at], pays[at] = row.value, row.pays
    widest = max(abs(np.log(frame["value"])).max(), 0.1)
    ax.imshow(np.log(values), cmap="PuOr", vmin=-widest, vmax=widest, aspect="auto", origin="lower", alpha=0.75)
    for row in frame.itertuples():
        at = xs.index(row.x), ys.index(row.y)
        weight = "bold" if row.pays else "normal"
        ax.text(*at, frame.attrs["say"](row.value), ha="center", va="center", fontsize=9, fontweight=weight, color=INK,
                **outlined())  # fmt: skip
    for (y, x), here in np.ndenumerate(pays):
        if x + 1 < len(xs) and here != pays[y, x + 1]:
            ax.plot([x + 0.5, x + 0.5], [y - 0.5, y + 0.5], color=INK, linewidth=2.5)
        if y + 1 < len(ys) and here != pays[y + 1, x]:
            ax.plot([x - 0.5, x + 0.5], [y + 0.5, y + 0.5], color=INK, linewidth=2.5)
    ax.set_xticks(range(len(xs)), [f"{x:,}" for x in xs])
    ax.set_yticks(range(len(ys)), ys)
    ax.grid(visible=False)
    ax.set_xlabel(frame.attrs["x"])
    ax.set_ylabel(frame.attrs["y"])
    return None
