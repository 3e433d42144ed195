"""What each notebook's page says of its run: the answer, the figures, the readings. One module a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from inferbench_lib.records import Run
from inferbench_lib.report.display import Answer
from inferbench_lib.report.views import calibration, compare, devices, hardware, multiprocess, sweep

PAGES: Mapping[str, ModuleType] = {
    "cpu_multiprocess": multiprocess,
    "cpu_vs_gpu": devices,
    "batch_sweep": sweep,
    "hardware_analysis": hardware,
    "calibration": calibration,
    "compare": compare,
}


def answer(run: Run) -> Answer:
    """The first screen of a run's page."""
    said: Answer = PAGES[run.notebook].answer(PAGES[run.notebook].study(run))
    return said


def readings(run: Run) -> list[str]:
    """Every computed sentence of a run's page, in order."""
    module = PAGES[run.notebook]
    study = module.study(run)
    return [view(study).reading for view in module.VIEWS]
