"""A whole report from made-up runs: the real notebooks and the real runner, but nothing is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import sample_runs as samples
import yaml
from tiny import Report, make_report

from inferbench_lib import store, studies

STORED, LATER = "20260712-140302-standard", "20260713-090000-standard"


def sample_report(work: Path) -> Report:
    """The report that shows the sample runs again, in a reports folder of its own."""
    runs = {
        run.notebook: run
        for run in (
            samples.multiprocess(), samples.vs_gpu(gpu=True), samples.engines(), samples.sweep(), samples.hardware_run()
        )
    }  # fmt: skip
    assert set(runs) == set(studies.measured()), "a notebook without a sample run would measure"
    for run in runs.values():
        store.save_run(run, work / "reports" / STORED)
    params = work / "params" / "standard"
    params.mkdir(parents=True)
    for name in studies.in_report():
        values = {"reuse": STORED} if name in runs else {}
        (params / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return make_report(work, "standard", studies.in_report(), work / "params")


def sample_comparison(work: Path) -> Report:
    """The comparison of the sample run with a later one: another version of numpy, a pool 1.5 times slower."""
    base = store.load_run(work / "reports" / STORED / "data" / "cpu_multiprocess.json")
    cells = [
        samples.way(name, wobble=[1.5 * w for w in samples.WOBBLE], spans=()) if name == "shared_pool" else
        samples.way(name)
        for name in samples.WAYS
    ]  # fmt: skip
    machine = replace(base.machine, versions={**base.machine.versions, "numpy": "2.5.0"})
    head = replace(samples.multiprocess(*cells), run_id=LATER, machine=machine)
    store.save_run(head, work / "reports" / LATER)
    path = work / "params" / "compare" / "compare.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({"base": STORED, "heads": [LATER]}))
    return make_report(work, "compare", ["compare"], work / "params")
