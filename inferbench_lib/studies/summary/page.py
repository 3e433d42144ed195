"""Join the answers of a run's notebooks on its front page, `summary`, and draw its slide."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import pandas as pd
import yaml

from inferbench_lib import store, studies
from inferbench_lib.findings import Interval, Verdict
from inferbench_lib.records import Run
from inferbench_lib.report import page_parts as common
from inferbench_lib.report.display import Answer, View, code
from inferbench_lib.report.look import FAINT, INK
from inferbench_lib.report.words import capital, digits, joined, marked, measured, plural, ratio, spread, valued
from inferbench_lib.studies import voice
from inferbench_lib.studies.summary import study

Runs = Mapping[str, Run]
N_MACHINE_ROWS = 11
LINE_INCHES = 0.2
AGREEMENT = {
    Verdict.INDISTINGUISHABLE: "no significant difference",
    Verdict.FASTER: "faster again",
    Verdict.SLOWER: "slower again",
}
GAP = 0.25
"""Between two entries, in lines."""
LETTERS = {"figures": 30, "machine": 30, "conclusions": 145}
"""Letters per line in the widest column of each panel."""


def runs_here(reuse: str | None = None) -> Runs:
    """Load the notebooks of this run or of the run `reuse`, in report order; in JupyterLab the newest of each there."""
    if not reuse and not store.is_report():
        stored = [(name, run_id) for name in studies.measured() for run_id in store.stored_ids(name)]
        return {name: store.stored_run(name, run_id) for name, run_id in stored if run_id.startswith(store.LAB)}
    found = store.load_runs(store.reports_folder() / reuse if reuse else store.run_folder())
    return {name: found[name] for name in studies.measured() if name in found}


def answer(runs: Runs) -> Answer:
    """Return what to do in one sentence, the figures that support it, and warnings."""
    if not runs:
        return Answer(verdict="Nothing was measured: no notebook of this run left a record.")
    missing = [name for name in studies.measured() if name not in runs]
    flags = [f"Missing from this summary (no data): {joined(missing)}"] if missing else []
    answers = {name: voice.answer(run) for name, run in runs.items()}
    flagged = sum(1 for one in answers.values() if one.flags)
    if flagged:
        flags.append(f"{flagged} of {plural(len(answers), 'notebook')} have warnings: read them on their pages")
    advised = [advice.recommendation for advice in voice.recommendations(runs)]
    verdict = f"{capital('; '.join(advised))}." if advised else next(iter(answers.values())).verdict
    simulated = next((run for run in runs.values() if run.mark), None)
    advising = {name: study.without_others(name, run, runs) for name, run in runs.items() if voice.advice(run)}
    cards = tuple(card for run in advising.values() for card in voice.answer(run).cards[:1])
    flags += _differing(study.measured_again(runs))
    return Answer(verdict=marked(simulated, verdict) if simulated else verdict, cards=cards, flags=tuple(flags))


def to_do(runs: Runs) -> str:
    """Return each recommendation with its evidence, its code and the limits that it holds under, as HTML."""
    items = "".join(
        f"<li><strong>{escape(capital(advice.recommendation))}.</strong> {escape(capital(advice.evidence))}. "
        f"{code(advice.code)}<small>Holds for: {escape(advice.limits)}.</small></li>"
        for advice in [*voice.recommendations(runs), *voice.further_advice(runs)]
    )
    return f'<ul class="advice">{items}</ul>' if items else "<p>Nothing was compared, so nothing is recommended.</p>"


def pages(runs: Runs) -> str:
    """Return a card for each notebook that links to its page, as HTML."""
    cards = []
    for name, run in runs.items():
        said = voice.answer(run)
        warned = plural(len(said.flags), "warning") if said.flags else "no warning"
        if others := joined(study.speaks_for(name, runs)):
            warned += f"; for what {others} measured too, this page uses the figures of {others}"
        cards.append(
            f'<li><a href="{escape(name)}.html">{escape(studies.params(name).title)}</a>'
            f"<p>{escape(said.verdict)}</p><small>{escape(warned)}</small></li>"
        )
    return f'<ul class="notebooks">{"".join(cards)}</ul>'


def _differing(again: Sequence[study.Again]) -> list[str]:
    """Return a warning that names the cell that differs most between two notebooks; none where all agree."""
    found = [one for one in again if one.ratio.is_difference]
    if not found:
        return []
    most = max(found, key=lambda one: abs(math.log(one.ratio.value)))
    of_all = f"{len(found)} of {plural(len(again), 'cell')} that notebooks measured again differ"
    return [
        f"{of_all}. The most: {most.case}, {digits(most.used_per_s.value)} inputs/s in {most.used}, "
        f"{digits(most.other_per_s.value)} in {most.other}. This page uses {most.used}"
    ]


def measured_again(runs: Runs) -> str:
    """Return the cells that several notebooks measured, with both figures, folded, as HTML."""
    found = study.measured_again(runs)
    if not found:
        return ""
    rows = [
        {
            "cell": str(one.case),
            "inputs/s, used": _rate(one.used_per_s),
            "from": one.used,
            "inputs/s, measured again": _rate(one.other_per_s),
            "in": one.other,
            "ratio of speeds": f"{ratio(one.ratio)}: {AGREEMENT.get(one.ratio.verdict, str(one.ratio.verdict))}",
        }
        for one in found
    ]
    n_differing = sum(one.ratio.is_difference for one in found)
    said = (
        f"{plural(len(found), 'cell')} of several notebooks: {n_differing or 'none'} differ. "
        "For each series this page uses the notebook that measured most of its batch sizes."
    )
    table = pd.DataFrame(rows).to_html(index=False, border=0)
    return f"<p>{escape(said)}</p>{_folded('again', 'Both figures of each cell', table)}"


def _rate(of: Interval) -> str:
    return digits(of.value) if of.low is None else measured(of, digits)


def gallery(runs: Runs) -> list[View]:
    """Return the pictures behind the recommendations, and the slide."""
    drawn = [picture for run in runs.values() if (picture := voice.picture(run))]
    return [*drawn, performance_summary(runs)]


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


def methods(runs: Runs) -> str:
    """Return the method of each notebook, folded, as HTML."""
    return "".join(
        _folded("method", studies.params(name).title, f"<p>{escape(common.method(run))}</p>")
        for name, run in runs.items()
    )


def parameters(runs: Runs) -> str:
    """Return the parameters of each notebook as YAML, folded, as HTML."""
    return "".join(
        _folded("parameters", f"Parameters of {name}", f"<pre>{escape(_as_yaml(run.params))}</pre>")
        for name, run in runs.items()
    )


def _folded(kind: str, title: str, body: str) -> str:
    return f'<details class="{kind}"><summary>{escape(title)}</summary>{body}</details>'


def _as_yaml(params: Mapping[str, Any]) -> str:
    return yaml.safe_dump({name: value for name, value in params.items() if name != "reuse"}, sort_keys=False)
