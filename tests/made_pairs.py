"""Runs of `cpu_multiprocess` made up from noise whose truth is known, for comparing one with another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import sample_runs as samples
from simulated_series import autoregressive

from inferbench_lib.records import Run
from inferbench_lib.studies.compare.study import RunComparison, compare_runs

NOTEBOOK = "cpu_multiprocess"
NAMES = ("single", "threads", "naive_pool", "shared_pool", "ceiling")


def made(
    rng: np.random.Generator,
    *,
    n_rounds: int = 8,
    noise: float = 0.02,
    lag1: float = 0.3,
    process: float = 0.01,
    slower: Mapping[str, float] | None = None,
    machine: float = 1.0,
) -> Run:
    """One run: rounds scatter by `noise`, half of it shared and autocorrelated; each process is off by `process`.

    `slower` multiplies an executor's time, `machine` that of everything, the control workload too.
    """
    shared = np.exp(noise / 2 * autoregressive((n_rounds,), lag1, rng)) * machine
    cells = []
    for name in NAMES:
        scale = (slower or {}).get(name, 1.0) * np.exp(process * rng.standard_normal())
        wobble = tuple(scale * shared * np.exp(noise * rng.standard_normal(n_rounds)))
        cells.append(samples.way(name, wobble=wobble, spans=()))
    control_s = [[0.011 * at * np.exp(0.005 * rng.standard_normal()) for _ in NAMES] for at in shared]
    return with_control(samples.multiprocess(*cells), control_s)


def with_control(run: Run, control_s: list[list[float]]) -> Run:
    """The run with these seconds of the control workload."""
    rounds = {**run.tables["schedules"]["rounds"], "control_s": control_s}
    return replace(run, tables={**run.tables, "schedules": {"rounds": rounds}})


def pair(base: Run, head: Run) -> RunComparison:
    """Two runs of one notebook, compared."""
    return compare_runs({base.notebook: base}, {head.notebook: head}, "head")


def pairs(n: int, seed: int, head: Mapping[str, Any] | None = None, **both: Any) -> list[RunComparison]:
    """So many pairs of made-up runs, alike but for what `head` says."""
    rng = np.random.default_rng(seed)
    return [pair(made(rng, **both), made(rng, **{**both, **(head or {})})) for _ in range(n)]
