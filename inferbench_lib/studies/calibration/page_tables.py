"""Build the tables of `calibration`: promises, smallest differences, and the latest calibration of this machine."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import pandas as pd

from inferbench_lib import store
from inferbench_lib.findings import Verdict
from inferbench_lib.records import Machine
from inferbench_lib.report.display import Table
from inferbench_lib.report.words import capital, digits, interval, seconds, share
from inferbench_lib.studies.calibration.false_alarms import alarm_rate
from inferbench_lib.studies.calibration.study import (
    AGREEMENT_LIMIT,
    ALARM_LIMIT,
    BIAS_LIMITS,
    FILE,
    SLOWDOWN,
    Bias,
    CalibrationStudy,
)

NAMES = {"forest": "the forest", "cnn-small": "the small CNN"}
QUIET = 1.05
"""A machine on which a slowdown of 5 % is found is quiet enough: that much makes an optimisation worthwhile."""


def fitness(detectable_ratio: float | None, n_alarms: int, n_comparisons: int) -> str:
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
    found = f"a slowdown of {percent(detectable_ratio - 1)} or more is found with 80 % chance"
    if detectable_ratio <= QUIET:
        return f"This machine is quiet enough: {found}. {capital(alarms)}"
    return f"This machine is noisy: only {found}. Close other programs, or take more rounds. {capital(alarms)}"


def table(said: CalibrationStudy) -> Table:
    """Return the promises of the harness, and whether each holds here."""
    rows = [{"what": what, "measured": value, "interval": ends, "expected": expected, "holds": "yes" if holds else "no"}
            for what, value, ends, expected, holds in _promises(said)]  # fmt: skip
    cost = {name: seconds(value / 1e9) for name, value in said.overhead.items()}
    reading = (
        f"Every sample contains {cost['clock_ns']} for its clock and {cost['loop_ns']} for the loop, whatever the "
        f"workload. Another {cost['between_ns']} pass between two samples and are in none. A spin's true time is from "
        f"its first to its last reading, plus {cost['spin_edge_ns']} outside them."
    )
    return Table(frame=pd.DataFrame(rows), reading=reading)


def _promises(said: CalibrationStudy) -> Iterator[tuple[str, str, str, str, bool]]:
    """Yield what is promised, measured, interval, expected, and whether it holds."""
    for label, bias in said.biases.items():
        limit = BIAS_LIMITS[label]
        yield (f"bias at {seconds(bias.duration_s)}", percent(bias.relative.value), bias_interval(bias),
               f"at most {percent(limit)}", abs(bias.relative.value) <= limit)  # fmt: skip
    alike = said.identical
    if n := len(alike.comparisons):
        ends = interval(alike.alarm_rate.low, alike.alarm_rate.high, share)
        yield ("false alarms on identical variants", f"{alike.n_alarms} of {n}", ends, f"at most {share(ALARM_LIMIT)}",
               alike.n_alarms <= ALARM_LIMIT * n)  # fmt: skip
    for name, ratio in said.agreement.items():
        near = ratio.verdict is not Verdict.INVALID and abs(ratio.value - 1) <= AGREEMENT_LIMIT
        yield (f"{NAMES.get(name, name)} by our loop over torch.utils.benchmark.Timer", f"{ratio.value:.3f}×",
               interval(ratio.low, ratio.high, "{:.3f}×".format), f"1 ± {share(AGREEMENT_LIMIT)}", near)  # fmt: skip


def detectable_table(said: CalibrationStudy) -> Table:
    """Return the smallest slowdown that can be found here, by workload."""
    alike = said.identical
    rows = [
        {"workload": NAMES.get(name, name), "smallest slowdown found": percent(ratio - 1),
         "rounds": f"{alike.n_rounds}", "chance": "80 %"}
        for name, ratio in alike.detectable.items()
    ]  # fmt: skip
    observed, found = alike.observed_ratio, alike.found(SLOWDOWN)
    tried = f"a slowdown of {percent(observed - 1)}" if observed else "no slowdown"
    reading = (
        "Computed by normal theory from the scatter of identical variants' rounds. Of the comparisons above, 80 % "
        f"would have found {tried}, and {share(found)} one of {share(SLOWDOWN)}."
        if found is not None
        else "Nothing was compared."
    )
    return Table(frame=pd.DataFrame(rows), reading=reading)


def latest(machine: Machine | None = None) -> Table:
    """Return what the latest `make calibrate` found, and on which machine; without one, how to make it."""
    path = store.reports_folder() / FILE
    if not path.exists():
        return _nothing("How well this machine can measure is not known yet: run make calibrate (3 minutes).")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        rows = [{"what": what, "measured": _latest_row(said, name)} for name, what in _LATEST.items()]
        n_alarms, n_comparisons = int(said["aa_false_alarms"]), int(said["aa_comparisons"])
        verdict = fitness(said["detectable_ratio"], n_alarms, n_comparisons)
        about = f"{verdict} Measured {said['started_at']} (run {said['run_id']})"
        cpu = said["processor"]
    except (ValueError, KeyError, TypeError) as error:
        return _nothing(f"{FILE}: expected what make calibrate wrote, got a damaged file ({error}); run it again.")
    other = f" on another CPU, {cpu}" if machine is not None and cpu != machine.cpu_model else ""
    return Table(frame=pd.DataFrame(rows), reading=f"{about}{other}.")


_LATEST = {
    "detectable_ratio": "smallest slowdown found, with 80 % chance",
    "aa_false_alarms": "false alarms on identical variants",
    "aa_false_alarms_naive": "of a t-test on the same calls",
    "timer_cost_ns": "reading the timer twice",
    "loop_overhead_ns": "the loop's own time in a sample",
    "bias[50us]": "bias at 50 µs",
    "bias[5ms]": "bias at 5 ms",
}


def _latest_row(said: dict[str, float | None], name: str) -> str:
    value = said[name]
    if value is None:
        return "not measured"
    if name.endswith("_ns"):
        return seconds(value / 1e9)
    if name.startswith("aa_"):
        return f"{value:.0f} of {said['aa_comparisons']:.0f}"
    return percent(value - 1 if name == "detectable_ratio" else value)


def _nothing(text: str) -> Table:
    return Table(frame=pd.DataFrame([{"what": "calibration", "measured": "not measured"}]), reading=text)


def percent(value: float) -> str:
    """Return a small share with two digits: `0.13 %`."""
    return f"{digits(100 * value, 2)} %"


def bias_interval(bias: Bias) -> str:
    """Return the interval of a bias."""
    return interval(bias.relative.low, bias.relative.high, percent)
