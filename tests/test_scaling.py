"""How throughput grows with workers."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from inferbench_lib.findings import Interval, Refusal
from inferbench_lib.stats.scaling import AmdahlFit, UslFit, break_even, fit_amdahl, fit_usl


def law(
    workers: tuple[int, ...], contention: float, coherency: float = 0.0, *, n_rounds: int = 8, noise: float = 0.0
) -> dict[int, list[float]]:
    """Throughputs of a system that obeys the law with X(1) = 50, with relative noise a round."""
    rng = np.random.default_rng(1)
    return {
        n: [
            50 * n / (1 + contention * (n - 1) + coherency * n * (n - 1)) * float(np.exp(rng.normal(0, noise)))
            for _ in range(n_rounds)
        ]
        for n in workers
    }


def test_amdahl_s_serial_fraction_is_recovered_exactly() -> None:
    """A quarter serial: at most 4×."""
    fit = fit_amdahl(law((1, 2, 4), 0.25))
    assert isinstance(fit, AmdahlFit)
    assert fit.serial_fraction.value == pytest.approx(0.25)
    assert fit.serial_fraction.low == pytest.approx(0.25)
    assert fit.max_speedup.value == pytest.approx(4.0)
    assert fit.misfit == pytest.approx(0.0, abs=1e-9)


def test_the_universal_law_is_recovered_exactly() -> None:
    """σ = 0.05 and κ = 0.01 peak at √95 workers."""
    fit = fit_usl(law((1, 2, 4, 8), 0.05, 0.01))
    assert isinstance(fit, UslFit)
    assert (fit.contention.value, fit.coherency.value) == (pytest.approx(0.05), pytest.approx(0.01))
    assert fit.peak_workers == pytest.approx(math.sqrt(95))


def test_intervals_hold_the_truth_under_noise() -> None:
    """With 3 % noise the intervals contain the parameters, turn around for the limit, and are not points."""
    amdahl = fit_amdahl(law((1, 2, 4, 8), 0.2, noise=0.03, n_rounds=12))
    usl = fit_usl(law((1, 2, 4, 8), 0.2, 0.01, noise=0.03, n_rounds=12))
    assert isinstance(amdahl, AmdahlFit)
    assert isinstance(usl, UslFit)
    for interval, truth in (
        (amdahl.serial_fraction, 0.2),
        (amdahl.max_speedup, 5.0),
        (usl.contention, 0.2),
        (usl.coherency, 0.01),
    ):
        assert interval.low < truth < interval.high


def test_a_misfit_tells_that_the_law_does_not_hold() -> None:
    """Amdahl's law fitted to a system with coherency losses misses a point by several percent."""
    fit = fit_amdahl(law((1, 2, 4, 8), 0.05, 0.02))
    assert isinstance(fit, AmdahlFit)
    assert fit.misfit > 0.05


def test_linear_scaling_has_no_limit() -> None:
    """Without a serial part the speedup is unbounded and never negative in the fraction."""
    fit = fit_amdahl(law((1, 2, 4), -0.01))
    assert isinstance(fit, AmdahlFit)
    assert (fit.serial_fraction.value, fit.max_speedup.value) == (0.0, math.inf)
    usl = fit_usl(law((1, 2, 3, 4), 0.0))
    assert isinstance(usl, UslFit)
    assert usl.peak_workers > 1000


def test_a_fit_needs_enough_worker_counts() -> None:
    """Two for Amdahl and three for the universal law are refused with the number needed."""
    assert fit_amdahl(law((1, 2), 0.1)) == Refusal(reason="Amdahl's law needs 3 worker counts, has 2")
    reason = "the universal scalability law needs 4 worker counts, has 3"
    assert fit_usl(law((1, 2, 4), 0.1)) == Refusal(reason=reason)


def test_few_rounds_withhold_the_interval() -> None:
    """Three rounds give the fraction without an interval."""
    fit = fit_amdahl(law((1, 2, 4), 0.25, n_rounds=3))
    assert isinstance(fit, AmdahlFit)
    assert (fit.serial_fraction.low, fit.max_speedup.high) == (None, None)
    assert fit.serial_fraction.reason == "needs 6 rounds, has 3"


def test_amdahl_s_law_cannot_describe_a_slowdown() -> None:
    """Where more workers are slower than one it is refused; the universal law describes it."""
    slower = {1: [50.0] * 6, 2: [40.0] * 6, 4: [30.0] * 6, 8: [20.0] * 6}
    refusal = fit_amdahl(slower)
    assert refusal == Refusal(
        reason="throughput falls below one worker's as workers are added, which Amdahl's law cannot describe"
    )
    usl = fit_usl(slower)
    assert isinstance(usl, UslFit)
    assert usl.peak_workers < 2


def test_rounds_that_do_not_match_are_refused() -> None:
    """Different numbers of rounds and impossible throughputs raise with what came."""
    message = (
        "throughputs: expected as many rounds for each worker count, every value above 0, got {1: [1.0], 2: [1.0, 2.0]}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        fit_amdahl({1: [1.0], 2: [1.0, 2.0]})
    with pytest.raises(ValueError, match="every value above 0"):
        fit_usl({1: [0.0], 2: [1.0]})


def test_break_even_is_start_up_over_the_gain_of_a_row() -> None:
    """1.5 s of start, 6 µs gained a row: 250,000 rows in every round; the rounds give the interval."""
    paid = break_even([1.5] * 6, [1.0] * 6, [0.4] * 6, n_rows=100_000)
    assert isinstance(paid, Interval)
    assert (paid.value, paid.low, paid.high) == (pytest.approx(250_000),) * 3


def test_break_even_is_withheld_where_nothing_is_gained() -> None:
    """A way that is slower never pays; one that gained nothing in some rounds has no interval."""
    never = break_even([1.5] * 6, [1.0] * 6, [1.2] * 6, n_rows=100)
    assert never == Refusal(reason="no time is saved per row, so the start-up never pays off")
    unsure = break_even([1.0] * 6, [1.0] * 6, [0.5] * 5 + [1.1], n_rows=100)
    assert unsure == Interval(value=200.0, reason="in 1 of 6 rounds no time was saved per row")
    assert break_even([], [], [], n_rows=100) == Refusal(reason="no round holds all of them")
