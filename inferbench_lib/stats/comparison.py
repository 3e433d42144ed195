"""Compare cells of one run: which is faster, by how much, and which are statistically tied. Above 1 means faster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import numpy.typing as npt
from scipy import stats

from inferbench_lib.findings import Interval, Ratio, Verdict
from inferbench_lib.records import Measurement, Outcome
from inferbench_lib.stats.intervals import values_needed
from inferbench_lib.stats.series import drift
from inferbench_lib.stats.verdict import WITHIN_RUN, judge, paired_ratio, shared_level


def compare(baseline: Measurement, candidate: Measurement, *, level: float = 0.95) -> Ratio:
    """Return how many times faster the candidate handles an input than the baseline, by round medians.

    Invalid (value NaN) when either has no usable samples or wrong outputs. Unstable when either is flagged so, or when
    their ratio drifts from the first half of the rounds to the second.
    """
    roles = (("baseline", baseline), ("candidate", candidate))
    for role, cell in roles:
        if why := unusable(cell):
            return Ratio(value=math.nan, verdict=Verdict.INVALID, reason=f"{role} {why}")
    # A cell that ended early has fewer rounds: only rounds in which both took their turn are pairs.
    pairs = [
        (median(first) / baseline.inputs_per_call, median(second) / candidate.inputs_per_call)
        for first, second in zip(baseline.rounds(), candidate.rounds(), strict=False)
        if first and second
    ]
    if not pairs:
        reason = "baseline and candidate share no round"
        return Ratio(value=math.nan, verdict=Verdict.TOO_FEW, reason=reason)
    ratio = compare_rounds(*zip(*pairs, strict=True), level=level)
    for role, cell in roles:
        if why := _flagged(cell):
            return replace(ratio, verdict=Verdict.UNSTABLE, reason=f"{role} is unstable: {why}")
    return ratio


def compare_rounds(baseline_s: Sequence[float], candidate_s: Sequence[float], *, level: float = 0.95) -> Ratio:
    """Return the ratio of two samples of round medians (seconds), paired by round, with its verdict.

    Raises ValueError as `paired_ratio` does.
    """
    ratio = replace(judge(paired_ratio(baseline_s, candidate_s, level), WITHIN_RUN), n_rounds=len(baseline_s))
    found = drift([first / second for first, second in zip(baseline_s, candidate_s, strict=True)])
    if ratio.verdict is Verdict.TOO_FEW or found.is_level:
        return ratio
    reason = f"their ratio drifts: {found.change:+.0%} from the first half of the rounds to the second"
    return replace(ratio, verdict=Verdict.UNSTABLE, reason=reason)


def efficiency(speedup: Ratio, n_processes: int) -> Interval:
    """Return speedup over the number of *processes*, never of cores. Raises ValueError below one process."""
    if n_processes < 1:
        raise ValueError(f"efficiency: expected n_processes of at least 1, got {n_processes}")
    return speedup.map(lambda value: value / n_processes)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The fastest cell, the cells statistically tied with it, and how each of `order` compares with it.

    `against_best[i]` is how many times faster `order[i]` is than the best (1 for the best itself).
    """

    best: Measurement
    ties: tuple[Measurement, ...]
    order: tuple[Measurement, ...]
    against_best: tuple[Ratio, ...]


def rank(measurements: Sequence[Measurement]) -> Ranking | None:
    """Rank the usable cells by time per input, fastest first; None when there is none.

    The comparisons with the best share the 5 % chance of an error between them (Bonferroni; Hsu 1984 on comparing with
    the best) as far as the rounds can carry that: n of them give an interval of at most 1 − 2¹⁻ⁿ.
    """
    usable = sorted((cell for cell in measurements if not unusable(cell)), key=_seconds_per_input)
    if not usable:
        return None
    best, others = usable[0], usable[1:]
    ratios = []
    for other in others:
        n_rounds = min(len(best.round_sizes), len(other.round_sizes))
        level = max(0.95, min(shared_level(len(others)), 1 - 2.0 ** (1 - n_rounds)))
        ratios.append(compare(best, other, level=level))
    itself = Ratio(value=1.0, low=1.0, high=1.0, verdict=Verdict.INDISTINGUISHABLE, reason="the best itself")
    return Ranking(
        best=best,
        ties=tuple(cell for cell, ratio in zip(others, ratios, strict=True) if ratio.verdict is not Verdict.SLOWER),
        order=tuple(usable),
        against_best=(itself, *ratios),
    )


def smallest_detectable_ratio(log_ratios: Sequence[float], *, n_rounds: int | None = None, power: float = 0.8) -> float:
    """Return the slowdown (1.03: 3 %) that a comparison over `n_rounds` finds with this power, given A/A log ratios.

    The scatter of a round is taken from `log_ratios`, identical variants. The power is the normal theory's (Cohen 1988)
    with the signed-rank test's efficiency of 3/π; the whole interval must lie beyond the tolerance within a run.
    Raises ValueError below six ratios or rounds.
    """
    n = len(log_ratios) if n_rounds is None else n_rounds
    if min(len(log_ratios), n) < values_needed():
        raise ValueError(
            f"smallest_detectable_ratio: expected at least {values_needed()} log ratios and rounds, "
            f"got {len(log_ratios)} and {n}"
        )
    reach = stats.t.ppf(0.975, n - 1) + stats.t.ppf(power, n - 1)
    scatter = float(np.std(log_ratios, ddof=1)) * math.sqrt(math.pi / 3)
    return WITHIN_RUN.high * math.exp(reach * scatter / math.sqrt(n))


def naive_t_test(baseline: npt.ArrayLike, candidate: npt.ArrayLike) -> float:
    """Return the p value of Welch's t-test over consecutive calls, for contrast: it takes calls for independent."""
    return float(stats.ttest_ind(baseline, candidate, equal_var=False).pvalue)


def unusable(cell: Measurement) -> str:
    """Return why a cell must not be compared; empty when it may."""
    if cell.verification is not None and not cell.verification.passed:
        return f"has wrong outputs: {cell.verification.detail}"
    if cell.outcome not in (Outcome.OK, Outcome.UNSTABLE):
        return f"is {cell.outcome}: {cell.reason}"
    return "" if cell.samples_s else "has no samples"


def _seconds_per_input(cell: Measurement) -> float:
    return median(cell.samples_s) / cell.inputs_per_call


def _flagged(cell: Measurement) -> str:
    if cell.outcome is Outcome.UNSTABLE:
        return cell.reason
    return next((flag.text for flag in cell.flags if flag.invalidates), "")
