"""Draw tidy frames on axes. Nothing here aggregates: medians and intervals are columns of the frame.

Each function names the columns that it needs. `frame.attrs` holds the axis titles with their units (`x`, `y`), the
title, and `say`, which writes a value. Missing intervals (NaN) are not drawn; an empty frame is "not measured".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from inferbench_lib.report.look import (
    INK,
    LIMIT_NAME,
    LINE_NAME,
    MARKERS,
    MOST_LETTERS_BESIDE,
    PALETTE,
    blank,
    decade_ticks,
    doubling_axis,
    is_narrow,
    outlined,
    plain_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DECADES = 100.0
"""Values that differ by a larger ratio need a logarithmic axis."""
DataFrame = Any  # pandas' own; its rows have no types to check


def _drawing(draw: Callable[..., None]) -> Callable[..., None]:
    """Decorate a function that draws on one axes with titles, and with "not measured" where the frame is empty."""

    @wraps(draw)
    def drawn(frame: DataFrame, axes: Sequence[Axes], **options: Any) -> None:
        ax = axes[0]
        ax.set_title(frame.attrs.get("title", ""))
        if frame.empty:
            blank(ax)
            return
        draw(frame, ax, **options)
        ax.set_xlabel(frame.attrs.get("x", ""))
        ax.set_ylabel(frame.attrs.get("y", ""))

    return drawn


@_drawing
def strips(frame: DataFrame, ax: Axes) -> None:
    """Draw raw points with their median and its interval, one row per label. Columns: label, kind, value, low, high.

    Rows of kind "sample" are points; one row of kind "median" per label has the interval. The axis is logarithmic where
    the values span more than `DECADES`.
    """
    labels = list(dict.fromkeys(frame["label"]))
    for place, label in enumerate(labels):
        rows = frame[frame["label"] == label]
        samples = rows.loc[rows["kind"] == "sample", "value"]
        colour = PALETTE[place % len(PALETTE)]
        offsets = [place + 0.2 + 0.14 * ((i * 0.618) % 1) for i in range(len(samples))]
        ax.plot(samples, offsets, "o", color=colour, alpha=0.7, markersize=4, markeredgewidth=0)
        for median in rows[rows["kind"] == "median"].itertuples():
            ax.plot([median.low, median.high], [place, place], color=INK, linewidth=2, solid_capstyle="butt")
            ax.plot(median.value, place, "|", color=INK, markersize=15, markeredgewidth=2.4)
            ax.annotate(
                frame.attrs["say"](median.value), (median.value, place), (0, 12), textcoords="offset points",
                ha="center", fontsize=9, fontweight="bold",
            )  # fmt: skip
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.7)
    ax.grid(axis="y", visible=False)
    least, most = float(frame["value"].min()), float(frame["value"].max())
    if most > DECADES * least > 0:
        ax.set_xscale("log")
        decade_ticks(ax.xaxis, frame.attrs["say"], most=4 if is_narrow(ax) else 8)
    else:
        ax.set_xlim(left=0, right=1.06 * most)


@_drawing
def stacks(frame: DataFrame, ax: Axes) -> None:
    """Draw one stacked bar per label. Columns: label, part, seconds.

    Parts too thin for their value are only in the legend. `frame.attrs["parts"]` lists all possible parts, so that a
    part has the same colour in every figure.
    """
    labels = list(dict.fromkeys(frame["label"]))
    ends = dict.fromkeys(labels, 0.0)
    widest = float(frame.groupby("label")["seconds"].sum().max())
    hatches = ("", "//", "", "..", "", "\\\\", "", "xx", "", "--", "", "oo")
    for number, part in enumerate(frame.attrs["parts"]):
        rows = frame[(frame["part"] == part) & (frame["seconds"] > 0)]
        if rows.empty:
            continue
        colour = PALETTE[number % len(PALETTE)]
        drawn = ax.barh(
            rows["label"].map(labels.index), rows["seconds"], left=rows["label"].map(ends), height=0.62,
            color=colour, edgecolor="white", hatch=hatches[number % len(hatches)], label=part,
        )  # fmt: skip
        thin = (0.18 if is_narrow(ax) else 0.07) * widest
        values = [frame.attrs["say"](value) if value > thin else "" for value in rows["seconds"]]
        ax.bar_label(drawn, values, label_type="center", fontsize=9, color="white" if number in (0, 1, 2, 7) else INK,
                     bbox={"boxstyle": "round,pad=0.15", "facecolor": colour, "edgecolor": "none"})  # fmt: skip
        for row in rows.itertuples():
            ends[row.label] += row.seconds
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    n_columns = 1 if is_narrow(ax) else 2
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=n_columns, fontsize=9)


@_drawing
def lines(frame: DataFrame, ax: Axes, *, log_y: bool = True) -> None:
    """Draw lines over a log₂ axis, each with its interval as a band and its name. Columns: x, y, low, high, label.

    The optional column `mark` puts a ring around a point; `frame.attrs["limit"]` is a value and its name.
    """
    labels = list(dict.fromkeys(frame["label"]))
    ends = []
    for number, label in enumerate(labels):
        rows = frame[frame["label"] == label].sort_values("x")
        colour = PALETTE[number % len(PALETTE)]
        ax.fill_between(rows["x"], rows["low"], rows["high"], color=colour, alpha=0.2, linewidth=0)
        ax.plot(rows["x"], rows["y"], color=colour, marker=MARKERS[number % len(MARKERS)], markersize=5)
        ends.append((float(rows["y"].iloc[-1]), float(rows["x"].iloc[-1]), label, colour))
        if "mark" in rows:
            best = rows[rows["mark"].astype(bool)]
            ax.plot(best["x"], best["y"], "o", markersize=13, markerfacecolor="none", markeredgecolor=colour, mew=1.8)
    doubling_axis(ax, sorted(set(frame["x"])), frame.attrs["x"])
    if log_y:
        ax.set_yscale("log")
        plain_ticks(ax.yaxis)
    else:
        ax.set_ylim(bottom=0)
    for y, x, label, colour in ends:
        where: Any = {"xytext": (7, 0), "va": "center"}
        if is_narrow(ax) and len(label) > MOST_LETTERS_BESIDE and x == frame["x"].max():
            is_highest = y == max(other for other, at, *_ in ends if at == x)
            where = {"xytext": (4, 8 if is_highest else -15), "ha": "right"}
        ax.annotate(label, (x, y), textcoords="offset points", color=colour, fontsize=9, gid=LINE_NAME, **where,
                    **outlined())  # fmt: skip
    if limit := frame.attrs.get("limit"):
        value, text = limit
        ax.axhline(value, color=INK, linestyle="--", linewidth=1)
        at_left = ax.get_yaxis_transform()  # the y of the data, the x of the axes
        ax.annotate(text, (0, value), (4, 4), at_left, "offset points", fontsize=9, gid=LIMIT_NAME, **outlined())
    ax.margins(x=0.04)


@_drawing
def bars(frame: DataFrame, ax: Axes) -> None:
    """Draw bars with their values and intervals, grouped by `group`. Columns: label, group, value, low, high."""
    labels, groups = list(dict.fromkeys(frame["label"])), list(dict.fromkeys(frame["group"]))
    width = 0.8 / len(groups)
    for number, group in enumerate(groups):
        rows = frame[frame["group"] == group]
        places = rows["label"].map(labels.index) + (number - (len(groups) - 1) / 2) * width
        ax.bar(places, rows["value"], width * 0.92, color=PALETTE[number % len(PALETTE)], label=group,
               hatch=("", "//", "..", "\\\\")[number % 4], edgecolor="white")  # fmt: skip
        ax.vlines(places, rows["low"], rows["high"], color=INK, linewidth=1.5)
        for place, value, top in zip(places, rows["value"], rows["high"].fillna(rows["value"]), strict=True):
            ax.annotate(frame.attrs["say"](value), (place, top), (0, 3), textcoords="offset points", ha="center",
                        fontsize=9)  # fmt: skip
    ax.set_xticks(range(len(labels)), labels)
    ax.grid(axis="x", visible=False)
    ax.margins(y=0.15)
    if len(groups) > 1:
        ax.legend(fontsize=9)


@_drawing
def boxes(frame: DataFrame, ax: Axes) -> None:
    """Draw box plots with every sample. Columns: label, value."""
    import seaborn

    colours = {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(dict.fromkeys(frame["label"]))}
    look = {"data": frame, "x": "label", "y": "value", "hue": "label", "palette": colours, "ax": ax, "legend": False}
    # seaborn gives matplotlib `vert`, which that has deprecated; None takes it back.
    seaborn.boxplot(**look, width=0.55, showfliers=False, fill=False, linewidth=1.4, vert=None)
    seaborn.stripplot(**look, size=3, alpha=0.45)
    ax.tick_params(axis="x", labelsize=9 if is_narrow(ax) else 8)
    ax.set_yscale("log")
    plain_ticks(ax.yaxis)
    ax.grid(axis="x", visible=False)


@_drawing
def ranges(frame: DataFrame, ax: Axes) -> None:
    """Draw one band per label on a log axis. Columns: label, low, high.

    `frame.attrs["here"]` is a measured value and its name.
    """
    for place, row in enumerate(frame.itertuples()):
        ax.plot([row.low, row.high], [place, place], color=PALETTE[0], linewidth=7, alpha=0.55, solid_capstyle="butt")
    ax.set_yticks(range(len(frame)), list(frame["label"]))
    ax.set_xscale("log")
    plain_ticks(ax.xaxis)
    if here := frame.attrs.get("here"):
        value, text = here
        ax.axvline(value, color=PALETTE[1], linewidth=1.6)
        ax.annotate(text, (value, len(frame) - 0.4), (5, 0), textcoords="offset points", color=PALETTE[1], fontsize=9)
    ax.set_ylim(-0.7, len(frame) + 0.1)
    ax.grid(axis="y", visible=False)


@_drawing
def heat_map(frame: DataFrame, ax: Axes) -> None:
    """Draw ratios as a grid on a logarithmic scale of colours, 1 in white. Columns: label, batch, gain."""
    import numpy as np
    import seaborn
    from matplotlib.colors import LogNorm

    labels, batches = list(dict.fromkeys(frame["label"])), sorted(set(frame["batch"]))
    grid = frame.pivot_table("gain", "label", "batch", aggfunc="max").reindex(index=labels, columns=batches)
    far = max(2.0, float(np.nanmax(np.exp(np.abs(np.log(grid.to_numpy(dtype=float)))))))
    texts = grid.map(lambda value: "" if np.isnan(value) else frame.attrs["say"](value))
    seaborn.heatmap(
        grid, ax=ax, annot=texts, fmt="", cmap="PuOr", norm=LogNorm(1 / far, far), cbar=False, linewidths=1,
        annot_kws={"fontsize": 9},
    )  # fmt: skip
    ax.set_xticklabels([f"{n:,}" for n in batches])
    ax.tick_params(axis="y", rotation=0)
