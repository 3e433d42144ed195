"""Climb from two samples to a verdict, one function per rung. A ratio above 1 means that the candidate is faster.

    round medians ─ paired_ratio, unpaired_ratio ─┐
    summary figures ─ ratio_of_figures ───────────┴─▶ Interval ─ judge(·, Tolerance) ─▶ Ratio with its Verdict

Cells of one run share their rounds: a disturbance of a round strikes both and cancels in their ratio. Two runs share no
rounds, so their interval is wider and only larger differences count. Type and rule are the same for both.

A verdict needs the whole interval beyond a practical threshold, as in criterion.rs. Link order and the size of the
environment alone move a program by a percent and more (Mytkowicz et al. 2009, "Producing wrong data without doing
anything obviously wrong!").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from scipy import stats

from inferbench_lib.findings import Interval, Ratio, Verdict
from inferbench_lib.records import Figure, Run
from inferbench_lib.stats.intervals import rank_sum_interval, signed_rank_interval
from inferbench_lib.stats.processes import WIDENED_UNITS

PROCESS_SCATTER = 0.02
"""Standard deviation between processes of one program, as a share; assumed where a run measured one process each."""
UNCHANGED = Interval(value=1.0)


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Ratios that count as no difference.

    For a difference the whole interval must lie further from 1 than `min_effect`, and the ratio itself than `scatter`.
    The interval must also lie beyond `control`, the change of the fixed control workload.
    """

    min_effect: float
    scatter: float = 0.0
    control: Interval = UNCHANGED

    @property
    def low(self) -> float:
        """Return the ratio below which the whole interval of a slower candidate lies."""
        low = self.control.value if self.control.low is None else self.control.low
        return min(low, min(1.0, self.control.value) * (1 / (1 + self.min_effect)))

    @property
    def high(self) -> float:
        """Return the ratio above which the whole interval of a faster candidate lies."""
        high = self.control.value if self.control.high is None else self.control.high
        return max(high, max(1.0, self.control.value) * (1 + self.min_effect))


WITHIN_RUN = Tolerance(min_effect=0.01)


def between_runs(unit: str, control: Interval | None = None, *, is_replicated: bool = False) -> Tolerance:
    """Return the tolerance for a figure of two runs, by its unit.

    Processes of one program differ, which no number of rounds within them shows (Kalibera & Jones 2013, "Rigorous
    benchmarking in reasonable time"). Where both runs measured several processes (`is_replicated`), their intervals
    hold that scatter. Else it is assumed: a time or rate rests on one process in each run, a speedup or share on two.
    Their independent scatter adds up as squares; 19 of 20 ratios lie within the result.
    Speedups and shares need no allowance for the machine's own speed, which cancels in them.
    """
    is_within_run = unit in ("", "×") or unit.startswith("of ")  # a ratio or share
    scatter = math.exp(1.96 * PROCESS_SCATTER * math.sqrt(4 if is_within_run else 2)) - 1
    scatter = 0.0 if is_replicated and unit in WIDENED_UNITS else scatter
    allowed = UNCHANGED if is_within_run or control is None else control
    return Tolerance(min_effect=0.03, scatter=scatter, control=allowed)


def shared_level(n_comparisons: int) -> float:
    """Return the level at which so many comparisons share a 5 % chance of an error (Bonferroni)."""
    return 1 - 0.05 / max(1, n_comparisons)


def paired_ratio(baseline_s: Sequence[float], candidate_s: Sequence[float], level: float = 0.95) -> Interval:
    """Return baseline over candidate with its signed-rank interval, from round medians (seconds) paired by round.

    Raises ValueError when the samples differ in length, are empty, or hold a value that is not above 0.
    """
    if len(baseline_s) != len(candidate_s) or not baseline_s or not min(*baseline_s, *candidate_s) > 0:
        raise ValueError(
            "paired_ratio: expected equally many round medians above 0 s on either side, "
            f"got {list(baseline_s)} and {list(candidate_s)}"
        )
    ratios = np.asarray(baseline_s, dtype=float) / np.asarray(candidate_s, dtype=float)
    return signed_rank_interval(np.log(ratios), level).map(math.exp)


