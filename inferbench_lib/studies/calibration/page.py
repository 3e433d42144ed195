"""Say on the page of `calibration` whether this machine is quiet enough, and for which differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from inferbench_lib.report.display import Answer, Card, View
from inferbench_lib.report.look import FAINT, INK, MARKERS, PALETTE
from inferbench_lib.report.words import interval, joined, plural, seconds, share
from inferbench_lib.stats.verdict import WITHIN_RUN
from inferbench_lib.studies.calibration.false_alarms import ROW
from inferbench_lib.studies.calibration.page_tables import (
    NAMES,
    bias_interval,
    detectable_table,
    fitness,
    latest,
    percent,
    table,
)
from inferbench_lib.studies.calibration.study import BIAS_LIMITS, CalibrationStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["VIEWS", "answer", "detectable_table", "latest", "table"]


def answer(said: CalibrationStudy) -> Answer:
    """Return whether this machine is quiet enough, and for which differences."""
    alike = said.identical
    n, rate = len(alike.comparisons), alike.alarm_rate
    cards = [
        Card(value=f"{alike.n_alarms} of {n}", label="false alarms on identical variants",
             interval=interval(rate.low, rate.high, share)),
        Card(value=seconds(said.overhead["timer_pair_ns"] / 1e9), label="for reading the timer twice",
             interval=f"smallest step {seconds(said.overhead['timer_step_ns'] / 1e9)}"),
    ]  # fmt: skip
    if (ratio := alike.detectable_ratio) is not None:
        label = f"smallest slowdown found in {alike.n_rounds} rounds"
        cards.insert(0, Card(value=percent(ratio - 1), label=label, interval="with 80 % chance"))
    if bias := said.biases.get("50us"):
        label = f"bias at {seconds(bias.duration_s)}"
        cards.append(Card(value=percent(bias.relative.value), label=label, interval=bias_interval(bias)))
    flags = {flag.name: flag.text for cell in said.run.measurements for flag in cell.flags}
    return Answer(
        verdict=fitness(alike.detectable_ratio, alike.n_alarms, n),
        cards=tuple(cards),
        flags=(*flags.values(), *said.failures),
    )


def bias_by_duration(said: CalibrationStudy) -> View:
    """Return the figure of how far the loop reads from a known time."""
    rows: list[dict[str, Any]] = []
    for kind, biases in (("blocks of calls", said.biases), ("single calls", said.single_biases)):
        for label, bias in biases.items():
            p5, p95 = (100 * (float(end) - 1) for end in np.quantile(bias.ratios, [0.05, 0.95]))
            low, high = (None if end is None else 100 * end for end in (bias.relative.low, bias.relative.high))
            rows.append({"label": seconds(bias.duration_s), "kind": kind, "value": 100 * bias.relative.value,
                         "low": low, "high": high, "p5": p5, "p95": p95,
                         "limit": 100 * BIAS_LIMITS[label]})  # fmt: skip
    frame = pd.DataFrame(rows).astype({"low": float, "high": float})
    frame.attrs = {"x": "true duration of a call", "y": "measured above true (%)"}
    spoken = joined(
        f"{percent(bias.relative.value)} at {seconds(bias.duration_s)} ({plural(bias.calls_per_sample, 'call')} per "
        "sample)"
        for bias in said.biases.values()
    )
    single = joined(
        f"{percent(bias.relative.value)} at {seconds(bias.duration_s)}" for bias in said.single_biases.values()
    )
    return View(
        name="bias_by_duration",
        frame=frame,
        draw=_draw_biases,
        alt="How far the loop reads from spins of known length, with 95 % intervals.",
        reading=f"The median reads above the true time by {spoken}. With one call per sample, it is {single}.",
    )


def identical_ratios(said: CalibrationStudy) -> View:
    """Return the figure of the ratios of identical variants, false alarms marked."""
    alike = said.identical
    rows = [
        {"label": NAMES.get(one.workload, one.workload), "value": one.ratio.value, "low": one.ratio.low,
         "high": one.ratio.high, "alarm": one.ratio.is_difference}
        for one in sorted(alike.comparisons, key=lambda one: one.ratio.value)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["label", "value", "low", "high", "alarm"]).astype({"low": float, "high": float})
    frame.attrs = {"x": "comparisons, by their ratio", "y": "time of one over time of the other", "band": WITHIN_RUN}
    n, rate = len(alike.comparisons), alike.alarm_rate
    shared = (
        "no two of them share a call" if alike.n_pairings <= 1 else f"each call serves in {alike.n_pairings} of them"
    )
    reading = (
        f"{n} comparisons of {alike.n_rounds} rounds each, from {plural(alike.n_blocks, 'block')} of rounds; {shared}. "
        f"Called different: {alike.n_alarms} ({interval(rate.low, rate.high, share)} of comparisons); without a "
        f"verdict: {alike.n_withheld}. A t-test takes calls for independent. It calls {alike.naive_alarms} different "
        f"on these interleaved calls, but {alike.naive_alarms_in_a_row} of {len(alike.p_values_in_a_row)} when each "
        f"variant makes {ROW} calls in a row."
    )
    return View(
        name="identical_ratios",
        frame=frame,
        draw=_draw_ratios,
        alt=f"Ratios of identical variants with 95 % intervals around 1: {alike.n_alarms} of {n} are called different.",
        reading=reading,
        size_inches=(9.2, 3.6),
        grid=(1, max(1, frame["label"].nunique())),
    )


def _draw_biases(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    ax = axes[0]
    labels = list(dict.fromkeys(frame["label"]))
    limits = frame.groupby("label", sort=False)["limit"].first()
    for place, limit in enumerate(limits[labels]):
        ax.fill_between([place - 0.4, place + 0.4], -limit, limit, color=PALETTE[2], alpha=0.15, linewidth=0)
    for number, kind in enumerate(dict.fromkeys(frame["kind"])):
        rows = frame[frame["kind"] == kind]
        colour, shift = PALETTE[number], 0.24 * number - 0.12
        for row in rows.itertuples():
            at = labels.index(row.label) + shift
            ax.plot([at, at], [row.p5, row.p95], color=colour, linewidth=1)
            ax.plot([at, at], [row.low, row.high], color=colour, linewidth=5, alpha=0.5, solid_capstyle="butt")
        ax.plot(
            [labels.index(label) + shift for label in rows["label"]],
            rows["value"],
            MARKERS[number],
            color=colour,
            label=kind,
        )
    ax.axhline(0, color=INK, linewidth=1)
    ax.set_xticks(range(len(labels)), labels)
    ax.grid(axis="x", visible=False)
    ax.set_xlabel(frame.attrs["x"])
    ax.set_ylabel(frame.attrs["y"])
    ax.legend(fontsize=8.5)


def _draw_ratios(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    for ax, (label, rows) in zip(axes, frame.groupby("label", sort=False), strict=False):
        places = list(range(1, len(rows) + 1))
        ax.axhspan(frame.attrs["band"].low, frame.attrs["band"].high, color=PALETTE[2], alpha=0.2, linewidth=0)
        ax.vlines(places, rows["low"], rows["high"], color=FAINT, linewidth=1)
        ax.plot(places, rows["value"], "o", color=PALETTE[0], markersize=3)
        alarms = [(place, row.value) for place, row in zip(places, rows.itertuples(), strict=True) if row.alarm]
        if alarms:
            ax.plot(*zip(*alarms, strict=True), "X", color=PALETTE[1], markersize=8, label="false alarm")
            ax.legend(fontsize=8.5, loc="upper left")
        ax.set_title(str(label))
        ax.set_xlabel(frame.attrs["x"])
    axes[0].set_ylabel(frame.attrs["y"])


VIEWS = (bias_by_duration, identical_ratios)
