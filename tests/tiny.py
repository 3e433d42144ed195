"""Every profile's parameters made tiny, and reports made with them by the real runner in a process of its own.

Notebooks and profiles are found in their folders: one that is new takes part, or fails for want of a tiny size.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib as mpl
import yaml

from inferbench_lib import config

ROOT = Path(__file__).parents[1]
OF_RUNS = {"compare"}
"""Notebooks over several finished runs; they have tests of their own."""
NOTEBOOKS = sorted(
    {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} - OF_RUNS, key=lambda name: (name == "summary", name)
)
"""In the order they are executed: the summary reads what the others left."""
FULL_PROFILE = "standard"
"""The profile that keeps every network and executor, and measures even what takes the same time at any size."""
PROFILES = (FULL_PROFILE, "quick")
"""Those of README's commands; made tiny, the other two differ from them in nothing that is measured."""

FOREST = {"n_features": 8, "n_trees": 5, "n_train": 200}
ROUNDS = {"min_rounds": 1, "max_rounds": 1, "time_limit_s": 1.0}
TINY: Mapping[str, Mapping[str, Any]] = {
    "cpu_multiprocess": {
        **FOREST,
        **ROUNDS,
        "n_samples": 2000,
        "n_processes": 2,
        "batch_size": 500,
        "scaling_rows": [500, 1000],
        "scaling_processes": [1, 2],
        "network_processes": [],
        "network_threads": [],
        "cold_executors": ["shared_pool"],
    },
    "cpu_vs_gpu": {
        **ROUNDS,
        "batch_sizes": [1, 2],
        "warmup": 1,
        "iterations": {"cnn-small": 2, "cnn-medium": 2, "cnn-large": 2},
    },
    "batch_sweep": {**FOREST, **ROUNDS, "batch_sizes": {"forest": [1, 50], "cnn-small": [1, 2]}, "threads": [1]},
    "model_engines": {
        **FOREST,
        **ROUNDS,
        "batch_sizes": {"forest": [1, 20], "cnn-small": [1]},
        "engines": ["sklearn", "torch", "onnxruntime"],
        "precisions": ["fp32"],
        "threads": [1],
    },
    "hardware_analysis": {
        **FOREST,
        **ROUNDS,
        "workloads": ["forest", "cnn-small"],
        "budget_s": 0.1,
        "default_threads_s": 0.1,
    }
    | {"profile_rounds": 1, "image_sides": [8, 16, 24], "feature_counts": [2, 4, 8], "tree_counts": [1, 2, 5]}
    | {"tree_depths": [1, 2, 4]},
    "calibration": {**FOREST, "comparisons": 1, "rounds_a_comparison": 6, "time_limit_s": 1.0},
    "summary": {},
}
SHORTER: Mapping[str, Mapping[str, Any]] = {
    "cpu_vs_gpu": {"iterations": {"cnn-small": 2}},
}
REUSED = ("batch_sweep", "model_engines", "cpu_multiprocess", "hardware_analysis", "calibration")
"""What the other profile shows again from the full one's run: tiny or not, it takes its time."""

CANARIES = {"home": "canaryhome", "user": "canaryuser", "host": "canaryhost", "value": "canaryvalue"}
"""Names planted where a report is made; none of them may be found in what is shared."""
PROGRAM = """
import sys
from pathlib import Path
from inferbench_lib.plan import plan
from inferbench_lib.report.runner import run_report
profile, params, *notebooks = sys.argv[1:]
sys.exit(run_report(plan(profile, notebooks, params=Path(params), timeout_s=300)))
"""


@dataclass(frozen=True)
class Report:
    """A finished report: what the runner returned and printed, and the run's folder."""

    profile: str
    code: int
    said: str
    folder: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "manifest.json").read_text())
        return found

    @cached_property
    def summary(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = json.loads((self.folder / "summary.json").read_text())
        return found

    @property
    def pages(self) -> list[Path]:
        return [self.folder / page_name(name) for name in NOTEBOOKS]


def page_name(notebook: str) -> str:
    """The file of a notebook's page; the summary's is the front page."""
    return "index.html" if notebook == "summary" else f"{notebook}.html"


class TinyReports:
    """Reports of `PROFILES`, made when they are first asked for: the full one, then the other from its records."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self._made: dict[str, Report] = {}

    def of(self, profile: str) -> Report:
        """The report of a profile, in a reports folder of its own."""
        if FULL_PROFILE not in self._made:
            self._made[FULL_PROFILE] = self._make(FULL_PROFILE)
        if profile not in self._made:
            self._made[profile] = self._make(profile)
        return self._made[profile]

    def _make(self, profile: str) -> Report:
        work, reuse = self.work / profile, None
        if profile != FULL_PROFILE:
            full = self._made[FULL_PROFILE].folder
            reuse = full.name
            shutil.copytree(full, work / "reports" / reuse)
        return make_report(work, profile, NOTEBOOKS, write_params(work / "params", profile, reuse))


def write_params(folder: Path, profile: str, reuse: str | None = None) -> Path:
    """The profile as committed but tiny, in `folder`; a notebook without a tiny size raises KeyError."""
    for notebook in NOTEBOOKS:
        values = config.read_params(ROOT / "params" / profile / f"{notebook}.yaml") | TINY[notebook]
        if profile != FULL_PROFILE:
            values |= SHORTER.get(notebook, {}) | ({"reuse": reuse} if notebook in REUSED else {})
        path = folder / profile / f"{notebook}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(values))
    return folder


def make_report(
    work: Path, profile: str, notebooks: Sequence[str], params: Path, environment: Mapping[str, str] | None = None
) -> Report:
    """Run the real runner in a new process, with canaries planted in its home, user, host and environment."""
    reports = work / "reports"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, profile, str(params), *notebooks],
        env={**planted(work), "INFERBENCH_REPORTS": str(reports), **(environment or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    said = done.stdout + done.stderr
    made = sorted(path.parent for path in reports.glob(f"*-{profile}/manifest.json"))
    return Report(profile, done.returncode, said, made[-1] if made else reports / "no run was left")


def planted(work: Path) -> dict[str, str]:
    """This environment with a home, a user, a host and values that can be told wherever they leak to."""
    home, site = work / CANARIES["home"], work / "site"
    home.mkdir(parents=True, exist_ok=True)
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(f"import socket\nsocket.gethostname = lambda: {CANARIES['host']!r}\n")
    return {
        **os.environ,
        "HOME": str(home),
        "LOGNAME": CANARIES["user"],
        "INFERBENCH_CANARY": CANARIES["value"],
        "OMP_CANARY": f"/{CANARIES['value']}",  # variables that change speed are told, but not a path in one
        "MPLCONFIGDIR": mpl.get_cachedir(),  # else its fonts are looked for again in every new home
        "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
