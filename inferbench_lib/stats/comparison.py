"""Which of two cells is faster, by how much, and whether that may be said. Above 1 means the candidate is faster.

Cells are compared within rounds: both took their turn in each, in random order, so what disturbed the machine in that
round struck either alike and cancels in the ratio of their medians. A verdict is given only when the whole interval
lies beyond a practical threshold, as criterion.rs does with its noise threshold: link order and the size of the
environment alone move a program by a percent and more (Mytkowicz et al. 2009, "Producing wrong data without doing
anything obviously wrong!"), so a smaller difference, however significant, is not one between the variants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import numpy.typing as npt
from scipy import stats

from inferbench_lib.records import Interval, Measurement, Outcome, Ratio, Verdict
from inferbench_lib.stats.intervals import signed_rank_interval, values_needed
from inferbench_lib.stats.series import drift

MIN_EFFECT = 0.01


def compare(
    baseline: Measurement, candidate: Measurement, *, min_effect: float = MIN_EFFECT, level: float = 0.95
) -> Ratio:
    """How many times faster the candidate handles an input than the baseline, by round medians, with a verdict.

    Invalid (value NaN) when either has no usable samples or wrong outputs; unstable when either is flagged so, or when
    their ratio drifts from the first half of the rounds to the second.
    """
    for role, cell in (("baseline", baseline), ("candidate", candidate)):
        if why := _unusable(cell):
            return Ratio(value=math.nan, low=None, high=None, verdict=Verdict.INVALID, reason=f"{role} {why}")
    # A cell that ended early has fewer rounds: only rounds in which both took their turn are pairs.
    pairs = [
        (median(first) / baseline.inputs_per_call, median(second) / candidate.inputs_per_call)
        for first, second in zip(baseline.rounds(), candidate.rounds(), strict=False)
        if first and second
    ]
    if not pairs:
        reason = "baseline and candidate share no round"
        return Ratio(value=math.nan, low=None, high=None, verdict=Verdict.TOO_FEW, reason=reason)
    ratio = compare_rounds(*zip(*pairs, strict=True), min_effect=min_effect, level=level)
    for role, cell in (("baseline", baseline), ("candidate", candidate)):
        if why := _flagged(cell):
            return replace(ratio, verdict=Verdict.UNSTABLE, reason=f"{role} is unstable: {why}")
    return ratio


def compare_rounds(
    baseline_s: Sequence[float],
    candidate_s: Sequence[float],
    *,
    min_effect: float = MIN_EFFECT,
    level: float = 0.95,
) -> Ratio:
    """The ratio of two equally long rows of round medians (seconds, paired by round) with its signed-rank interval.

    Raises ValueError when the rows differ in length, are empty, or hold a value that is not above 0.
    """
    if len(baseline_s) != len(candidate_s) or not baseline_s or not min(*baseline_s, *candidate_s) > 0:
        raise ValueError(
            "compare_rounds: expected two equally long rows of round medians above 0 s, "
            f"got {list(baseline_s)} and {list(candidate_s)}"
        )
    ratios = np.asarray(baseline_s, dtype=float) / np.asarray(candidate_s, dtype=float)
    logs = signed_rank_interval(np.log(ratios), level)
    ratio = Ratio(
        value=math.exp(logs.value),
        low=None if logs.low is None else math.exp(logs.low),
        high=None if logs.high is None else math.exp(logs.high),
        verdict=Verdict.TOO_FEW,
        n_rounds=len(ratios),
        reason=logs.reason,
    )
    if ratio.low is None or ratio.high is None:
        return ratio
    found = drift(ratios.tolist())
    if not found.is_level:
        reason = f"their ratio drifts: {found.change:+.0%} from the first half of the rounds to the second"
        return replace(ratio, verdict=Verdict.UNSTABLE, reason=reason)
    if ratio.low > 1 + min_effect:
        return replace(ratio, verdict=Verdict.FASTER)
    if ratio.high < 1 / (1 + min_effect):
        return replace(ratio, verdict=Verdict.SLOWER)
    reason = f"the interval reaches into the {min_effect:.0%} that counts as no difference"
    return replace(ratio, verdict=Verdict.INDISTINGUISHABLE, reason=reason)


def efficiency(speedup: Ratio, n_processes: int) -> Interval:
    """Speedup over the number of *processes*, never of cores. Raises ValueError below one process."""
    if n_processes < 1:
        raise ValueError(f"efficiency: expected n_processes of at least 1, got {n_processes}")
    return Interval(
        value=speedup.value / n_processes,
        low=None if speedup.low is None else speedup.low / n_processes,
        high=None if speedup.high is None else speedup.high / n_processes,
        reason=speedup.reason,
    )


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The fastest cell, those that cannot be told from it, and how each of `order` compares with it.

    `against_best[i]` is how many times faster `order[i]` is than the best (1 for the best itself). Cells without
    usable samples stand in `excluded`.
    """

    best: Measurement
    ties: tuple[Measurement, ...]
    order: tuple[Measurement, ...]
    against_best: tuple[Ratio, ...]
    excluded: tuple[Measurement, ...]


