"""Join the answers of a run's notebooks on its front page, `summary`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from inferbench_lib import store, studies
from inferbench_lib.records import Run
from inferbench_lib.report import page_parts as common
from inferbench_lib.report.display import Answer, View, code
from inferbench_lib.report.words import capital, escaped, joined, marked, plural
from inferbench_lib.studies import voice
from inferbench_lib.studies.summary.slide import performance_summary

__all__ = ["answer", "gallery", "methods", "pages", "parameters", "performance_summary", "runs_here", "to_do"]

Runs = Mapping[str, Run]


def runs_here(reuse: str | None = None) -> Runs:
    """Load the stored notebooks of the run that this notebook belongs to, or of the run `reuse`, in report order."""
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
    cards = tuple(card for name, run in runs.items() if voice.advice(run) for card in answers[name].cards[:1])
    return Answer(verdict=marked(simulated, verdict) if simulated else verdict, cards=cards, flags=tuple(flags))


def to_do(runs: Runs) -> str:
    """Return each recommendation with its evidence, its code and the limits that it holds under, as HTML."""
    items = "".join(
        f"<li><strong>{escaped(capital(advice.recommendation))}.</strong> {escaped(capital(advice.evidence))}. "
        f"{code(advice.code)}<small>Holds for: {escaped(advice.limits)}.</small></li>"
        for advice in voice.recommendations(runs)
    )
    return f'<ul class="advice">{items}</ul>' if items else "<p>Nothing was compared, so nothing is recommended.</p>"


def pages(runs: Runs) -> str:
    """Return a card for each notebook that links to its page, as HTML."""
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
    """Return the pictures behind the recommendations, and the slide."""
    drawn = [picture for run in runs.values() if (picture := voice.picture(run))]
    return [*drawn, performance_summary(runs)]


def methods(runs: Runs) -> str:
    """Return the method of each notebook, folded, as HTML."""
    return "".join(
        _folded("method", studies.params(name).title, f"<p>{escaped(common.method(run))}</p>")
        for name, run in runs.items()
    )


def parameters(runs: Runs) -> str:
    """Return the parameters of each notebook as YAML, folded, as HTML."""
    return "".join(
        _folded("parameters", f"Parameters of {name}", f"<pre>{escaped(_as_yaml(run.params))}</pre>")
        for name, run in runs.items()
    )


def _folded(kind: str, title: str, body: str) -> str:
    return f'<details class="{kind}"><summary>{escaped(title)}</summary>{body}</details>'


def _as_yaml(params: Mapping[str, Any]) -> str:
    return yaml.safe_dump({name: value for name, value in params.items() if name != "reuse"}, sort_keys=False)
