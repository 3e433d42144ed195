"""List what the notebooks of a run recommend."""

from __future__ import annotations

from collections.abc import Mapping

from inferbench_lib.records import Advice, Run
from inferbench_lib.studies import voice


def recommendations(runs: Mapping[str, Run]) -> list[Advice]:
    """Return one for each notebook that compares ways of working."""
    return [advice for run in runs.values() if (advice := voice.advice(run))]
