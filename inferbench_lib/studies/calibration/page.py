"""The page of `calibration`: is this machine quiet enough, for what, and how true are the clock and the intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from inferbench_lib.report.display import Answer, Card, View
from inferbench_lib.report.look import FAINT, INK, MARKERS, PALETTE
from inferbench_lib.report.words import digits, interval, joined, plural, seconds, share
from inferbench_lib.stats.comparison import MIN_EFFECT
from inferbench_lib.studies.calibration.identical import ROW
from inferbench_lib.studies.calibration.page_tables import (
    NAMES,
    bias_interval,
    detectable_table,
    latest,
    percent,
    table,
)
from inferbench_lib.studies.calibration.simulation import NOISE
from inferbench_lib.studies.calibration.study import (
    ALARM_LIMIT,
    BIAS_LIMITS,
    COVERAGE_BAND,
    PROMISED,
    SLOWDOWN,
    CalibrationStudy,
    study,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUIET = 1.05
"""A machine that can tell a slowdown of 5 % apart is called quiet enough: what an optimisation worth having gains."""

__all__ = ["VIEWS", "answer", "detectable_table", "latest", "study", "table"]


def answer(said: CalibrationStudy) -> Answer:
    """Is this machine quiet enough, and for what."""
    alike = said.identical
    n = len(alike.comparisons)
    cards = [
        Card(value=f"{alike.n_alarms} of {n}", label="false alarms on identical variants",
             interval=f"a t-test on the same calls: {alike.naive_alarms}"),
        Card(value=seconds(said.overhead["timer_pair_ns"] / 1e9), label="for reading the timer twice",
             interval=f"smallest step {seconds(said.overhead['timer_step_ns'] / 1e9)}"),
    ]  # fmt: skip
    if (ratio := alike.detectable_ratio) is not None:
        label = f"smallest slowdown found in {alike.n_rounds} rounds"
        cards.insert(0, Card(value=percent(ratio - 1), label=label, interval="with 80 % chance"))
    cards += [
        Card(
            value=percent(bias.relative.value),
            label=f"bias at {seconds(bias.duration_s)}",
            interval=bias_interval(bias),
        )
        for label, bias in said.biases.items()
        if label == "50us"
    ]
    flags = {flag.name: flag.text for cell in said.run.measurements for flag in cell.flags}
    return Answer(verdict=_verdict(said), cards=tuple(cards), flags=(*flags.values(), *said.failures))


def _verdict(said: CalibrationStudy) -> str:
    alike = said.identical
    n, ratio = len(alike.comparisons), alike.detectable_ratio
    if not n or ratio is None:
        return "No verdict: identical variants could not be compared; see what failed, or give it more time."
    alarms = (
        f"{plural(alike.n_alarms, 'false alarm')} in {n} comparisons of identical work, where a t-test on the same "
        f"calls raised {alike.naive_alarms}"
    )
    if (alike.alarm_rate.low or 0.0) > ALARM_LIMIT:  # more than chance makes of a rate that is within its limit
        return f"Do not trust verdicts of this machine now: {alarms}. Close what else runs and calibrate again."
    found = f"{percent(ratio - 1)} and more, which {alike.n_rounds} rounds find with 80 % chance"
    if ratio <= QUIET:
        return f"This machine is quiet enough for differences of {found}; {alarms}."
    return (
        f"This machine is quiet enough only for differences of {found}; {alarms}. "
        "Close what else runs, or take more rounds, to tell smaller ones apart."
    )


def bias_by_duration(said: CalibrationStudy) -> View:
    """How far does the loop read from a known time?"""
    rows: list[dict[str, Any]] = []
    for kind, biases in (("as many calls as the timer asks for", said.biases), ("single calls", said.single_biases)):
        for label, bias in biases.items():
            p5, p95 = (100 * (float(end) - 1) for end in np.quantile(bias.ratios, [0.05, 0.95]))
            low, high = (None if end is None else 100 * end for end in (bias.relative.low, bias.relative.high))
            rows.append({"label": seconds(bias.duration_s), "kind": kind, "value": 100 * bias.relative.value,
                         "low": low, "high": high, "p5": p5, "p95": p95,
                         "limit": 100 * BIAS_LIMITS[label]})  # fmt: skip
    frame = pd.DataFrame(rows).astype({"low": float, "high": float})
    frame.attrs = {"x": "true duration of a call", "y": "measured above true (%)"}
    spoken = "; ".join(
        f"{seconds(bias.duration_s)} {percent(bias.relative.value)} ({bias_interval(bias)}) over samples of "
        f"{plural(bias.calls_per_sample, 'call')}"
        for bias in said.biases.values()
    )
    single = joined(
        f"{percent(bias.relative.value)} at {seconds(bias.duration_s)}" for bias in said.single_biases.values()
    )
    return View(
        name="bias_by_duration",
        frame=frame,
        draw=_draw_biases,
        alt=f"How far the loop reads from spins of known length, with 95 % intervals. {spoken}.",
        reading=f"The median reads above the truth by: {spoken}. Timed one call a sample, it is {single}.",
    )


def identical_ratios(said: CalibrationStudy) -> View:
    """Are identical variants told apart?"""
    alike = said.identical
    rows = [
        {"label": NAMES.get(one.workload, one.workload), "value": one.ratio.value, "low": one.ratio.low,
         "high": one.ratio.high, "alarm": one.is_alarm}
        for one in sorted(alike.comparisons, key=lambda one: one.ratio.value)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["label", "value", "low", "high", "alarm"]).astype({"low": float, "high": float})
    frame.attrs = {"x": "comparisons, by their ratio", "y": "time of one over time of the other", "band": MIN_EFFECT}
    n, rate = len(alike.comparisons), alike.alarm_rate
    shared = (
        "no two of them share a call" if alike.n_pairings <= 1 else f"each call serves in {alike.n_pairings} of them"
    )
    reading = (
        f"{n} comparisons of {alike.n_rounds} rounds each, from {plural(alike.n_blocks, 'block')} of rounds; {shared}. "
        f"Told apart: {alike.n_alarms} ({interval(rate.low, rate.high, share)} of comparisons), without a verdict: "
        f"{alike.n_withheld}. Welch's t-test takes each call for independent: it tells {alike.naive_alarms} apart on "
        f"the same calls, and {alike.naive_alarms_in_a_row} of {len(alike.p_values_in_a_row)} when each variant makes "
        f"{ROW} calls in a row, one variant after another."
    )
    return View(
        name="identical_ratios",
        frame=frame,
        draw=_draw_ratios,
        alt=f"Ratios of identical variants with 95 % intervals around 1, the 1 % band shaded. {reading}",
        reading=reading,
        size_inches=(9.2, 3.6),
        grid=(1, max(1, frame["label"].nunique())),
    )


def coverage_points(said: CalibrationStudy) -> View:
    """Do the intervals hold what they promise?"""
    frame = pd.DataFrame(
        [
            {"x": one.lag1, "y": one.share, "label": f"{one.quantity}, {one.n_rounds} rounds of {one.calls_per_round}"}
            for one in said.coverage
        ]
    )
    frame.attrs = {
        "x": "lag-1 autocorrelation of the calls",
        "y": "intervals that hold the truth",
        "band": COVERAGE_BAND,
    }
    spoken = joined(f"{digits(value)} at {lag1}" for lag1, value in said.promised().items())
    lowest = min(one.share for one in said.coverage)
    found = joined(
        f"{share(least)} with {n_rounds} rounds of {calls}"
        for (n_rounds, calls), least in said.least_detection().items()
    )
    reading = (
        f"With {PROMISED[0]} rounds of {PROMISED[1]} calls the 95 % interval of a median holds the truth in a share of "
        f"{spoken} of the simulated series (by autocorrelation). A slowdown of {share(SLOWDOWN)} in calls that scatter "
        f"by {share(NOISE)} is found in at least {found}. The lowest coverage in the figure is {digits(lowest)}."
    )
    return View(
        name="coverage",
        frame=frame,
        draw=_draw_coverage,
        alt=f"Share of simulated 95 % intervals that hold the truth, the 0.93 to 0.97 band shaded. {reading}",
        reading=reading,
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
        ax.axhspan(1 / (1 + frame.attrs["band"]), 1 + frame.attrs["band"], color=PALETTE[2], alpha=0.2, linewidth=0)
        ax.vlines(places, rows["low"], rows["high"], color=FAINT, linewidth=1)
        ax.plot(places, rows["value"], "o", color=PALETTE[0], markersize=3)
        alarms = [(place, row.value) for place, row in zip(places, rows.itertuples(), strict=True) if row.alarm]
        if alarms:
            ax.plot(*zip(*alarms, strict=True), "X", color=PALETTE[1], markersize=8, label="false alarm")
            ax.legend(fontsize=8.5, loc="upper left")
        ax.set_title(str(label))
        ax.set_xlabel(frame.attrs["x"])
    axes[0].set_ylabel(frame.attrs["y"])


def _draw_coverage(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    ax = axes[0]
    ax.axhspan(*frame.attrs["band"], color=PALETTE[2], alpha=0.15, linewidth=0)
    ax.axhline(0.95, color=INK, linewidth=1, linestyle="--")
    for number, (label, rows) in enumerate(frame.groupby("label", sort=False)):
        ax.plot(rows["x"], rows["y"], MARKERS[number], color=PALETTE[number], linestyle=":", label=str(label))
    ax.set_ylim(0.9, 1.0)
    ax.set_xticks(sorted(set(frame["x"])))
    ax.set_xlabel(frame.attrs["x"])
    ax.set_ylabel(frame.attrs["y"])
    ax.legend(fontsize=8.5, ncols=2, loc="lower left")


VIEWS = (bias_by_duration, identical_ratios, coverage_points)
