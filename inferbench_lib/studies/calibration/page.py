"""Show on the page of `calibration` whether this machine is quiet enough to measure on, and for which differences."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from inferbench_lib import store
from inferbench_lib.findings import Verdict
from inferbench_lib.records import Machine
from inferbench_lib.report.display import Answer, Card, Table, View
from inferbench_lib.report.look import FAINT, INK, MARKERS, PALETTE
from inferbench_lib.report.words import capital, digits, interval_of, joined, plural, seconds, share
from inferbench_lib.stats.verdict import WITHIN_RUN
from inferbench_lib.studies.calibration.false_alarms import ROW, alarm_rate
from inferbench_lib.studies.calibration.study import (
    AGREEMENT_LIMIT,
    ALARM_LIMIT,
    BIAS_LIMITS,
    FILE,
    SLOWDOWN,
    Bias,
    CalibrationStudy,
)
from inferbench_lib.work import title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUIET = 1.05
"""A machine on which a slowdown of 5 % is found is quiet enough: that much makes an optimisation worthwhile."""


def answer(said: CalibrationStudy) -> Answer:
    """Return whether this machine is quiet enough, and for which differences."""
    alike, ratio = said.identical, said.identical.detectable_ratio
    n = len(alike.comparisons)
    pair, step = (seconds(said.overhead[name] / 1e9) for name in ("timer_pair_ns", "timer_step_ns"))
    cards = [
        (f"{alike.n_alarms} of {n}", "false alarms on identical variants", interval_of(alike.alarm_rate, share)),
        (pair, "for reading the timer twice", f"smallest step {step}"),
    ]
    if ratio is not None:
        found = f"smallest slowdown found in {alike.n_rounds} rounds"
        cards.insert(0, (_percent(ratio - 1), found, "with 80 % chance"))
    if bias := said.biases.get("50us"):
        cards.append(
            (_percent(bias.relative.value), f"bias at {seconds(bias.duration_s)}", interval_of(bias.relative, _percent))
        )
    flags = {flag.name: flag.text for cell in said.run.measurements for flag in cell.flags}
    return Answer(
        verdict=_fitness(ratio, alike.n_alarms, n),
        cards=tuple(Card(value=value, label=label, interval=spread) for value, label, spread in cards),
        flags=(*flags.values(), *said.failures),
    )


def _fitness(detectable_ratio: float | None, n_alarms: int, n_comparisons: int) -> str:
    """Return in one or two sentences which slowdowns this machine can find, and whether to trust its verdicts."""
    if not n_comparisons or detectable_ratio is None:
        return "No verdict: identical variants could not be compared. See what failed, or allow more time."
    different = f"{n_alarms} {'was' if n_alarms == 1 else 'were'} called different"
    alarms = (
        f"of {n_comparisons} comparisons of identical work, {different}; at most "
        f"{math.floor(ALARM_LIMIT * n_comparisons)} may be expected."
    )
    if (alarm_rate(n_alarms, n_comparisons).low or 0.0) > ALARM_LIMIT:  # more than chance adds to an allowed rate
        return f"Do not trust this machine's verdicts now: {alarms} Close other programs and calibrate again."
    found = f"a slowdown of {_percent(detectable_ratio - 1)} or more is found with 80 % chance"
    if detectable_ratio <= QUIET:
        return f"This machine is quiet enough: {found}. {capital(alarms)}"
    return f"This machine is noisy: only {found}. Close other programs, or take more rounds. {capital(alarms)}"


def bias_by_duration(said: CalibrationStudy) -> View:
    """Return the figure of how far the loop reads from a known time."""
    kinds = (("blocks of calls", said.biases), ("single calls", said.single_biases))
    rows = [
        (seconds(bias.duration_s), kind, bias.relative.value, bias.relative.low, bias.relative.high,
         *(np.quantile(bias.ratios, [0.05, 0.95]) - 1), BIAS_LIMITS[label])
        for kind, biases in kinds
        for label, bias in biases.items()
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["label", "kind", "value", "low", "high", "p5", "p95", "limit"])
    frame[frame.columns[2:]] = 100 * frame[frame.columns[2:]].astype(float)
    in_blocks = (f"{_at(bias)} ({plural(bias.calls_per_sample, 'call')} per sample)" for bias in said.biases.values())
    return View(
        name="bias_by_duration",
        frame=frame,
        draw=_draw_biases,
        alt="How far the loop reads from spins of known length, with 95 % intervals.",
        reading=f"The median reads above the true time by {joined(in_blocks)}. With one call per sample, it is "
        f"{joined(map(_at, said.single_biases.values()))}.",
    )


def _at(bias: Bias) -> str:
    return f"{_percent(bias.relative.value)} at {seconds(bias.duration_s)}"


def identical_ratios(said: CalibrationStudy) -> View:
    """Return the figure of the ratios of identical variants, false alarms marked."""
    alike = said.identical
    rows = [
        (title_of(one.workload), one.ratio.value, one.ratio.low, one.ratio.high, one.ratio.is_difference)
        for one in sorted(alike.comparisons, key=lambda one: one.ratio.value)
    ]
    frame = pd.DataFrame(rows, columns=["label", "value", "low", "high", "alarm"]).astype({"low": float, "high": float})
    n = len(alike.comparisons)
    shared = (
        "no two of them share a call" if alike.n_pairings <= 1 else f"each call serves in {alike.n_pairings} of them"
    )
    reading = (
        f"{n} comparisons of {alike.n_rounds} rounds each, from {plural(alike.n_blocks, 'block')} of rounds; {shared}. "
        f"Called different: {alike.n_alarms} ({interval_of(alike.alarm_rate, share)} of comparisons; the rule allows "
        f"{share(ALARM_LIMIT)}); without a verdict: {alike.n_withheld}. Taking turns keeps false alarms rare, whatever "
        f"the test: a t-test on the same interleaved calls raises {alike.naive_alarms}. Where each variant makes {ROW} "
        f"calls in a row instead, it raises {alike.naive_alarms_in_a_row} in {len(alike.p_values_in_a_row)}."
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


def _draw_biases(frame: Any, axes: Sequence[Axes]) -> None:
    ax = axes[0]
    labels = list(dict.fromkeys(frame["label"]))
    for place, limit in enumerate(frame.groupby("label", sort=False)["limit"].first()):
        ax.fill_between([place - 0.4, place + 0.4], -limit, limit, color=PALETTE[2], alpha=0.15, linewidth=0)
    for number, (kind, rows) in enumerate(frame.groupby("kind", sort=False)):
        colour, places = PALETTE[number], [labels.index(label) + 0.24 * number - 0.12 for label in rows["label"]]
        ax.vlines(places, rows["p5"], rows["p95"], color=colour, linewidth=1)
        ax.vlines(places, rows["low"], rows["high"], color=colour, linewidth=5, alpha=0.5)
        ax.plot(places, rows["value"], MARKERS[number], color=colour, label=kind)
    ax.axhline(0, color=INK, linewidth=1)
    ax.set_xticks(range(len(labels)), labels)
    ax.grid(axis="x", visible=False)
    ax.set_xlabel("true duration of a call")
    ax.set_ylabel("measured above true (%)")
    ax.legend(fontsize=8.5)


def _draw_ratios(frame: pd.DataFrame, axes: Sequence[Axes]) -> None:
    for ax, (label, rows) in zip(axes, frame.groupby("label", sort=False), strict=False):
        places = list(range(1, len(rows) + 1))
        ax.axhspan(WITHIN_RUN.low, WITHIN_RUN.high, color=PALETTE[2], alpha=0.2, linewidth=0)
        ax.vlines(places, rows["low"], rows["high"], color=FAINT, linewidth=1)
        ax.plot(places, rows["value"], "o", color=PALETTE[0], markersize=3)
        if rows["alarm"].any():
            alarms = rows["value"].where(rows["alarm"])
            ax.plot(places, alarms, "X", color=PALETTE[1], markersize=8, label="false alarm")
            ax.legend(fontsize=8.5, loc="upper left")
        ax.set_title(str(label))
        ax.set_xlabel("comparisons, by their ratio")
    axes[0].set_ylabel("time of one over time of the other")


def table(said: CalibrationStudy) -> Table:
    """Return the promises of the harness, and whether each holds here."""
    rows = [(*told, "yes" if holds else "no") for *told, holds in _promises(said)]
    cost = {name: seconds(value / 1e9) for name, value in said.overhead.items()}
    return Table(
        frame=pd.DataFrame(rows, columns=["what", "measured", "interval", "expected", "holds"]),
        reading=f"Every sample contains {cost['clock_ns']} for its clock and {cost['loop_ns']} for the loop, whatever "
        f"the workload. Another {cost['between_ns']} pass between two samples and are in none. A spin's true time is "
        f"from its first to its last reading, plus {cost['spin_edge_ns']} outside them.",
    )


def _promises(said: CalibrationStudy) -> Iterator[tuple[str, str, str, str, bool]]:
    """Yield what is promised, measured, its interval, expected, and whether it holds."""
    for label, bias in said.biases.items():
        off, limit = bias.relative, BIAS_LIMITS[label]
        name, expected = f"bias at {seconds(bias.duration_s)}", f"at most {_percent(limit)}"
        yield name, _percent(off.value), interval_of(off, _percent), expected, abs(off.value) <= limit
    alike = said.identical
    if n := len(alike.comparisons):
        name, expected = "false alarms on identical variants", f"at most {share(ALARM_LIMIT)}"
        is_rare = alike.n_alarms <= ALARM_LIMIT * n
        yield name, f"{alike.n_alarms} of {n}", interval_of(alike.alarm_rate, share), expected, is_rare
    for workload, ratio in said.agreement.items():
        name, times = f"{title_of(workload)} by our loop over torch.utils.benchmark.Timer", "{:.3f}×".format
        is_near = ratio.verdict is not Verdict.INVALID and abs(ratio.value - 1) <= AGREEMENT_LIMIT
        yield name, times(ratio.value), interval_of(ratio, times), f"1 ± {share(AGREEMENT_LIMIT)}", is_near


def detectable_table(said: CalibrationStudy) -> Table:
    """Return the smallest slowdown that can be found here, by workload."""
    alike = said.identical
    rows = [(title_of(name), _percent(of - 1)) for name, of in alike.detectable.items()]
    observed, found = alike.observed_ratio, alike.found(SLOWDOWN)
    tried = f"a slowdown of {_percent(observed - 1)}" if observed else "no slowdown"
    reading = (
        "Computed by normal theory from the scatter of identical variants' rounds. Of the comparisons above, 80 % "
        f"would have found {tried}, and {share(found)} one of {share(SLOWDOWN)}."
        if found is not None
        else "Nothing was compared."
    )
    columns = ["workload", f"smallest slowdown found in {alike.n_rounds} rounds, with 80 % chance"]
    return Table(frame=pd.DataFrame(rows, columns=columns), reading=reading)


def latest(machine: Machine) -> Table:
    """Return what the latest `make calibrate` found, and on which machine; without one, how to make it."""
    path = store.reports_folder() / FILE
    rows = [("calibration", "not measured")]
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        verdict = _fitness(said["detectable_ratio"], said["aa_false_alarms"], said["aa_comparisons"])
        other = f" on another CPU, {said['processor']}" if said["processor"] != machine.cpu_model else ""
        reading = f"{verdict} Measured {said['started_at']} (run {said['run_id']}){other}."
        rows = list(_latest_rows(said))
    except FileNotFoundError:
        reading = "How well this machine can measure is not known yet: run make calibrate (3 minutes)."
    except (ValueError, KeyError, TypeError) as error:
        reading = f"{FILE}: expected what make calibrate wrote, got a damaged file ({error}); run it again."
    return Table(frame=pd.DataFrame(rows, columns=["what", "measured"]), reading=reading)


def _latest_rows(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    ratio, n = said["detectable_ratio"], said["aa_comparisons"]
    yield "smallest slowdown found, with 80 % chance", "not measured" if ratio is None else _percent(ratio - 1)
    yield "false alarms on identical variants", f"{said['aa_false_alarms']} of {n}"
    in_a_row = f"{said['aa_false_alarms_naive_in_a_row']} of {said['aa_comparisons_in_a_row']}"
    yield "of a t-test on calls in a row, which do not take turns", in_a_row
    yield "reading the timer twice", seconds(said["timer_cost_ns"] / 1e9)
    yield "the loop's own time in a sample", seconds(said["loop_overhead_ns"] / 1e9)
    yield "bias at 50 µs", _percent(said["bias[50us]"])
    yield "bias at 5 ms", _percent(said["bias[5ms]"])


def _percent(value: float) -> str:
    """Return a small share with two digits: `0.13 %`."""
    return f"{digits(100 * value, 2)} %"


VIEWS = (bias_by_duration, identical_ratios)