def rank(measurements: Sequence[Measurement], *, min_effect: float = MIN_EFFECT) -> Ranking | None:
    """Cells by time per input, fastest first; None when none is usable.

    The comparisons with the best share the 5 % chance of an error between them (Bonferroni; Hsu 1984 on comparing with
    the best) as far as the rounds can carry that: n of them give an interval of at most 1 − 2¹⁻ⁿ.
    """
    usable = sorted((m for m in measurements if not _unusable(m)), key=_seconds_per_input)
    if not usable:
        return None
    best, others = usable[0], usable[1:]
    shared = 1 - 0.05 / max(1, len(others))
    ratios = []
    for other in others:
        n_rounds = min(len(best.round_sizes), len(other.round_sizes))
        level = max(0.95, min(shared, 1 - 2.0 ** (1 - n_rounds)))
        ratios.append(compare(best, other, min_effect=min_effect, level=level))
    itself = Ratio(value=1.0, low=1.0, high=1.0, verdict=Verdict.INDISTINGUISHABLE, reason="the best itself")
    return Ranking(
        best=best,
        ties=tuple(m for m, ratio in zip(others, ratios, strict=True) if ratio.verdict is not Verdict.SLOWER),
        order=tuple(usable),
        against_best=(itself, *ratios),
        excluded=tuple(m for m in measurements if _unusable(m)),
    )


def smallest_detectable_ratio(
    log_ratios: Sequence[float], *, n_rounds: int | None = None, power: float = 0.8, min_effect: float = MIN_EFFECT
) -> float:
    """The slowdown (1.03: 3 %) that a comparison over `n_rounds` would find with this power, given A/A log ratios.

    The scatter of a round is taken from `log_ratios`, identical variants; the power is the normal theory's (Cohen 1988)
    with the signed-rank test's efficiency of 3/π; the whole interval must clear `min_effect`. Raises ValueError
    below six ratios or rounds.
    """
    n = len(log_ratios) if n_rounds is None else n_rounds
    if min(len(log_ratios), n) < values_needed():
        raise ValueError(
            f"smallest_detectable_ratio: expected at least {values_needed()} log ratios and rounds, "
            f"got {len(log_ratios)} and {n}"
        )
    reach = stats.t.ppf(0.975, n - 1) + stats.t.ppf(power, n - 1)
    scatter = float(np.std(log_ratios, ddof=1)) * math.sqrt(math.pi / 3)
    return (1 + min_effect) * math.exp(reach * scatter / math.sqrt(n))


def naive_t_test(baseline: npt.ArrayLike, candidate: npt.ArrayLike) -> float:
    """p value of Welch's t-test over consecutive calls. Shown for contrast: it takes calls for independent."""
    return float(stats.ttest_ind(baseline, candidate, equal_var=False).pvalue)


def _seconds_per_input(cell: Measurement) -> float:
    return median(cell.samples_s) / cell.inputs_per_call


def _unusable(cell: Measurement) -> str:
    if cell.verification is not None and not cell.verification.passed:
        return f"has wrong outputs: {cell.verification.detail}"
    if cell.outcome not in (Outcome.OK, Outcome.UNSTABLE):
        return f"is {cell.outcome}: {cell.reason}"
    return "" if cell.samples_s else "has no samples"


def _flagged(cell: Measurement) -> str:
    if cell.outcome is Outcome.UNSTABLE:
        return cell.reason
    return next((flag.text for flag in cell.flags if flag.invalidates), "")
