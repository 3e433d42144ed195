"""The front page of a run, `summary`: what its notebooks say together, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from inferbench_lib import store, studies
from inferbench_lib.records import Run
from inferbench_lib.report import page_parts as common
from inferbench_lib.report.display import Answer, View
from inferbench_lib.report.words import capital, escaped, joined, marked, plural
from inferbench_lib.studies import voice
from inferbench_lib.studies.summary.recommended import recommendations
from inferbench_lib.studies.summary.slide import performance_summary

__all__ = ["answer", "gallery", "methods", "pages", "parameters", "performance_summary", "runs_here", "to_do"]

Runs = Mapping[str, Run]


def runs_here(reuse: str | None = None) -> Runs:
    """The stored notebooks of the run that this notebook belongs to, or of the run `reuse`, in the report's order."""
    found = store.load_runs(store.reports_folder() / reuse if reuse else store.run_folder())
    return {name: found[name] for name in studies.measured() if name in found}


def answer(runs: Runs) -> Answer:
    """One sentence of what to do, the figures that carry it, and what is missing or disturbed."""
    if not runs:
        return Answer(verdict="Nothing was measured: no notebook of this run left a record.")
    missing = [name for name in studies.measured() if name not in runs]
    flags = [f"No part of this summary, since without a record: {joined(missing)}"] if missing else []
    answers = {name: voice.answer(run) for name, run in runs.items()}
    flagged = sum(1 for one in answers.values() if one.flags)
    if flagged:
        flags.append(f"With warnings, to be read on their pages: {flagged} of {plural(len(answers), 'notebook')}")
    advised = [advice.recommendation for advice in recommendations(runs)]
    verdict = f"{capital('; '.join(advised))}." if advised else next(iter(answers.values())).verdict
    simulated = next((run for run in runs.values() if run.mark), None)
    cards = tuple(card for name, run in runs.items() if voice.advice(run) for card in answers[name].cards[:1])
    return Answer(verdict=marked(simulated, verdict) if simulated else verdict, cards=cards, flags=tuple(flags))


def to_do(runs: Runs) -> str:
    """Each recommendation with its evidence and the limits that it holds under, as HTML."""
    items = "".join(
        f"<li><strong>{escaped(capital(advice.recommendation))}.</strong> {escaped(capital(advice.evidence))}. "
        f"<small>Holds for: {escaped(advice.limits)}.</small></li>"
        for advice in recommendations(runs)
    )
    return f'<ul class="advice">{items}</ul>' if items else "<p>Nothing was compared, so nothing is recommended.</p>"


def pages(runs: Runs) -> str:
    """A card for each notebook, leading to its page, as HTML."""
    cards = []
    for name, run in runs.items():
        said = voice.answer(run)
        warned = plural(len(said.flags), "warning") if said.flags else "no warning"
        cards.append(
            f'<li><a href="{escaped(name)}.html">{escaped(studies.params(name).title)}</a>'
            f"<p>{escaped(said.verdict)}</p><small>{escaped(warned)}</small></li>"
        )
    return f'<ul class="notebooks">{"".join(cards)}</ul>'


def gallery(runs: Runs) -> list[View]:
    """The pictures of the run that its recommendations rest on, and the slide."""
    drawn = [picture for run in runs.values() if (picture := voice.picture(run))]
    return [*drawn, performance_summary(runs)]


def methods(runs: Runs) -> str:
    """How each notebook measured, folded, as HTML."""
    return "".join(
        f'<details class="method"><summary>{escaped(studies.params(name).title)}</summary>'
        f"<p>{escaped(common.method(run))}</p></details>"
        for name, run in runs.items()
    )


def parameters(runs: Runs) -> str:
    """What each notebook was asked for, as its parameter file would say it, folded, as HTML."""
    return "".join(
        f'<details class="parameters"><summary>Parameters of {escaped(name)}</summary>'
        f"<pre>{escaped(_as_yaml(run.params))}</pre></details>"
        for name, run in runs.items()
    )


def _as_yaml(params: Mapping[str, Any]) -> str:
    return yaml.safe_dump({name: value for name, value in params.items() if name != "reuse"}, sort_keys=False)
