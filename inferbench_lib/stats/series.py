"""Describe one series of samples: its autocorrelation, its independent replicates, its drift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import median

import numpy as np
from scipy import stats

Rounds = Sequence[Sequence[float]]

MIN_PAIRS = 10  # pairs of neighbours below which no autocorrelation is estimated
DRIFT_TOLERANCE = 0.05  # a second half that differs by less is level: half of what a 10 % effect would need
MIN_BLOCK = 5  # calls whose median is symmetric enough for the signed-rank interval
MAX_BLOCKS = 30  # more blocks of fewer calls would trust the autocorrelation's estimate too far


def round_medians(rounds: Rounds) -> list[float]:
    """Return the median of each round that has samples."""
    return [median(samples) for samples in rounds if len(samples)]


def lag1(rounds: Rounds) -> float | None:
    """Return the lag-1 autocorrelation of ranks within rounds; None below ten pairs or when all are equal.

    Pairs are neighbours of one round; deviations are from the mean over all rounds, since the mean of a handful of
    calls would hide the autocorrelation. Ranks, because one outlier would hide it too (Box & Jenkins 1976, chapter 2).
    """
    n_pairs = sum(max(0, len(samples) - 1) for samples in rounds)
    if n_pairs < MIN_PAIRS:
        return None
    ranks = stats.rankdata([sample for samples in rounds for sample in samples])
    deviations = np.split(ranks - ranks.mean(), np.cumsum([len(samples) for samples in rounds])[:-1])
    products = sum(float(round_[:-1] @ round_[1:]) for round_ in deviations)
    variance = float(ranks.var())
    return products / n_pairs / variance if variance > 0 else None


def effective_samples(n: int, autocorrelation: float | None) -> float:
    """Return how many independent samples `n` autocorrelated ones are worth: n (1 − r) / (1 + r), at most n.

    Exact in the limit for the mean of a first-order autoregressive series (Bayley & Hammersley 1946).
    """
    r = min(max(autocorrelation or 0.0, 0.0), 0.99)
    return n * (1 - r) / (1 + r)


def into_blocks(samples: Sequence[float]) -> list[Sequence[float]]:
    """Cut one series into consecutive blocks whose medians are nearly independent, the replicates of a lone round.

    In a first-order autoregressive series the means of neighbouring blocks of b samples correlate by
    r / ((1 − r²) b) (batch means; Law 2015, section 9.5.3); b is taken so that this is at most 0.1. A short series
    shows less autocorrelation than there is, so r is raised by its bias (1 + 3r) / n and by one standard error (Kendall
    1954; Bartlett 1946). Left-over samples join the last block.
    """
    n, seen = len(samples), lag1([samples]) or 0.0
    r = min(max(seen + (1 + 3 * seen) / n + math.sqrt((1 - seen**2) / n), 0.0), 0.99) if n else 0.0
    size = max(MIN_BLOCK, math.ceil(10 * r / (1 - r * r)), math.ceil(n / MAX_BLOCKS))
    n_blocks = max(1, n // size)
    edges = [index * size for index in range(n_blocks)] + [n]
    return [samples[start:end] for start, end in pairwise(edges)]


def n_replicates(n_rounds: int) -> int:
    """Return how many replicates a cell's rounds are worth for its own median: all below twelve, then fewer, larger.

    Rounds of one cell are autocorrelated too when its calls are and little lies between its turns. From twelve rounds
    on there are enough to merge neighbours, which restores the coverage at no great cost in width (Schmeiser 1982).
    A ratio needs no merging: what both cells of a round share cancels.
    """
    return n_rounds if n_rounds < 12 else max(min(n_rounds // 2, 7), n_rounds // 5)


def replicates(rounds: Rounds) -> list[float]:
    """Return the medians that stand for independent repetitions: of rounds, merged rounds, or a lone round's blocks."""
    taken = [samples for samples in rounds if len(samples)]
    if len(taken) == 1:
        return [median(block) for block in into_blocks(taken[0])]
    groups = np.array_split(np.arange(len(taken)), max(1, n_replicates(len(taken))))
    return [median(sample for index in group for sample in taken[index]) for group in groups if group.size]


def drift(medians: Sequence[float], process_sizes: Sequence[int] = ()) -> float:
    """Return by how much the second half of medians, all above 0, differs from the first (0.12: 12 % more); 0 if level.

    A series is level unless its halves differ by more than 5 % *and* the Mann–Whitney test (Mann & Whitney 1947)
    rejects equality at 5 %, or at the smallest level that so few rounds can reach (three against three: 10 %).
    Below six medians nothing can be said and the series passes as level. Where several processes took so many rounds
    each, a step between them is no drift: the slope within them must explain more than half of the change.
    """
    half = len(medians) // 2
    if len(medians) < 6:
        return 0.0
    first, second = medians[:half], medians[-half:]
    change = median(second) / median(first) - 1
    p_value = float(stats.mannwhitneyu(first, second, method="exact" if len(medians) <= 40 else "asymptotic").pvalue)
    reachable = 2 / math.comb(2 * half, half)
    is_large = abs(math.log1p(change)) > math.log1p(DRIFT_TOLERANCE)
    if not is_large or p_value > max(0.05, reachable) + 1e-12:
        return 0.0
    if len(process_sizes) > 1 and _slope_within(medians, process_sizes) * half / math.log1p(change) <= 0.5:
        return 0.0
    return change


def _slope_within(medians: Sequence[float], sizes: Sequence[int]) -> float:
    """Return the slope per round of the logarithms that all processes share, each with a level of its own."""
    products = squares = 0.0
    for start, end in pairwise([0, *accumulate(sizes)]):
        logs, places = np.log(medians[start:end]), np.arange(end - start, dtype=float)
        if end - start > 1:
            places -= places.mean()
            products, squares = products + float(places @ logs), squares + float(places @ places)
    return products / squares if squares else 0.0
