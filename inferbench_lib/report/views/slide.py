"""`performance_summary.png`: a run's key figures, its machine and its conclusions in one picture, for a slide."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from inferbench_lib.records import Run
from inferbench_lib.report.display import View
from inferbench_lib.report.figures import FAINT, INK
from inferbench_lib.report.views.common import system_rows
from inferbench_lib.report.views.recommended import recommendations
from inferbench_lib.report.words import figure_cells, plural

KEY_FIGURES = {
    "cpu_multiprocess": ("single_s", "multi_s", "speedup", "efficiency", "verification"),
    "cpu_vs_gpu": ("best_throughput", "speedup"),
    "batch_sweep": ("best_batch", "best_throughput"),
    "hardware_analysis": ("usable_cpus", "gemm_gflops[fp32", "memory_gb_s"),
}
"""What goes into the table of key figures: names, or beginnings of names, of `summary.json`."""
UNSHOWN = ("[naive_pool]", "[threads]", "[shared_pool]")
"""Ways of `cpu_multiprocess` that the conclusions name where they matter."""
N_MACHINE_ROWS = 11
LINE_INCHES = 0.235


def performance_summary(runs: Mapping[str, Run]) -> View:
    """What are the key figures, on which machine, and what follows?"""
    rows: list[dict[str, Any]] = []
    for name, run in runs.items():
        chosen = [(key, figure) for key, figure in run.summary.items() if _is_key(key, KEY_FIGURES.get(name, ()))]
        for key, value, spread, verdict in figure_cells(chosen):
            rows.append({"panel": "figures", "name": key, "value": value, "more": spread or verdict})
    for run in list(runs.values())[:1]:
        rows += [
            {"panel": "machine", "name": name, "value": value, "more": ""}
            for name, value in system_rows(run)[:N_MACHINE_ROWS]
        ]
    for advice in recommendations(runs):
        said = f"{advice.recommendation}: {advice.evidence}."
        rows.append({"panel": "conclusions", "name": "→", "value": said[:1].upper() + said[1:], "more": ""})
    frame = pd.DataFrame(rows, columns=["panel", "name", "value", "more"])
    n_figures = int((frame["panel"] == "figures").sum())
    spoken = " ".join(frame[frame["panel"] == "conclusions"]["value"])
    return View(
        name="performance_summary",
        frame=frame,
        draw=_draw,
        alt=f"Key figures, machine and conclusions of this run, on one slide. {spoken}",
        reading=f"{plural(n_figures, 'key figure')} of {plural(len(runs), 'notebook')}, the machine, and what follows.",
        size_inches=(10.0, LINE_INCHES * (_depth(frame) + 1)),
        mark=next((run.mark for run in runs.values() if run.mark), ""),
        has_narrow=False,
    )


def _depth(frame: pd.DataFrame) -> float:
    """Lines of text below each other."""
    counts = frame["panel"].value_counts()
    wrapped = sum(len(_wrapped(text)) for text in frame[frame["panel"] == "conclusions"]["value"])
    return float(max(counts.get("figures", 0), counts.get("machine", 0)) + wrapped + 4)


def _draw(frame: pd.DataFrame, axes: Sequence[Any]) -> None:
    """Key figures on the left, the machine on the right, conclusions below; y counts lines of text."""
    ax = axes[0]
    ax.axis("off")
    figures, machine, conclusions = (frame[frame["panel"] == panel] for panel in ("figures", "machine", "conclusions"))
    for places, heading, rows, width in (
        ((0.0, 0.25, 0.41), "Key figures", figures, 26),
        ((0.62, 0.78, 1.0), "Machine", machine, 26),
    ):
        ax.text(places[0], 0, heading, fontsize=12, fontweight="bold", color=INK, va="top")
        for line, row in enumerate(rows.itertuples(), start=1):
            ax.text(places[0], line + 0.4, _short(str(row.name), width), fontsize=9, color=INK, va="top")
            ax.text(places[1], line + 0.4, _short(str(row.value), width), fontsize=9, fontweight="bold", va="top")
            ax.text(places[2], line + 0.4, _short(str(row.more), width), fontsize=9, color=FAINT, va="top")
    depth = max(len(figures), len(machine)) + 2.0
    ax.text(0, depth, "What to do", fontsize=12, fontweight="bold", color=INK, va="top")
    depth += 1.4
    for row in conclusions.itertuples():
        lines = _wrapped(str(row.value))
        ax.text(0, depth, row.name, fontsize=9, color=INK, va="top")
        ax.text(0.02, depth, "\n".join(lines), fontsize=9, color=INK, va="top")
        depth += len(lines)
    ax.set_xlim(0, 1)
    ax.set_ylim(depth, 0)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 150)


def _is_key(name: str, wanted: Sequence[str]) -> bool:
    """Whether the part before the bracket is wanted; `gemm_gflops[fp32` asks for one precision."""
    if name.endswith(UNSHOWN):
        return False
    return name.partition("[")[0] in wanted or any("[" in want and name.startswith(want) for want in wanted)


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
