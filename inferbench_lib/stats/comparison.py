"""Compare cells of one run: which is faster, by how much, and which are statistically tied. Above 1 means faster."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import stats

from inferbench_lib.findings import Interval, Ratio, Verdict
from inferbench_lib.records import Measurement, Outcome
from inferbench_lib.stats.intervals import values_needed
from inferbench_lib.stats.processes import widened_ratio
from inferbench_lib.stats.series import drift
from inferbench_lib.stats.verdict import WITHIN_RUN, judge, paired_ratio, shared_level

OTHER_LOAD = "other_load"
"""The name of the flag that tells of other programs."""

Side = TypeVar("Side")

WORTH = 1.1
"""A less simple choice is recommended where the gain over the simpler one is above this."""


def is_worth_it(gain: Ratio) -> bool:
    """Return whether a gain is shown to be large enough for a less simple choice: its whole interval above `WORTH`."""
    return gain.verdict is Verdict.FASTER and gain.low is not None and gain.low > WORTH


def compare(baseline: Measurement, candidate: Measurement, *, level: float = 0.95) -> Ratio:
    """Return how many times faster the candidate handles an input than the baseline, by round medians.

    Invalid (value NaN) when either has no usable samples or wrong outputs. Unstable when either is flagged so, or when
    their ratio drifts from the first half of the rounds to the second, or for an `unequal_load`.
    """
    if why := first_fault(unusable, baseline=baseline, candidate=candidate):
        return Ratio(value=math.nan, verdict=Verdict.INVALID, reason=why)
    # A cell that ended early has fewer rounds: only rounds in which both took their turn are pairs.
    pairs = [
        (median(first) / baseline.inputs_per_call, median(second) / candidate.inputs_per_call)
        for first, second in zip(baseline.rounds(), candidate.rounds(), strict=False)
        if first and second
    ]
    if not pairs:
        reason = "baseline and candidate share no round"
        return Ratio(value=math.nan, verdict=Verdict.TOO_FEW, reason=reason)
    ratio = compare_rounds(*zip(*pairs, strict=True), level=level, cells=(baseline, candidate))
    why = first_fault(_instability, baseline=baseline, candidate=candidate) or unequal_load(baseline, candidate)
    return replace(ratio, verdict=Verdict.UNSTABLE, reason=why) if why else ratio


def unequal_load(baseline: Measurement, candidate: Measurement) -> str:
    """Return the load of other programs beside two cells that need different numbers of CPUs; empty without any.

    Load takes a CPU from a cell that needs all of them and none from a cell that needs one: it would decide the ratio.
    """
    n_cpus = [cell.case.n_processes * cell.case.n_threads for cell in (baseline, candidate)]
    loads = [flag.text for cell in (baseline, candidate) for flag in cell.flags if flag.name == OTHER_LOAD]
    return loads[0].removesuffix(".") if loads and n_cpus[0] != n_cpus[1] else ""


def compare_rounds(
    baseline_s: Sequence[float], candidate_s: Sequence[float], *, level: float = 0.95, cells: Sequence[Measurement] = ()
) -> Ratio:
    """Return the ratio of two samples of round medians (seconds), paired by round, with its verdict.

    The scatter between the processes of `cells` widens the interval. Raises ValueError as `paired_ratio` does.
    """
    interval, ratios = paired_ratio(baseline_s, candidate_s, level), np.divide(baseline_s, candidate_s).tolist()
    if cells:
        interval = widened_ratio(interval, ratios, *cells)
    ratio = replace(judge(interval, WITHIN_RUN), n_rounds=len(baseline_s))
    sizes = min((cell.process_sizes for cell in cells), key=sum, default=())
    change = drift(ratios, sizes)
    if ratio.verdict is Verdict.TOO_FEW or not change:
        return ratio
    reason = f"their ratio drifts: {change:+.0%} from the first half of the rounds to the second"
    return replace(ratio, verdict=Verdict.UNSTABLE, reason=reason)


def efficiency(speedup: Ratio, n_processes: int) -> Interval:
    """Return speedup over the number of *processes*, never of cores. Raises ValueError below one process."""
    if n_processes < 1:
        raise ValueError(f"efficiency: expected n_processes of at least 1, got {n_processes}")
    return speedup.map(lambda value: value / n_processes)


def best_and_ties(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Return the usable cell with the least time per input, then those statistically tied with it; empty without any.

    The comparisons with the best share the 5 % chance of an error (Bonferroni; Hsu 1984 on comparing with the best),
    as far as the rounds carry that: n of them give an interval of at most 1 − 2¹⁻ⁿ.
    """
    usable = [cell for cell in measurements if not unusable(cell)]
    usable.sort(key=input_s)
    found = usable[:1]
    for cell in usable[1:]:
        n_rounds = min(len(found[0].round_sizes), len(cell.round_sizes))
        level = max(0.95, min(shared_level(len(usable) - 1), 1 - 2.0 ** (1 - n_rounds)))
        if compare(found[0], cell, level=level).verdict is Verdict.INDISTINGUISHABLE:
            found.append(cell)
    return found


