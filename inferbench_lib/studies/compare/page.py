"""Say on the page of `compare` what changed from one run to another, how sure that is, and what is not compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from inferbench_lib.findings import Interval, Verdict
from inferbench_lib.report.display import Answer, Card, View
from inferbench_lib.report.look import FAINT, INK, PALETTE
from inferbench_lib.report.words import capital, interval, joined, plural, ratio, times
from inferbench_lib.stats.verdict import between_runs
from inferbench_lib.studies.compare.pairing import Change
from inferbench_lib.studies.compare.study import SAME, CompareStudy, RunComparison, verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 24
"""Cells in the figure; of more, those that changed most."""
MOST_NAMED = 3


def label(change: Change) -> str:
    """Return a change's name, without the precision that most cells have."""
    return change.name.removesuffix(" · fp32")


def control(pair: RunComparison) -> Interval | None:
    """Return the control ratio of the notebooks that is farthest from 1, None without any."""
    known = [one.control for one in pair.notebooks if one.control is not None]
    return max(known, key=lambda one: abs(math.log(one.value)), default=None)


def answer(said: CompareStudy) -> Answer:
    """Return what changed, by how much, and how sure that is."""
    if not said.pairs:
        return Answer(verdict="Nothing to compare: it takes two stored runs of one profile, or the names of two runs.")
    return Answer(
        verdict=" ".join(f"{_subject(said, pair)}{_sentence(pair)}" for pair in said.pairs),
        cards=tuple(_cards(said.pairs[0])),
        flags=tuple(f"{_subject(said, pair)}{flag}" for pair in said.pairs for flag in _flags(pair)),
    )


def _subject(said: CompareStudy, pair: RunComparison) -> str:
    """Return which of several runs a sentence is about."""
    return f"{pair.head}: " if len(said.pairs) > 1 else ""


def _sentence(pair: RunComparison) -> str:
    judged = [change for change in pair.changes if change.ratio.is_judged]
    if not judged:
        whys = joined(dict.fromkeys(f"{one.notebook}: {one.refused}" for one in pair.notebooks if one.refused))
        return f"Nothing could be compared{f' ({whys})' if whys else ''}."
    found = sorted((one for one in judged if one.ratio.is_difference), key=lambda one: -abs(math.log(one.ratio.value)))
    counted = plural(len(judged), "cell or figure", "cells and figures")
    where = "" if pair.same_machine else " on another machine"
    withheld = sum(one.ratio.verdict is Verdict.UNSTABLE for one in judged)
    unsure = f" {plural(withheld, 'difference')} withheld: a run was disturbed." if withheld else ""
    if not found:
        return (
            f"No significant difference{where} in {counted}.{unsure} Two runs share no rounds, so only differences "
            f"above {100 * between_runs('s').scatter:.1f} % (the spread between processes) are reported."
        )
    named = joined(f"{label(one)} {verdict(one)}, {ratio(one.ratio)}" for one in found[:MOST_NAMED])
    more = f", and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"{len(found)} of {counted} changed{where}: {named}{more}.{unsure}"


def _cards(pair: RunComparison) -> Iterator[Card]:
    judged = [change for change in pair.changes if change.ratio.is_judged]
    if judged:
        same = sum(change.ratio.verdict is Verdict.INDISTINGUISHABLE for change in judged)
        changed = sum(change.ratio.is_difference for change in judged)
        yield Card(value=f"{same} of {len(judged)}", label=f"with {SAME}", interval=f"changed: {changed}")
    if measured := [change for change in judged if change.ratio.low is not None]:
        most = max(measured, key=lambda change: (change.ratio.is_difference, abs(math.log(change.ratio.value))))
        what = "the largest change" if most.ratio.is_difference else "the largest ratio, not significant"
        yield Card(
            value=times(most.ratio.value),
            label=f"{what}: {label(most)}",
            interval=interval(most.ratio.low, most.ratio.high, times),
        )
    if speed := control(pair):
        yield Card(
            value=times(speed.value),
            label="speed of the fixed control work, HEAD over BASE",
            interval=interval(speed.low, speed.high, times),
        )


