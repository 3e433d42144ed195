"""A whole report from made-up runs: the real notebooks and the real runner, but nothing is measured."""

from __future__ import annotations

from pathlib import Path

import sample_runs as samples
import yaml
from tiny import Report, make_report

from inferbench_lib import settings, store

STORED = "20260712-140302-standard"


def sample_report(work: Path) -> Report:
    """The report that shows the sample runs again, in a reports folder of its own."""
    runs = {
        run.notebook: run
        for run in (samples.multiprocess(), samples.vs_gpu(gpu=True), samples.sweep(), samples.hardware_run())
    }
    for run in runs.values():
        store.save_run(run, work / "reports" / STORED)
    params = work / "params" / "standard"
    params.mkdir(parents=True)
    for name in settings.REPORT_NOTEBOOKS:
        values = {"reuse": STORED} if name in runs else {}
        (params / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return make_report(work, "standard", settings.REPORT_NOTEBOOKS, work / "params")
