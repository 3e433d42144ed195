"""Drawings of the hardware page: rooflines, times beside their limits, predictions, bandwidth, growth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from inferbench_lib.report.look import (
    FAINT,
    INK,
    LINE_NAME,
    MARKERS,
    PALETTE,
    doubling_axis,
    is_narrow,
    outlined,
    plain_ticks,
)
from inferbench_lib.report.words import size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OPERATIONS = {"read": (PALETTE[0], "o", "-"), "triad": (PALETTE[1], "s", "--")}
"""Colour, marker and dashes of the operations that count as memory bandwidth; others are faint."""
CROWDED = 3
"""Points whose intensities differ by less than this factor have their names on either side, or share one."""

DataFrame = Any  # pandas' DataFrame: its rows have no types to check


def roofs(frame: DataFrame, axes: Sequence[Axes]) -> None:
    """Draw points under the measured limits. Columns: label, group, intensity, flops_per_s; attrs: peak, levels."""
    import numpy as np
    from matplotlib.ticker import LogLocator, NullLocator

    ax, peak = axes[0], frame.attrs["peak"]
    slowest = min(rate for rate, _ in frame.attrs["levels"])
    low = float(frame["intensity"].min()) / 4
    high = max(float(frame["intensity"].max()), peak / slowest) * 6
    reach = np.geomspace(low, high, 200)
    for number, (rate, text) in enumerate(frame.attrs["levels"]):
        line = ("-", "--", "-.", ":")[number % 4]
        ax.plot(reach, np.minimum(peak, reach * rate) / 1e9, color=INK, linewidth=1.6, linestyle=line, label=text)
    ax.axhline(peak / 1e9, color=FAINT, linewidth=0.8, label=frame.attrs["peak_says"])
    drawn: list[Any] = []
    looks = zip(cycle(PALETTE), cycle(MARKERS), cycle((-15, 8)))
    for (group, rows), (colour, marker, height) in zip(frame.groupby("group", sort=False), looks, strict=False):
        ax.plot(rows["intensity"], rows["flops_per_s"] / 1e9, marker, color=colour, markersize=7, label=group)
        ordered = rows.sort_values("intensity")
        ordered["next"] = ordered["intensity"].shift(-1)
        for row in ordered.itertuples():
            drawn.append(row)
            if any(_are_near(row, other) for other in drawn[:-1]):
                continue
            is_crowded = row.intensity < row.next < CROWDED * row.intensity
            ax.annotate(
                row.label, (row.intensity, row.flops_per_s / 1e9), (-4 if is_crowded else 7, height),
                textcoords="offset points", fontsize=9, color=colour, ha="right" if is_crowded else "left",
                **outlined(),
            )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel=frame.attrs["x"], ylabel=frame.attrs["y"])
    for axis in (ax.xaxis, ax.yaxis):  # a tick per power of ten
        axis.set_major_locator(LogLocator(numticks=20))
        axis.set_major_formatter("{x:,g}")
        axis.set_minor_locator(NullLocator())
    ax.margins(y=0.1)
    _legend_below(ax)


def _are_near(one: Any, other: Any) -> bool:
    """Return whether two points of one name lie close enough to share its text."""
    across, up = one.intensity / other.intensity, one.flops_per_s / other.flops_per_s
    return bool(one.label == other.label and 1 / CROWDED < across < CROWDED and 1 / CROWDED**2 < up < CROWDED**2)


def _legend_below(ax: Axes) -> None:
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    n_columns = 1 if is_narrow(ax) else 2
    ax.figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=n_columns, fontsize=9)


def _name_rows(ax: Axes, frame: DataFrame) -> None:
    """Name each row, the first at the top."""
    ax.set_yticks(range(len(frame)), list(frame["label"]))
    ax.set_ylim(len(frame) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(frame.attrs["x"])
    _legend_below(ax)


def times_and_roofs(frame: DataFrame, axes: Sequence[Axes]) -> None:
    """Draw a bar per label with its interval, the limit in black. Columns: label, value, low, high, roof, bound."""
    ax, bounds = axes[0], list(dict.fromkeys(frame["bound"]))
    looks = dict(zip(bounds, zip(("", "//", "..", "\\\\", "xx", "--"), PALETTE, strict=False), strict=False))
    for place, row in enumerate(frame.itertuples()):
        hatch, colour = looks[row.bound]
        ax.barh(place, row.value, height=0.62, color=colour, alpha=0.75, label=f"limited by {row.bound}", hatch=hatch,
                edgecolor="white")  # fmt: skip
        ax.barh(place, min(row.roof, row.value), height=0.2, color=INK)
        ax.plot([row.low, row.high], [place, place], color=INK, linewidth=1.2, marker="|", markersize=6)
    _name_rows(ax, frame)


def predictions(frame: DataFrame, axes: Sequence[Axes]) -> None:
    """Draw measured gains with their intervals beside the predicted ones, and the tolerance.

    Columns: label, predicted, value, low, high; attrs: within.
    """
    ax, within = axes[0], frame.attrs["within"]
    for place, row in enumerate(frame.itertuples()):
        near, text = (row.value * (1 - within), row.value * (1 + within)), f"within {100 * within:.0f} % of it"
        ax.plot(near, [place, place], color=PALETTE[0], alpha=0.25, linewidth=11, solid_capstyle="butt", label=text)
        ax.plot(row.value, place, "o", color=PALETTE[0], markersize=7, label="measured, 95 %")
        ax.plot([row.low, row.high], [place, place], color=PALETTE[0], linewidth=2)
        ax.plot(row.predicted, place, "D", color=PALETTE[1], markersize=7, fillstyle="none", markeredgewidth=1.8,
                label="predicted (MODEL)")  # fmt: skip
    ax.axvline(1, color=INK, linewidth=1, linestyle="--")
    ax.set_xscale("log", base=2)
    plain_ticks(ax.xaxis)
    _name_rows(ax, frame)


def bandwidth(frame: DataFrame, axes: Sequence[Axes]) -> None:
    """Draw a panel per number of threads, a named line per operation, and faint lines between the caches.

    Columns: panel, label, x (bytes), y, level, mark (rings a point).
    """
    for ax, (panel, rows) in zip(axes, frame.groupby("panel", sort=False), strict=True):
        for name, line in rows.groupby("label", sort=False):
            colour, marker, dashes = OPERATIONS.get(name, (FAINT, "^", ":"))
            ax.plot(line["x"], line["y"], dashes, color=colour, marker=marker, markersize=5)
            best = line[line["mark"]]
            ax.plot(best["x"], best["y"], "o", markersize=13, markerfacecolor="none", markeredgecolor=INK, mew=1.6)
            ax.annotate(name, (line["x"].iloc[-1], line["y"].iloc[-1]), (11, 0), textcoords="offset points",
                        color=colour, fontsize=9, va="center", gid=LINE_NAME, **outlined())  # fmt: skip
        ax.set_yscale("log")
        ax.set_ylim(0.7 * frame["y"].min(), 1.8 * frame["y"].max())
        plain_ticks(ax.yaxis)
        sets = rows.drop_duplicates("x")
        doubling_axis(ax, list(sets["x"]), frame.attrs["x"])
        ax.set_xticklabels([size(x) for x in sets["x"]])
        _levels(ax, sets)
        ax.margins(x=0.04)
        ax.set_title(panel)
    axes[0].set_ylabel(frame.attrs["y"])


def _levels(ax: Axes, sets: DataFrame) -> None:
    """Write the caches above the working sets that they hold, with a line where the next begins."""
    for row in sets.assign(before=sets["x"].shift()).drop_duplicates("level").itertuples():
        if row.before > 0:  # the first one has none before it
            ax.axvline((row.before * row.x) ** 0.5, color=FAINT, linewidth=0.8, linestyle=":")
        ax.annotate(row.level, (row.x, 1), (-7, -2), ("data", "axes fraction"), "offset points", fontsize=9,
                    color=FAINT, va="top")  # fmt: skip


def growth(frame: DataFrame, axes: Sequence[Axes]) -> None:
    """Draw points with intervals and the fitted line of each kind of input. Columns: label, x, value, low, high, fit.

    Sizes and times are over the smallest size's.
    """
    ax, most = axes[0], min(frame["x"].max(), frame["value"].max())
    ax.plot([1, most], [1, most], color=FAINT, linewidth=1, linestyle=":", label="proportional")
    looks = zip(PALETTE, MARKERS, strict=True)
    for (label, rows), (colour, marker) in zip(frame.groupby("label", sort=False), looks, strict=False):
        ax.plot(rows["x"], rows["fit"], color=colour, linewidth=1.3, linestyle="--")
        ax.vlines(rows["x"], rows["low"], rows["high"], color=colour, linewidth=2)
        ax.plot(rows["x"], rows["value"], marker, color=colour, markersize=6, label=label)
    ax.set(xscale="log", yscale="log", xlabel=frame.attrs["x"], ylabel=frame.attrs["y"])
    plain_ticks(ax.xaxis)
    plain_ticks(ax.yaxis)
    _legend_below(ax)