def unpaired_ratio(baseline_s: Sequence[float], candidate_s: Sequence[float], level: float = 0.95) -> Interval:
    """Return baseline over candidate with its Mann–Whitney interval, from round medians (seconds) of two runs.

    Raises ValueError when a sample is empty or holds a value that is not above 0.
    """
    if not baseline_s or not candidate_s or not min(*baseline_s, *candidate_s) > 0:
        raise ValueError(
            "unpaired_ratio: expected two samples of round medians above 0 s, "
            f"got {list(baseline_s)} and {list(candidate_s)}"
        )
    return rank_sum_interval(np.log(baseline_s), np.log(candidate_s), level).map(math.exp)


def control_ratio(base: Run, head: Run) -> Interval | None:
    """Return how much faster the fixed control work was in HEAD, by round medians; None where a run did not take it."""
    first, second = (
        [median(values) for of in run.tables.get("schedules", {}).values() for values in of["control_s"] if values]
        for run in (base, head)
    )
    return unpaired_ratio(first, second) if first and second else None


def ratio_of_figures(base: Figure, head: Figure, level: float = 0.95) -> Interval:
    """Return HEAD over BASE of a figure of two runs, both numbers above 0: of speeds in seconds, else of values."""
    over, under = (base, head) if base.unit == "s" else (head, base)
    first, second = (Interval(value=float(of.value or 0.0), low=of.low, high=of.high) for of in (over, under))
    return ratio_of_intervals(first, second, level)


def ratio_of_intervals(numerator: Interval, denominator: Interval, level: float = 0.95) -> Interval:
    """Return the ratio of two independent estimates (above 0), each known with a 95 % interval that holds it.

    The squares of both intervals' arms add up on the logarithmic scale: the method of variance estimates recovery (Zou
    & Donner 2008, "Construction of confidence limits about effect measures: a general approach"). For another level the
    arms are stretched as those of a normal estimate.
    Withheld where an interval is missing or reaches 0. Raises ValueError for a value not above 0.
    """
    if not min(numerator.value, denominator.value) > 0:
        raise ValueError(f"ratio_of_intervals: expected values above 0, got {numerator.value} and {denominator.value}")
    centre = math.log(numerator.value / denominator.value)
    over, under = _log_arms(numerator), _log_arms(denominator)
    if over is None or under is None:
        return Interval(value=math.exp(centre), level=level, reason="one of the runs gives it no interval")
    stretch = float(stats.norm.ppf((1 + level) / 2) / stats.norm.ppf(0.975))
    down, up = stretch * math.hypot(over[0], under[1]), stretch * math.hypot(over[1], under[0])
    return Interval(value=math.exp(centre), low=math.exp(centre - down), high=math.exp(centre + up), level=level)


def judge(ratio: Interval, tolerance: Tolerance) -> Ratio:
    """Return the ratio with its verdict: a difference only where the whole interval lies beyond the tolerance.

    Where several comparisons share their chance of an error, give it the wider interval that decides.
    """
    verdict, reason = _verdict(ratio, tolerance)
    return Ratio(value=ratio.value, low=ratio.low, high=ratio.high, level=ratio.level, verdict=verdict, reason=reason)


def _verdict(ratio: Interval, tolerance: Tolerance) -> tuple[Verdict, str]:
    if ratio.low is None or ratio.high is None:
        return Verdict.TOO_FEW, ratio.reason
    if tolerance.low <= ratio.high and ratio.low <= tolerance.high:
        without = replace(tolerance, control=UNCHANGED)
        if ratio.low > without.high or ratio.high < without.low:
            reason = "the control workload changed as well: the machine itself may have been faster or slower"
            return Verdict.INDISTINGUISHABLE, reason
        reason = f"the interval reaches into the {100 * tolerance.min_effect:g} % that counts as no difference"
        return Verdict.INDISTINGUISHABLE, reason
    if abs(math.log(ratio.value)) <= math.log1p(tolerance.scatter):
        reason = f"two runs of the same program may differ by {100 * tolerance.scatter:.1f} % between their processes"
        return Verdict.INDISTINGUISHABLE, reason
    return (Verdict.FASTER if ratio.low > 1 else Verdict.SLOWER), ""


def _log_arms(one: Interval) -> tuple[float, float] | None:
    """Return how far the ends lie below and above the value on the logarithmic scale, None without them."""
    if one.low is None or one.high is None or not 0 < one.low <= one.value <= one.high:
        return None
    return math.log(one.value / one.low), math.log(one.high / one.value)
