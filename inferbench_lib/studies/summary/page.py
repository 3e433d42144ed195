"""Join the answers of a run's notebooks on its front page, `summary`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
import yaml

from inferbench_lib import store, studies
from inferbench_lib.findings import Advice, Interval, Verdict
from inferbench_lib.records import Run
from inferbench_lib.report import page_parts as common
from inferbench_lib.report.display import Answer, Card, View, code
from inferbench_lib.report.words import capital, digits, interval_of, joined, marked, measured, plural, ratio, times
from inferbench_lib.studies import voice
from inferbench_lib.studies.summary import study
from inferbench_lib.studies.summary.page_slide import performance_summary as performance_summary

Runs = Mapping[str, Run]
MOST_WORDS = 45
"""Of the verdict."""
AGREEMENT = {
    Verdict.INDISTINGUISHABLE: "no significant difference",
    Verdict.FASTER: "faster again",
    Verdict.SLOWER: "slower again",
}


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
    advised = voice.recommendations(runs)
    first = next(iter(answers.values()))
    verdict = _verdict(advised) if advised else first.verdict
    simulated = next((run for run in runs.values() if run.mark), None)
    cards = tuple(card for name in _by_gain(runs) for card in _cards(name, runs))
    flags += _differing(study.measured_again(runs))
    return Answer(
        verdict=marked(simulated, verdict) if simulated else verdict,
        cards=cards,
        flags=tuple(flags),
        code=_code(advised, answers),
    )


def _verdict(advised: Sequence[Advice]) -> str:
    """Return the recommendations as far as they have room; all of them are listed below."""
    said = advised[0].recommendation
    for one in advised[1:]:
        longer = f"{said}; {one.recommendation}"
        said = longer if len(longer.split()) <= MOST_WORDS else said
    return f"{capital(said)}."


def _by_gain(runs: Runs) -> list[str]:
    """List the notebooks that recommend something, as their recommendations are listed."""
    advising = {name: one for name, run in runs.items() if (one := voice.advice(run))}
    return sorted(advising, key=lambda name: -advising[name].sure_gain)


def _cards(name: str, runs: Runs) -> tuple[Card, ...]:
    """Return the card of a notebook's recommendation: its gain, else the notebook's first card."""
    advice = voice.advice(runs[name])
    if advice and advice.gain:
        what = capital(advice.recommendation.partition(": ")[0])
        return (Card(value=times(advice.gain.value), label=what, interval=interval_of(advice.gain)),)
    return voice.answer(study.without_others(name, runs[name], runs)).cards[:1]


def _code(advised: Sequence[Advice], answers: Mapping[str, Answer]) -> str:
    """Return the code of the first recommendation that has some, else of the first page; of several under its name."""
    found = [(one.recommendation.partition(": ")[0], one.code) for one in advised]
    found += [(studies.params(name).title, one.code) for name, one in answers.items()]
    name, lines = next(((name, lines) for name, lines in found if lines), ("", ""))
    return f"# {name}\n{lines}" if lines and len(answers) > 1 else lines


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
