"""A standard run of version 0.1.0, kept: nothing that it said is lost, whatever the library looks like by now."""

from __future__ import annotations

import gzip
import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from inferbench_lib import store
from inferbench_lib.records import Figure, Run
from inferbench_lib.studies.batch_sweep import study as sweep
from inferbench_lib.studies.cpu_multiprocess import study as multiprocess
from inferbench_lib.studies.cpu_vs_gpu import study as devices
from inferbench_lib.studies.hardware_analysis import study as hardware

RUN_ID = "20261130-164433-standard"
GOLDEN = Path(__file__).parent / "golden" / RUN_ID
NOTEBOOKS = ("batch_sweep", "cpu_multiprocess", "cpu_vs_gpu", "hardware_analysis")
# Figures whose correction since then is meant: the name, and why it differs.
CORRECTED: dict[str, str] = {}
# Figures that are new since then: a pattern of their names, and why.
ADDED = {
    r"cpu_multiprocess/(scaling_speedup\[\d+\]|serial_fraction)": "the forest's scaling is measured there alone",
}


def read(name: str) -> bytes:
    """The bytes of one file of the run."""
    return gzip.decompress((GOLDEN / f"{name}.json.gz").read_bytes())


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reports folder that holds the run."""
    folder = tmp_path_factory.mktemp("reports")
    for path in GOLDEN.rglob("*.json.gz"):
        there = folder / RUN_ID / path.relative_to(GOLDEN).with_suffix("")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(gzip.decompress(path.read_bytes()))
    return folder


@pytest.fixture(scope="module")
def runs(reports: Path) -> dict[str, Run]:
    """The stored runs, by notebook."""
    return store.load_runs(reports / RUN_ID)


def figures(run: Run) -> dict[str, Figure]:
    """The entries of `summary.json`, computed from the samples again."""
    named = {"cpu_multiprocess": multiprocess, "batch_sweep": sweep, "hardware_analysis": hardware}
    module = (named | {"cpu_vs_gpu": devices})[run.notebook]
    return module.figures(module.study(run))


def differing(told: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Where two figures or records differ: numbers by more than rounding, all else at all."""
    found = []
    for name in told.keys() | now.keys():
        one, other = told.get(name), now.get(name)
        both_numbers = isinstance(one, float | int) and isinstance(other, float | int)
        if not (math.isclose(one, other, rel_tol=1e-12) if both_numbers else one == other):
            found.append(f"{name}: was {one}, is {other}")
    return found


def test_the_run_is_whole(runs: dict[str, Run]) -> None:
    """All four notebooks of the run load, with every cell that they measured."""
    assert {name: len(run.measurements) for name, run in runs.items()} == {
        "batch_sweep": 12,
        "cpu_multiprocess": 25,
        "cpu_vs_gpu": 15,
        "hardware_analysis": 14,
    }


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_figures_come_out_equal(runs: dict[str, Run], notebook: str) -> None:
    """Every figure of the run's summary.json is computed from its stored samples again, equal, and no other one."""
    told = {
        name.removeprefix(f"{notebook}/"): figure
        for name, figure in json.loads(read("summary")).items()
        if name.startswith(f"{notebook}/") and name not in CORRECTED
    }
    now = {
        name: asdict(figure)
        for name, figure in figures(runs[notebook]).items()
        if f"{notebook}/{name}" not in CORRECTED
        and not any(re.fullmatch(pattern, f"{notebook}/{name}") for pattern in ADDED)
    }
    assert told.keys() == now.keys()
    wrong = {name: found for name in told if (found := differing(told[name], now[name]))}
    assert wrong == {}
