"""What the ends of a figure are: an interval, a range of repeats, or the band of a model; only intervals count."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sample_runs as samples
from made_pairs import made, pair
from pydantic import TypeAdapter

from inferbench_lib import studies
from inferbench_lib.findings import Verdict
from inferbench_lib.records import Figure, FigureKind
from inferbench_lib.report import history

RANGE: FigureKind = "range"
MODEL: FigureKind = "model"


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        ({"value": 2.0, "low": 1.9, "high": 2.1, "unit": "×", "verdict": "faster"}, "interval"),
        ({"value": 300.0, "low": 200.0, "high": 450.0, "unit": "images/s", "verdict": "MODEL, batch 16"}, MODEL),
        ({"value": 120.0, "low": 90.0, "high": 120.0, "unit": "GFLOP/s", "verdict": "torch"}, RANGE),
        ({"value": 12.0, "low": 11.0, "high": 12.0, "unit": "GB/s", "verdict": "DRAM"}, RANGE),
        ({"value": 0.05, "low": 0.04, "high": 0.06, "unit": "s", "verdict": "", "kind": "range"}, RANGE),
    ],
)
def test_a_stored_figure_tells_its_kind(stored: dict[str, Any], kind: FigureKind) -> None:
    """A figure stored without a kind takes it from its verdict or unit; a stored kind counts."""
    assert TypeAdapter(Figure).validate_python(stored).kind == kind


def test_limits_and_models_are_no_intervals() -> None:
    """The ends of matrix products, bandwidth and process starts are repeats, those of modelled GPUs a band."""
    found = studies.figures(samples.hardware_run())
    limits = [of for name, of in found.items() if name.startswith(("gemm_gflops", "memory_gb_s", "process_start_s"))]
    assert len(limits) > 4
    assert {of.kind for of in limits} == {RANGE}
    modelled = [of for name, of in studies.figures(samples.vs_gpu()).items() if name.startswith("model_")]
    assert len(modelled) > 4
    assert {of.kind for of in modelled} == {MODEL}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (RANGE, "its ends are the lowest and the highest repeat, not an interval"),
        (MODEL, "it is a model's, not measured"),
    ],
)
def test_only_intervals_are_compared(kind: FigureKind, reason: str) -> None:
    """Ranges and bands that lie far apart get no verdict, and 36 of them leave the deciding level as it was."""
    rng = np.random.default_rng(0)
    base, head = made(rng), made(rng)
    level = pair(base, head).notebooks[0].rule.level

    def also(scale: float) -> dict[str, Figure]:
        ends = {"value": scale, "low": 0.99 * scale, "high": 1.01 * scale}
        return {f"more[{n}]": Figure(**{k: n * v for k, v in ends.items()}, kind=kind) for n in range(1, 37)}

    base = replace(base, summary={**base.summary, **also(1.0)})
    head = replace(head, summary={**head.summary, **also(2.0)})
    study = pair(base, head)
    more = [change for change in study.changes if change.name.startswith("more")]
    assert {(change.ratio.verdict, change.ratio.reason) for change in more} == {(Verdict.TOO_FEW, reason)}
    assert [change.ratio.value for change in more] == pytest.approx([2.0] * 36)
    assert math.isclose(study.notebooks[0].rule.level, level)


def test_the_index_compares_only_intervals() -> None:
    """A range of repeats that doubles is no change; an interval that does is one."""
    interval = Figure(value=1.0, low=0.99, high=1.01, unit="×")
    kinds: tuple[tuple[FigureKind, bool], ...] = (("interval", True), (RANGE, False))
    for kind, changed in kinds:
        before = replace(interval, kind=kind)
        after = Figure(value=2.0, low=1.99, high=2.01, unit="×", kind=kind)
        assert history.changes({"a": before}, {"a": after}, {"a": "a"}).changed is changed
