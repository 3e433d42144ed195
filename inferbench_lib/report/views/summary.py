"""The page of `summary`: what the notebooks of one run say together."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from inferbench_lib import settings, store
from inferbench_lib.records import Run
from inferbench_lib.report import studies
from inferbench_lib.report.display import Answer, Table, View
from inferbench_lib.report.figures import FAINT, INK
from inferbench_lib.report.views.common import system_rows
from inferbench_lib.report.words import figure_cells, joined, plural

KEY_FIGURES = {
    "cpu_multiprocess": ("single_s", "multi_s", "speedup", "efficiency", "verification"),
    "cpu_vs_gpu": ("parameters", "best_throughput", "speedup"),
    "batch_sweep": ("best_batch", "best_throughput"),
    "hardware_analysis": ("usable_cpus", "gemm_gflops[fp32", "memory_gb_s"),
}
"""What goes into the table of key figures: names, or beginnings of names, of `summary.json`."""

Runs = Mapping[str, Run]


def runs_here() -> Runs:
    """The stored notebooks of the run that this notebook belongs to, in the report's order."""
    found = store.load_runs(store.run_folder())
    return {name: found[name] for name in settings.REPORT_NOTEBOOKS if name in found}


def answer(runs: Runs) -> Answer:
    """Every notebook's verdict, the measured ones first; what was not measured is named."""
    if not runs:
        return Answer(verdict="Nothing was measured: no notebook of this run left a record.")
    missing = [name for name in settings.REPORT_NOTEBOOKS if name not in runs and name in studies.PAGES]
    flags = [f"No part of this summary, since without a record: {joined(missing)}"] if missing else []
    answers = [studies.answer(run) for run in runs.values()]
    flagged = sum(1 for one in answers if one.flags)
    if flagged:
        flags.append(f"With warnings, to be read on their pages: {flagged} of {plural(len(answers), 'notebook')}")
    cards = tuple(card for one in answers for card in one.cards[:1])
    first = answers[0].verdict
    return Answer(verdict=first, cards=cards, flags=tuple(flags))


def verdicts(runs: Runs) -> Table:
    """A row a notebook: its verdict and how many warnings it carries."""
    rows = []
    for name, run in runs.items():
        one = studies.answer(run)
        rows.append({"notebook": name, "verdict": one.verdict, "warnings": str(len(one.flags))})
    return Table(frame=pd.DataFrame(rows, columns=["notebook", "verdict", "warnings"]))


def performance_summary(runs: Runs) -> View:
    """What are the key figures, on which machine, and what follows?"""
    rows: list[dict[str, Any]] = []
    for name, run in runs.items():
        wanted = KEY_FIGURES.get(name, ())
        chosen = [(key, figure) for key, figure in run.summary.items() if _is_key(key, wanted)]
        for key, value, spread, verdict in figure_cells(chosen):
            rows.append({"panel": "figures", "name": key, "value": value, "more": spread or verdict})
    for run in list(runs.values())[:1]:
        rows += [
            {"panel": "machine", "name": name, "value": value, "more": ""} for name, value in system_rows(run)[:11]
        ]
    for name, run in runs.items():
        rows.append({"panel": "conclusions", "name": name, "value": studies.answer(run).verdict, "more": ""})
    frame = pd.DataFrame(rows, columns=["panel", "name", "value", "more"])
    n_figures = int((frame["panel"] == "figures").sum())
    spoken = " ".join(frame[frame["panel"] == "conclusions"]["value"])
    reading = f"{plural(n_figures, 'key figure')} of {plural(len(runs), 'notebook')}, the machine, and the conclusions."
    return View(
        name="performance_summary",
        frame=frame,
        draw=_draw,
        alt=f"Key figures, machine and conclusions of this run. {spoken}",
        reading=reading,
        size_inches=(11.5, 1.6 + 0.2 * max(n_figures, 11) + 0.85 * len(runs)),
        grid=(1, 1),
        mark=next((run.mark for run in runs.values() if run.mark), ""),
    )


def _draw(frame: pd.DataFrame, axes: Sequence[Any]) -> None:
    """Key figures on the left, the machine on the right, conclusions below; y counts lines of text."""
    ax = axes[0]
    ax.axis("off")
    figures, machine, conclusions = (frame[frame["panel"] == panel] for panel in ("figures", "machine", "conclusions"))
    for places, heading, rows in (
        ((0.0, 0.2, 0.35), "Key figures", figures),
        ((0.57, 0.69, 1.0), "Machine", machine),
    ):
        ax.text(places[0], 0, heading, fontsize=12, fontweight="bold", color=INK, va="top")
        for line, row in enumerate(rows.itertuples(), start=1):
            ax.text(places[0], line + 0.4, row.name, fontsize=8.5, color=INK, va="top")
            ax.text(places[1], line + 0.4, _short(str(row.value), 46), fontsize=8.5, fontweight="bold", va="top")
            ax.text(places[2], line + 0.4, _short(str(row.more), 32), fontsize=8.5, color=FAINT, va="top")
    depth = max(len(figures), len(machine)) + 2.4
    ax.text(0, depth, "Conclusions", fontsize=12, fontweight="bold", color=INK, va="top")
    depth += 1.5
    for row in conclusions.itertuples():
        wrapped = textwrap.wrap(f"{row.name}: {row.value}", 170)
        ax.text(0, depth, "\n".join(wrapped), fontsize=8.5, color=INK, va="top")
        depth += 0.85 * len(wrapped) + 0.6
    ax.set_xlim(0, 1)
    ax.set_ylim(depth, 0)


def _is_key(name: str, wanted: Sequence[str]) -> bool:
    """Whether the part before the bracket is wanted; `gemm_gflops[fp32` asks for one precision."""
    return name.partition("[")[0] in wanted or any("[" in want and name.startswith(want) for want in wanted)


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def gallery(runs: Runs) -> list[View]:
    """The named pictures of the run, drawn from its records."""
    pictures = {"cpu_vs_gpu": "inference_comparison", "batch_sweep": "throughput_by_batch"}
    return [
        getattr(studies.PAGES[name], picture)(studies.PAGES[name].study(runs[name]))
        for name, picture in pictures.items()
        if name in runs
    ]
