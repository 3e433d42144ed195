"""Compare identical variants with each other: every difference that is claimed is a false alarm.

They are compared in blocks of as many rounds as a report takes. In each block every variant of a workload is in one
pair, so that these comparisons share no call. Where the time ended before there were enough comparisons, each block is
paired again in another way, up to `len(PAIRINGS)` times; a call then serves in as many comparisons.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from statistics import median

import numpy as np
from scipy import stats

from inferbench_lib.findings import Interval, Ratio, Verdict
from inferbench_lib.records import Measurement
from inferbench_lib.stats.comparison import compare_rounds, naive_t_test, smallest_detectable_ratio, unusable
from inferbench_lib.stats.series import Rounds
from inferbench_lib.stats.verdict import WITHIN_RUN

PAIRINGS = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
"""Every way of pairing four variants; no pair is in two of them."""
N_VARIANTS = 4
POWER = 0.8
NAIVE_LEVEL = 0.05
IN_A_ROW, ROW = "in_a_row_s", 50
"""The series of calls in a row, and how many make one stretch: what a t-test is often given."""


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Comparison of two identical variants: our ratio, and the p value of a t-test on the same calls."""

    workload: str
    ratio: Ratio
    log_ratios: tuple[float, ...]
    p_value: float

    @property
    def needed_slowdown(self) -> float:
        """Return the slowdown of the candidate above which these rounds would have shown one; infinite if never."""
        if self.ratio.high is None or self.ratio.verdict is Verdict.UNSTABLE:
            return math.inf
        return self.ratio.high * WITHIN_RUN.high


@dataclass(frozen=True, kw_only=True)
class IdenticalStudy:
    """All comparisons of identical variants, in `n_blocks` blocks of `n_rounds` rounds, each paired `n_pairings` times.

    `p_values_in_a_row` are of a t-test on calls as they are often made: a stretch of one variant, then of the other.
    `detectable` is the smallest slowdown of each workload that is found with the probability `POWER`.
    """

    comparisons: tuple[Alike, ...]
    n_rounds: int
    n_blocks: int
    n_pairings: int
    p_values_in_a_row: tuple[float, ...]
    detectable: Mapping[str, float]

    @property
    def n_alarms(self) -> int:
        """Count the identical variants that were called different."""
        return sum(one.ratio.is_difference for one in self.comparisons)

    @property
    def n_withheld(self) -> int:
        """Count the comparisons that gave no verdict."""
        return sum(one.ratio.verdict in (Verdict.UNSTABLE, Verdict.TOO_FEW) for one in self.comparisons)

    @property
    def alarm_rate(self) -> Interval:
        """Return the share of false alarms with its interval."""
        return alarm_rate(self.n_alarms, len(self.comparisons))

    @property
    def naive_alarms(self) -> int:
        """Count the identical variants that the t-test called different, on the calls of the comparisons."""
        return sum(one.p_value < NAIVE_LEVEL for one in self.comparisons)

    @property
    def naive_alarms_in_a_row(self) -> int:
        """Count the identical variants that the t-test called different, on calls made in a row."""
        return sum(p < NAIVE_LEVEL for p in self.p_values_in_a_row)

    @property
    def detectable_ratio(self) -> float | None:
        """Return the smallest slowdown that can be found in every workload; None where nothing was compared."""
        return max(self.detectable.values(), default=None)

    @property
    def observed_ratio(self) -> float | None:
        """Return the slowdown that `POWER` of these comparisons would have found; None where they never would."""
        needed = [one.needed_slowdown for one in self.comparisons] or [math.inf]
        found = float(np.quantile(needed, POWER, method="inverted_cdf"))
        return found if math.isfinite(found) else None

    def found(self, slowdown: float) -> float | None:
        """Return the share of these comparisons that would have found a slowdown (0.05: 5 %)."""
        found = [one.needed_slowdown < 1 + slowdown for one in self.comparisons]
        return sum(found) / len(found) if found else None


def alarm_rate(n_alarms: int, n_comparisons: int) -> Interval:
    """Return the share of false alarms with its exact binomial interval (Clopper & Pearson 1934)."""
    if not n_comparisons:
        return Interval(value=math.nan, reason="nothing was compared")
    ends = stats.binomtest(n_alarms, n_comparisons).proportion_ci()
    return Interval(value=n_alarms / n_comparisons, low=float(ends.low), high=float(ends.high))


def compare_identical(cells: Sequence[Measurement], *, wanted: int, n_rounds: int) -> IdenticalStudy:
    """Make at least `wanted` comparisons of `n_rounds` rounds each, if the cells' rounds carry so many.

    A workload of which a variant failed, or gave wrong outputs, is left out.
    """
    groups = _groups(cells)
    rounds_taken = min((len(rounds) for of in groups.values() for rounds in of), default=0)
    n_blocks = rounds_taken // n_rounds
    disjoint = n_blocks * len(groups) * N_VARIANTS // 2
    n_pairings = min(len(PAIRINGS), math.ceil(wanted / disjoint)) if disjoint else 0
    found = tuple(
        _compare(name, of[first][start : start + n_rounds], of[second][start : start + n_rounds])
        for block, start in enumerate(range(0, n_blocks * n_rounds, n_rounds))
        for turn in range(n_pairings)
        for name, of in groups.items()
        for first, second in PAIRINGS[(block + turn) % len(PAIRINGS)]
    )
    return IdenticalStudy(
        comparisons=found,
        n_rounds=n_rounds,
        n_blocks=n_blocks,
        n_pairings=n_pairings,
        p_values_in_a_row=_p_values_in_a_row(cells),
        detectable=_detectable(found, n_rounds),
    )


def _groups(cells: Sequence[Measurement]) -> dict[str, list[Rounds]]:
    """Return the rounds of each workload's variants, where all of them can be used."""
    groups: dict[str, list[Rounds]] = defaultdict(list)
    for cell in cells:
        if not unusable(cell):
            groups[cell.case.workload].append(cell.rounds())
    return {name: of for name, of in groups.items() if len(of) == N_VARIANTS}


def _compare(workload: str, one: Rounds, other: Rounds) -> Alike:
    medians = [median(calls) for calls in one], [median(calls) for calls in other]
    return Alike(
        workload=workload,
        ratio=compare_rounds(*medians),
        log_ratios=tuple(math.log(a / b) for a, b in zip(*medians, strict=True)),
        p_value=naive_t_test(list(chain.from_iterable(one)), list(chain.from_iterable(other))),
    )


def _p_values_in_a_row(cells: Sequence[Measurement]) -> tuple[float, ...]:
    """Compare the stretches of calls of each two variants of a workload, each with the one made beside it."""
    stretches: dict[str, list[Rounds]] = defaultdict(list)
    for cell in cells:
        seconds = cell.series.get(IN_A_ROW, ())
        stretches[cell.case.workload].append([seconds[i : i + ROW] for i in range(0, len(seconds), ROW)])
    return tuple(
        naive_t_test(*pair)
        for of in stretches.values()
        for one, other in combinations(of, 2)
        for pair in zip(one, other, strict=False)
    )


def _detectable(alike: Sequence[Alike], n_rounds: int) -> dict[str, float]:
    logs: dict[str, list[float]] = defaultdict(list)
    for one in alike:
        logs[one.workload] += one.log_ratios
    return {name: smallest_detectable_ratio(values, n_rounds=n_rounds, power=POWER) for name, values in logs.items()}
