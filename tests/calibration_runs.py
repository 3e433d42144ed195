"""Calibration runs put together by hand, their truth known."""

from __future__ import annotations

import numpy as np

from inferbench_lib.records import Case, Machine, Measurement, Run

FOREST, CNN = Case(workload="forest", batch_size=10), Case(workload="cnn-small", batch_size=1)


def spin_row(label: str, duration_s: float, calls: int, ratio: float) -> Measurement:
    """Six rounds of two samples that all read `ratio` times the truth: what the spin says and 50 ns more."""
    return Measurement(
        case=Case(workload="spin", engine=label, batch_size=1),
        samples_s=(ratio * (duration_s + 50e-9),) * 12,
        round_sizes=(2,) * 6,
        calls_per_sample=calls,
        series={"said_s": (duration_s,) * 12},
        figures={"duration_s": duration_s},
        notes={"part": "spin"},
    )


def alike_row(case: Case, rounds: np.ndarray) -> Measurement:
    """A variant with these rounds of samples, shape (rounds, calls)."""
    return Measurement(
        case=case,
        samples_s=tuple(rounds.ravel().tolist()),
        round_sizes=(rounds.shape[1],) * len(rounds),
        notes={"part": "identical"},
    )


def quiet_rounds(*, n_rounds: int, seed: int, spread: float = 0.002, factor: float = 1.0) -> np.ndarray:
    """Calls of about a millisecond with independent noise."""
    noise = np.random.default_rng(seed).standard_normal((n_rounds, 3))
    return factor * 1e-3 * np.exp(spread * noise)


def variants(
    case: Case, *, n_rounds: int, factors: tuple[float, ...] = (1, 1, 1, 1), spread: float = 0.002, seed: int = 0
) -> list[Measurement]:
    """Four variants; `factors` makes some of them slower."""
    return [
        alike_row(case, quiet_rounds(n_rounds=n_rounds, seed=10 * seed + number, spread=spread, factor=factor))
        for number, factor in enumerate(factors)
    ]


def a_run(alike: list[Measurement], *, comparisons: int = 12, bias: float = 1.001) -> Run:
    """A stored run put together by hand."""
    agreement = [
        Measurement(case=FOREST, samples_s=(seconds,) * 8, round_sizes=(1,) * 8, calls_per_sample=5,
                    notes={"part": "agreement", "timer": timer})
        for timer, seconds in (("inferbench", 1.01e-3), ("torch", 1e-3))
    ]  # fmt: skip
    durations = {"5us": 5e-6, "50us": 5e-5, "500us": 5e-4, "5ms": 5e-3}
    spins = [
        spin_row(label, s, calls, bias) for label, s in durations.items() for calls in ((2, 1) if s < 5e-3 else (1,))
    ]
    names = ("timer_pair_ns", "timer_step_ns", "clock_ns", "loop_ns", "between_ns", "spin_edge_ns")
    return Run(
        notebook="calibration",
        run_id="by-hand",
        machine=Machine(cpu_model="Example CPU"),
        params={"comparisons": comparisons, "rounds_a_comparison": 8, "seed": 0},
        measurements=(*spins, *agreement, *alike),
        tables={"overhead": {name: [50.0, 40.0, 60.0] for name in names}},
    )
