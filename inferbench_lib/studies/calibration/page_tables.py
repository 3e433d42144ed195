"""The tables of `calibration`: promises and whether they hold, what can be told apart, the latest one made here."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pandas as pd

from inferbench_lib import store
from inferbench_lib.records import Machine, Verdict
from inferbench_lib.report.display import Table
from inferbench_lib.report.words import digits, interval, seconds, share
from inferbench_lib.studies.calibration.study import (
    AGREEMENT_LIMIT,
    ALARM_LIMIT,
    BIAS_LIMITS,
    COVERAGE_BAND,
    DETECTION_LIMIT,
    FILE,
    PROMISED,
    SLOWDOWN,
    Bias,
    CalibrationStudy,
)

NAMES = {"forest": "the forest", "cnn-small": "the small CNN"}


def table(said: CalibrationStudy) -> Table:
    """What the harness promises of itself, and whether it holds here."""
    rows = [{"what": what, "measured": value, "interval": ends, "expected": expected, "holds": "yes" if holds else "no"}
            for what, value, ends, expected, holds in _promises(said)]  # fmt: skip
    cost = {name: seconds(value / 1e9) for name, value in said.overhead.items()}
    reading = (
        f"A sample pays {cost['clock_ns']} for its clock and {cost['loop_ns']} more for the loop, whatever the "
        f"workload; {cost['between_ns']} pass between two samples and are in none. A spin's true time is what its own "
        f"first and last reading say, and {cost['spin_edge_ns']} for what lies outside them."
    )
    return Table(frame=pd.DataFrame(rows), reading=reading)


def _promises(said: CalibrationStudy) -> Iterator[tuple[str, str, str, str, bool]]:
    """What, measured, interval, expected, whether it holds."""
    for label, bias in said.biases.items():
        limit = BIAS_LIMITS[label]
        yield (f"bias at {seconds(bias.duration_s)}", percent(bias.relative.value), bias_interval(bias),
               f"at most {percent(limit)}", abs(bias.relative.value) <= limit)  # fmt: skip
    alike = said.identical
    if n := len(alike.comparisons):
        ends = interval(alike.alarm_rate.low, alike.alarm_rate.high, share)
        yield ("false alarms on identical variants", f"{alike.n_alarms} of {n}", ends, f"at most {share(ALARM_LIMIT)}",
               alike.n_alarms <= ALARM_LIMIT * n)  # fmt: skip
    low, high = COVERAGE_BAND
    for quantity in ("median", "ratio"):
        for lag1, value in said.promised(quantity).items():
            yield (f"coverage of a {quantity} at autocorrelation {lag1}", digits(value), "simulated",
                   f"{low} to {high}", low <= value <= high)  # fmt: skip
    least = said.least_detection()[PROMISED]
    yield (f"a slowdown of {share(SLOWDOWN)} found", share(least), "simulated", f"at least {share(DETECTION_LIMIT)}",
           least >= DETECTION_LIMIT)  # fmt: skip
    for name, ratio in said.agreement.items():
        near = ratio.verdict is not Verdict.INVALID and abs(ratio.value - 1) <= AGREEMENT_LIMIT
        yield (f"{NAMES.get(name, name)} by our loop over torch.utils.benchmark.Timer", f"{ratio.value:.3f}×",
               interval(ratio.low, ratio.high, "{:.3f}×".format), f"1 ± {share(AGREEMENT_LIMIT)}", near)  # fmt: skip


def detectable_table(said: CalibrationStudy) -> Table:
    """What can be told apart here, by workload."""
    alike = said.identical
    rows = [
        {"workload": NAMES.get(name, name), "smallest slowdown found": percent(ratio - 1),
         "rounds": f"{alike.n_rounds}", "chance": "80 %"}
        for name, ratio in alike.detectable.items()
    ]  # fmt: skip
    observed, found = alike.observed_ratio, alike.found(SLOWDOWN)
    tried = f"a slowdown of {percent(observed - 1)}" if observed else "no slowdown"
    reading = (
        "The scatter of the rounds of identical variants says so by normal theory. Of the very comparisons above, "
        f"80 % would have found {tried}, and {share(found)} one of {share(SLOWDOWN)}."
        if found is not None
        else "Nothing was compared."
    )
    return Table(frame=pd.DataFrame(rows), reading=reading)


def latest(machine: Machine | None = None) -> Table:
    """What the latest `make calibrate` found, and whether on this `machine`; where there is none, how to make one."""
    path = store.reports_folder() / FILE
    if not path.exists():
        return _nothing("How well this machine can measure is not known yet: make calibrate finds out in 3 minutes.")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        rows = [{"what": what, "measured": _latest_row(said, name)} for name, what in _LATEST.items()]
        about = f"Measured {said['started_at']} (run {said['run_id']})"
        processor = said["processor"]
    except (ValueError, KeyError, TypeError) as error:
        return _nothing(f"{FILE}: expected what make calibrate wrote, got a damaged file ({error}); run it again.")
    other = machine is not None and processor != machine.cpu_model
    return Table(frame=pd.DataFrame(rows), reading=f"{about}{f' on another processor, {processor}' if other else ''}.")


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
        return nanoseconds(value)
    if name.startswith("aa_"):
        return f"{value:.0f} of {said['aa_comparisons']:.0f}"
    return percent(value - 1 if name == "detectable_ratio" else value)


def _nothing(text: str) -> Table:
    return Table(frame=pd.DataFrame([{"what": "calibration", "measured": "not measured"}]), reading=text)


def percent(value: float) -> str:
    """A small share with two digits: `0.13 %`."""
    return f"{digits(100 * value, 2)} %"


def nanoseconds(value: float) -> str:
    """Nanoseconds in the unit that reads best."""
    return seconds(value / 1e9)


def bias_interval(bias: Bias) -> str:
    """The interval of a bias."""
    return interval(bias.relative.low, bias.relative.high, percent)
