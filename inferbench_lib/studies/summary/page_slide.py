"""Draw the slide of a run: its key figures, its machine and its recommendations."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from inferbench_lib.records import Run
from inferbench_lib.report import page_parts as common
from inferbench_lib.report.display import View
from inferbench_lib.report.look import FAINT, INK
from inferbench_lib.report.words import capital, plural, spread, valued
from inferbench_lib.studies import voice
from inferbench_lib.studies.summary import study

Runs = Mapping[str, Run]
N_MACHINE_ROWS = 11
LINE_INCHES = 0.2
GAP = 0.25
"""Between two entries, in lines."""
LETTERS = {"figures": 30, "machine": 30, "conclusions": 145}
"""Letters per line in the widest column of each panel."""


def performance_summary(runs: Runs) -> View:
    """Show the key figures, the machine and the recommendations."""
    rows = [
        {"panel": "figures", "name": name, "value": value, "more": more} for name, (value, more) in _key(runs).items()
    ]
    for run in list(runs.values())[:1]:
        rows += [
            {"panel": "machine", "name": name, "value": value, "more": ""}
            for name, value in common.system_rows(run)[:N_MACHINE_ROWS]
        ]
    for advice in voice.recommendations(runs):
        said = f"{capital(advice.recommendation)}. {capital(advice.evidence)}."
        rows.append({"panel": "conclusions", "name": "→", "value": said, "more": ""})
    frame = pd.DataFrame(rows, columns=["panel", "name", "value", "more"])
    n_figures = int((frame["panel"] == "figures").sum())
    return View(
        name="performance_summary",
        frame=frame,
        draw=_draw,
        alt="Key figures, machine and recommendations of this run, on one slide.",
        reading=f"{plural(n_figures, 'key figure')} of {plural(len(runs), 'notebook')}, machine and recommendations.",
        size_inches=(10.0, LINE_INCHES * (_tables_depth(frame) + _depth(frame, "conclusions") + 5)),
        mark=next((run.mark for run in runs.values() if run.mark), ""),
        has_narrow=False,
    )


def _key(runs: Runs) -> dict[str, tuple[str, str]]:
    """Return value and interval (or verdict) of each key figure that was measured, by its name in words.

    Of several figures with one name the last counts: the matrix product on all threads.
    """
    rows = {}
    for notebook, run in runs.items():
        for pattern, words in voice.key_figures(notebook).items():
            for key, of in run.summary.items():
                if of.value is not None and (found := re.fullmatch(pattern, key)):
                    if rate := study.spoken_rate(notebook, of, runs):
                        of = replace(of, value=rate.value, low=rate.low, high=rate.high)
                    ends = f"repeats {spread(of)}" if of.kind == "range" else spread(of)
                    rows[capital(found.expand(words))] = (valued(of.value, of.unit), ends or of.verdict)
    return rows


def _lines(row: Any) -> list[str]:
    return textwrap.wrap(str(row.value), LETTERS[row.panel]) or [""]


def _depth(frame: pd.DataFrame, panel: str) -> float:
    """Return the depth of a panel, in lines."""
    return sum(len(_lines(row)) + GAP for row in frame[frame["panel"] == panel].itertuples())


def _tables_depth(frame: pd.DataFrame) -> float:
    return max(_depth(frame, "figures"), _depth(frame, "machine"))


def _draw(frame: pd.DataFrame, axes: Sequence[Any]) -> None:
    """Draw key figures on the left, the machine on the right, conclusions below; y counts lines of text."""
    ax = axes[0]
    ax.axis("off")
    below = _tables_depth(frame) + 2.6
    for panel, heading, places, top in (
        ("figures", "Key figures", (0.0, 0.26, 0.455), 0.0),
        ("machine", "Machine", (0.62, 0.78, 1.0), 0.0),
        ("conclusions", "What to do", (0.0, 0.02, 1.0), below),
    ):
        weight = "normal" if panel == "conclusions" else "bold"
        ax.text(places[0], top, heading, fontsize=12, fontweight="bold", color=INK, va="top")
        y = top + 1.7
        for row in frame[frame["panel"] == panel].itertuples():
            ax.text(places[0], y, row.name, fontsize=9, color=INK, va="top")
            ax.text(places[2], y, row.more, fontsize=9, color=FAINT, va="top")
            for line in _lines(row):
                ax.text(places[1], y, line, fontsize=9, fontweight=weight, color=INK, va="top")
                y += 1
            y += GAP
    ax.set_xlim(0, 1)
    ax.set_ylim(below + _depth(frame, "conclusions") + 2, 0)
