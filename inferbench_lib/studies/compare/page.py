"""The page of `compare`: what changed from one run to another, how sure that is, and what must not be compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from inferbench_lib.records import Interval, Verdict
from inferbench_lib.report.display import Answer, Card, View
from inferbench_lib.report.look import FAINT, INK, PALETTE
from inferbench_lib.report.words import capital, interval, joined, plural, ratio, times
from inferbench_lib.stats.unpaired import MIN_EFFECT
from inferbench_lib.studies.compare.changes import Change, NotebookPair, PairStudy, may_differ
from inferbench_lib.studies.compare.study import SAME, CompareStudy, verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 24
"""Cells in the figure; of more, those that changed most."""
MOST_NAMED = 3


def label(change: Change) -> str:
    """A change's name, without the precision that most cells have."""
    return change.name.removesuffix(" · fp32")


def answer(said: CompareStudy) -> Answer:
    """What changed, by how much, and how sure."""
    if not said.pairs:
        return Answer(verdict="Nothing to compare: it takes two stored runs of one profile, or the names of two runs.")
    sentences = [f"{_subject(said, pair)}{_sentence(pair)}" for pair in said.pairs]
    return Answer(
        verdict=" ".join(sentences),
        cards=_cards(said.pairs[0]),
        flags=tuple(f"{_subject(said, pair)}{flag}" for pair in said.pairs for flag in _flags(pair)),
    )


def _subject(said: CompareStudy, pair: PairStudy) -> str:
    """Which of several runs a sentence is about."""
    return f"{pair.head}: " if len(said.pairs) > 1 else ""


def _sentence(pair: PairStudy) -> str:
    judged = [change for change in pair.changes if change.is_judged]
    if not judged:
        whys = joined(dict.fromkeys(f"{one.notebook}: {one.refused}" for one in pair.notebooks if one.refused))
        return f"Nothing could be compared{f' ({whys})' if whys else ''}."
    claimed = sorted((one for one in judged if one.is_claimed), key=lambda one: -abs(math.log(one.ratio.value)))
    counted = plural(len(judged), "cell or figure", "cells and figures")
    where = "" if pair.same_machine else " on another machine"
    withheld = sum(one.ratio.verdict is Verdict.UNSTABLE for one in judged)
    unsure = (
        f" {plural(withheld, 'difference is', 'differences are')} withheld: a run was disturbed." if withheld else ""
    )
    if not claimed:
        return (
            f"No significant difference{where}: none of {counted} is shown to have changed.{unsure} "
            f"A difference counts from {100 * may_differ('s'):.1f} %: two runs of the same program may differ by that."
        )
    named = joined(f"{label(one)} {verdict(one)}, {ratio(one.ratio)}" for one in claimed[:MOST_NAMED])
    more = f", and {len(claimed) - MOST_NAMED} more" if len(claimed) > MOST_NAMED else ""
    return f"{len(claimed)} of {counted} changed{where}: {named}{more}.{unsure}"


def _cards(pair: PairStudy) -> tuple[Card, ...]:
    judged = [change for change in pair.changes if change.is_judged]
    cards = []
    if judged:
        same = sum(change.ratio.verdict is Verdict.INDISTINGUISHABLE for change in judged)
        changed = sum(change.is_claimed for change in judged)
        cards.append(Card(value=f"{same} of {len(judged)}", label=f"with {SAME}", interval=f"changed: {changed}"))
    measured = [change for change in judged if change.ratio.low is not None]
    if measured:
        most = max(measured, key=lambda change: (change.is_claimed, abs(math.log(change.ratio.value))))
        what = "the largest change" if most.is_claimed else "the largest ratio, not shown to be more than chance"
        cards.append(
            Card(
                value=times(most.ratio.value),
                label=f"{what}: {label(most)}",
                interval=interval(most.ratio.low, most.ratio.high, times),
            )
        )
    if control := _control(pair):
        cards.append(
            Card(
                value=times(control.value),
                label="speed of the fixed control work, HEAD over BASE",
                interval=interval(control.low, control.high, times),
            )
        )
    return tuple(cards)


def _control(pair: PairStudy) -> Interval | None:
    """Of the notebooks' control ratios the one that is farthest from 1."""
    known = [one.control for one in pair.notebooks if one.control is not None]
    return max(known, key=lambda one: abs(math.log(one.value)), default=None)


def _flags(pair: PairStudy) -> Iterable[str]:
    for one in pair.notebooks:
        if one.refused:
            yield f"{one.notebook} is not compared: {one.refused}."
    if not pair.same_machine:
        yield "The runs are of different machines: what follows compares machines, not versions of anything."
    widest = max((one.zone for one in pair.notebooks), key=lambda zone: zone[1] / zone[0], default=(1.0, 1.0))
    if pair.same_machine and widest[1] / widest[0] > 1.001 * (1 + MIN_EFFECT) ** 2:
        yield (
            f"The machine's own speed changed between the runs: ratios of times between {times(widest[0])} and "
            f"{times(widest[1])} are no difference here."
        )


def ratios(said: CompareStudy) -> View:
    """Which cells changed?"""
    rows = [_row(said, pair, one, change) for pair in said.pairs for one in pair.notebooks for change in one.changes]
    known = sorted((row for row in rows if row), key=lambda row: -abs(math.log(row["value"])))
    kept = {id(row) for row in known[:MOST_ROWS]}
    columns = ["label", "value", "low", "high", "widest_low", "widest_high", "zone_low", "zone_high", "verdict"]
    frame = pd.DataFrame([row for row in rows if row and id(row) in kept], columns=columns)
    frame.attrs = {"x": "speed of HEAD over BASE (right of 1 is faster)"}
    counts = frame["verdict"].value_counts()
    told = joined(f"{count} {name}" for name, count in counts.items()) or "no cell could be compared"
    more = f" Shown are the {MOST_ROWS} of {len(known)} cells that changed most." if len(known) > MOST_ROWS else ""
    if len(said.pairs) > 1:
        more += f" {capital(joined(f'HEAD {n} is {pair.head}' for n, pair in enumerate(said.pairs, start=1)))}."
    return View(
        name="compared_ratios",
        frame=frame,
        draw=_draw,
        alt=f"Speed of HEAD over BASE for each cell, with its 95 % interval and the wider one that decides. {told}.",
        reading=f"Of the cells in the figure: {told}.{more} The thick bar is the 95 % interval, the thin one the wider "
        "interval that decides, the shaded band what counts as no difference.",
        size_inches=(7.4, 1.2 + 0.4 * max(3, len(frame))),
        mark=said.run.mark,
    )


def _row(said: CompareStudy, pair: PairStudy, of: NotebookPair, change: Change) -> dict[str, Any] | None:
    if not change.is_cell or not change.is_judged or change.guarded is None:
        return None
    return {
        "label": f"{label(change)}{f' · HEAD {said.pairs.index(pair) + 1}' if len(said.pairs) > 1 else ''}",
        "value": change.ratio.value,
        "low": change.ratio.low,
        "high": change.ratio.high,
        "widest_low": change.guarded.low,
        "widest_high": change.guarded.high,
        "zone_low": of.zone[0],
        "zone_high": of.zone[1],
        "verdict": verdict(change),
    }


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
        ax.fill_betweenx([place - 0.5, place + 0.5], row.zone_low, row.zone_high, color=FAINT, alpha=0.15, linewidth=0)
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
    """Ratios as plain numbers, as many as fit; far apart ones by factors."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(MaxNLocator(6) if high < 3 * low else LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))


VIEWS = (ratios,)