def _flags(pair: RunComparison) -> Iterator[str]:
    for one in pair.notebooks:
        if one.refused:
            yield f"{one.notebook} is not compared: {one.refused}."
    if not pair.same_machine:
        yield "The runs are of different machines: this page compares machines, not versions of a program."
        return
    widest = max((one.tolerance for one in pair.notebooks), key=lambda one: one.high / one.low, default=None)
    if widest and widest.high / widest.low > 1.001 * (1 + widest.min_effect) ** 2:
        yield (
            "The machine's own speed changed between the runs: ratios of times from "
            f"{times(widest.low)} to {times(widest.high)} count as no difference here."
        )


def ratios(said: CompareStudy) -> View:
    """Return the figure of the ratio of each cell, or of those that changed most."""
    rows = [
        {
            "label": f"{label(change)}{f' · HEAD {number}' if len(said.pairs) > 1 else ''}",
            "value": change.ratio.value,
            "low": change.ratio.low,
            "high": change.ratio.high,
            "widest_low": change.deciding.low,
            "widest_high": change.deciding.high,
            "tolerance_low": one.tolerance.low,
            "tolerance_high": one.tolerance.high,
            "verdict": verdict(change),
        }
        for number, pair in enumerate(said.pairs, start=1)
        for one in pair.notebooks
        for change in one.changes
        if change.is_cell and change.ratio.is_judged and change.deciding is not None
    ]
    columns = ["label", "value", "low", "high", "widest_low", "widest_high", "tolerance_low", "tolerance_high"]
    frame = pd.DataFrame(rows, columns=[*columns, "verdict"])
    distance = frame["value"].astype(float).map(math.log).abs()
    frame = frame.loc[distance.nlargest(MOST_ROWS).index.sort_values()].reset_index(drop=True)
    frame.attrs = {"x": "speed of HEAD over BASE (right of 1 is faster)"}
    counts = frame["verdict"].value_counts()
    told = joined(f"{count} {name}" for name, count in counts.items()) or "no cell could be compared"
    more = f" Shown are the {MOST_ROWS} of {len(rows)} cells that changed most." if len(rows) > MOST_ROWS else ""
    if len(said.pairs) > 1:
        more += f" {capital(joined(f'HEAD {n} is {pair.head}' for n, pair in enumerate(said.pairs, start=1)))}."
    return View(
        name="compared_ratios",
        frame=frame,
        draw=_draw,
        alt=f"Speed of HEAD over BASE for each cell, with its 95 % interval. {told}.",
        reading=f"Cells in the figure: {told}.{more} The thick bar is the 95 % interval, the thin bar the wider "
        "interval that decides. Ratios in the shaded band count as no difference.",
        size_inches=(7.4, 1.2 + 0.4 * max(3, len(frame))),
        mark=said.run.mark,
    )


def _draw(frame: Any, axes: Sequence[Axes]) -> None:
    ax = axes[0]
    if frame.empty:
        ax.axis("off")
        ax.text(0.5, 0.5, "nothing to compare", transform=ax.transAxes, ha="center", va="center", color=FAINT)
        return
    looks = {
        "faster": ("^", PALETTE[2]),
        "slower": ("v", PALETTE[1]),
        "unstable": ("X", FAINT),
        SAME: ("o", PALETTE[0]),
    }
    for place, row in enumerate(frame.itertuples()):
        marker, colour = looks[row.verdict]
        ax.fill_betweenx(
            [place - 0.5, place + 0.5], row.tolerance_low, row.tolerance_high, color=FAINT, alpha=0.15, linewidth=0
        )
        ax.plot([row.widest_low, row.widest_high], [place, place], color=colour, linewidth=1)
        ax.plot([row.low, row.high], [place, place], color=colour, linewidth=4, alpha=0.55, solid_capstyle="butt")
        ax.plot(row.value, place, marker, color=colour, markersize=7)
        if row.verdict != SAME:
            ax.annotate(f"{times(row.value)} {row.verdict}", (row.value, place), (0, 7), textcoords="offset points",
                        ha="center", fontsize=8, color=INK)  # fmt: skip
    ax.axvline(1, color=INK, linewidth=1)
    ax.set_yticks(range(len(frame)), list(frame["label"]), fontsize=8)
    ax.set_ylim(len(frame) - 0.4, -0.8)
    ax.set_xscale("log")
    _ratio_ticks(ax)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(frame.attrs["x"])


def _ratio_ticks(ax: Axes) -> None:
    """Write ratios as plain numbers, as many as fit; over a wide range by factors."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(MaxNLocator(6) if high < 3 * low else LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))


VIEWS = (ratios,)