def simplest(cells: Sequence[Measurement], *, most: float = math.inf) -> Measurement:
    """Return the first of the cells that are statistically tied with the fastest and at most `most` times slower.

    The second condition matters where rounds are noisy, so that much slower cells are tied too.
    """
    tied = best_and_ties(cells)
    close = {id(cell) for cell in tied if input_s(cell) <= most * input_s(tied[0])}
    return next(cell for cell in cells if id(cell) in close)


def input_s(cell: Measurement) -> float:
    """Return the median seconds per input of a cell with samples."""
    return median(cell.samples_s) / cell.inputs_per_call


def smallest_detectable_ratio(log_ratios: Sequence[float], *, n_rounds: int, power: float = 0.8) -> float:
    """Return the slowdown (1.03: 3 %) that a comparison over `n_rounds` finds with this power, given A/A log ratios.

    The scatter of a round is taken from `log_ratios`, identical variants. The power is the normal theory's (Cohen 1988)
    with the signed-rank test's efficiency of 3/π; the whole interval must lie beyond the tolerance within a run.
    Raises ValueError below six ratios or rounds.
    """
    if min(len(log_ratios), n_rounds) < values_needed():
        raise ValueError(
            f"smallest_detectable_ratio: expected at least {values_needed()} log ratios and rounds, "
            f"got {len(log_ratios)} and {n_rounds}"
        )
    reach = sum(stats.t.ppf([0.975, power], n_rounds - 1))
    scatter = float(np.std(log_ratios, ddof=1)) * math.sqrt(math.pi / 3)
    return WITHIN_RUN.high * math.exp(reach * scatter / math.sqrt(n_rounds))


def naive_t_test(baseline: npt.ArrayLike, candidate: npt.ArrayLike) -> float:
    """Return the p value of Welch's t-test over consecutive calls, for contrast: it takes calls for independent."""
    return float(stats.ttest_ind(baseline, candidate, equal_var=False).pvalue)


def first_fault(fault: Callable[[Side], str], **sides: Side) -> str:
    """Return the first fault that a side has, after that side's name; empty without any."""
    return next((f"{name} {why}" for name, side in sides.items() if (why := fault(side))), "")


def unusable(cell: Measurement) -> str:
    """Return why a cell must not be compared; empty when it may."""
    if cell.verification is not None and not cell.verification.passed:
        return f"has wrong outputs: {cell.verification.detail}"
    if cell.outcome not in (Outcome.OK, Outcome.UNSTABLE):
        return f"is {cell.outcome}: {cell.reason}"
    return "" if cell.samples_s else "has no samples"


def _instability(cell: Measurement) -> str:
    whys = [cell.reason] if cell.outcome is Outcome.UNSTABLE else [flag.text for flag in cell.flags if flag.invalidates]
    return f"is unstable: {whys[0]}" if whys else ""
