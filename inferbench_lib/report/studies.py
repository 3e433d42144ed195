"""What each notebook's page says of its run: the answer, the figures, the readings. One module a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from inferbench_lib.records import Run
from inferbench_lib.report.display import Answer
from inferbench_lib.studies.batch_sweep import page as sweep
from inferbench_lib.studies.calibration import page as calibration
from inferbench_lib.studies.compare import page as compare
from inferbench_lib.studies.cpu_multiprocess import page as multiprocess
from inferbench_lib.studies.cpu_vs_gpu import page as devices
from inferbench_lib.studies.hardware_analysis import page as hardware

PAGES: Mapping[str, ModuleType] = {
    "cpu_multiprocess": multiprocess,
    "cpu_vs_gpu": devices,
    "batch_sweep": sweep,
    "hardware_analysis": hardware,
    "calibration": calibration,
    "compare": compare,
}


_STUDIED: dict[int, tuple[Run, Any]] = {}


def study(run: Run) -> Any:
    """What the samples of a run say, worked out once: a run never changes, and several pages ask."""
    held, said = _STUDIED.get(id(run), (None, None))
    if held is not run:
        said = PAGES[run.notebook].study(run)
        _STUDIED[id(run)] = (run, said)  # kept with its run, so that no other run can come to have its id
    return said


def answer(run: Run) -> Answer:
    """The first screen of a run's page."""
    said: Answer = PAGES[run.notebook].answer(study(run))
    return said


def readings(run: Run) -> list[str]:
    """Every computed sentence of a run's page, in order."""
    return [view(study(run)).reading for view in PAGES[run.notebook].VIEWS]
