"""Write `results.md` and `results.txt`: the whole run as one page that a person reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from inferbench_lib.records import Run
from inferbench_lib.report import shell
from inferbench_lib.report.page_parts import system_rows
from inferbench_lib.report.words import capital, machine_line, marked

Row = tuple[str, str]
ANALYSIS_SENTENCES = 6
"""Of the whole page, shared by its questions."""


def texts(runs: Mapping[str, Run], voice: ModuleType, incomplete: Mapping[str, str]) -> dict[str, str]:
    """Return the text of each file by its name; `incomplete` holds the reason of each notebook that is left out.

    `voice` is `studies.voice`, which gives the texts of the runs' pages.
    """
    n_sentences = max(1, ANALYSIS_SENTENCES // max(1, len(runs)))
    told = {
        "questions": [(marked(run, voice.title(run)), voice.answer(run)) for run in runs.values()],
        "parameters": _parameters({voice.title(run): run for run in runs.values()}),
        "machines": list({machine_line(run.machine): system_rows(run) for run in runs.values()}.values()),
        "analysis": [_opening(said, n_sentences) for run in runs.values() if (said := voice.explanation(run))],
        "incomplete": incomplete,
    }
    return {name: shell.render_text(f"{name}.j2", **told) for name in ("results.md", "results.txt")}


def _parameters(runs: Mapping[str, Run]) -> list[tuple[str, list[Row]]]:
    """Return the parameters that all questions share, then those of each."""
    given = {
        title: [(_named(name), _valued(value)) for name, value in run.params.items() if value not in (None, [])]
        for title, run in runs.items()
    }
    shared = set.intersection(*map(set, given.values())) if len(given) > 1 else set()
    common = [row for row in next(iter(given.values()), []) if row in shared]
    own = [(title, [row for row in rows if row not in shared]) for title, rows in given.items()]
    return [(title, rows) for title, rows in [("All questions", common), *own] if rows]


def _named(name: str) -> str:
    """Return a parameter's name in words: `n_samples` is "Number of samples", `time_limit_s` "Time limit (s)"."""
    text = re.sub(r"_(s|bytes)$", r" (\1)", re.sub(r"^n_", "number_of_", name.replace("n_train", "n_training_rows")))
    return capital(text.replace("_", " "))


def _valued(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case list() | tuple():
            return " · ".join(map(_valued, value))
        case dict():
            return "; ".join(f"{name}: {_valued(each)}" for name, each in value.items())
        case _:
            return str(value)


def _opening(text: str, n_sentences: int) -> str:
    return " ".join(re.split(r"(?<=\.) (?=[A-Z])", text)[:n_sentences])
