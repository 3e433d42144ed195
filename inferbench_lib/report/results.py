"""Write `results.md` and `results.txt`: the whole run as one page that a person reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from inferbench_lib.records import Run
from inferbench_lib.report import shell
from inferbench_lib.report.page_parts import system_rows
from inferbench_lib.report.words import joined, machine_line, marked, plural, seconds, size

ANALYSIS_SENTENCES = 6
"""Of the whole page, shared by its questions."""
METHOD = {
    "seed",
    "cold_executors",
    "min_rounds",
    "max_rounds",
    "rounds_a_process",
    "target_width",
    "time_limit_s",
    "warmup",
    "budget_s",
}
"""Parameters of the measuring, which the pages list."""
SYSTEM = ("CPU", "Physical cores", "Usable CPUs", "Memory", "Accelerator", "Operating system", "Python", "Revision")
LIBRARIES = ("numpy", "scikit-learn", "torch", "onnxruntime", "openvino", "joblib", "dask")


def texts(runs: Mapping[str, Run], voice: ModuleType, incomplete: Mapping[str, str]) -> dict[str, str]:
    """Return the text of each file by its name; `incomplete` holds the reason of each notebook that is left out.

    `voice` is `studies.voice`, which gives the texts of the runs' pages.
    """
    n_sentences = max(1, ANALYSIS_SENTENCES // max(1, len(runs)))
    answers = {name: voice.answer(run) for name, run in runs.items()}
    told = {
        "parameters": [(voice.title(run), said) for run in runs.values() if (said := _parameters(run))],
        "questions": [(marked(run, voice.title(run)), answers[name].cards) for name, run in runs.items()],
        "machines": list({machine_line(run.machine): _system(run) for run in runs.values()}.values()),
        "analysis": [_opening(said, n_sentences) for run in runs.values() if (said := voice.explanation(run))],
        "conclusions": [_conclusion(said.verdict, said.flags) for said in answers.values()],
        "incomplete": incomplete,
    }
    return {name: shell.render_text(f"{name}.j2", **told) for name in ("results.md", "results.txt")}


def _parameters(run: Run) -> str:
    """Return what was computed, in words: "500,000 samples; 50 features; batch size 125,000"."""
    said = (_said(name, value) for name, value in run.params.items() if name not in METHOD)
    return "; ".join(filter(None, said))


def _said(name: str, value: Any) -> str:
    """Return a number, or a list of them, with its name; "" for a switch or a word, which say how it was measured."""
    words = name.removeprefix("n_").removesuffix("_s").removesuffix("_bytes").replace("_", " ")
    words = "training rows" if words == "train" else words
    form = {"s": seconds, "bytes": size}.get(name.rpartition("_")[2], "{:,}".format)
    match value:
        case bool() | str() | None | []:
            return ""
        case int() | float():
            return f"{form(value)} {words}" if name.startswith("n_") else f"{words} {form(value)}"
        case dict():
            return "; ".join(_said(f"{words} of {each}", of) for each, of in value.items())
        case list() | tuple():
            return f"{words} {joined(f'{one:,}' if isinstance(one, int) else str(one) for one in value)}"
    raise TypeError(f"{name}: expected a parameter of a notebook, got {type(value).__name__}")


def _system(run: Run) -> list[tuple[str, str]]:
    """Return the parts of the machine that times depend on, the libraries in one row."""
    rows = dict(system_rows(run))
    libraries = joined(f"{name} {rows[name]}" for name in LIBRARIES if name in rows)
    return [*((name, rows[name]) for name in SYSTEM), *([("Libraries", libraries)] if libraries else [])]


def _conclusion(verdict: str, flags: Sequence[str]) -> str:
    """Return a verdict with its first warning, and how many more are on the page."""
    warning = f" Warning: {flags[0].removesuffix('.')}" if flags else ""
    more = f" (and {plural(len(flags) - 1, 'more warning')} on its page)" if len(flags) > 1 else ""
    return f"{verdict}{warning}{more}{'.' if flags else ''}"


def _opening(text: str, n_sentences: int) -> str:
    return " ".join(re.split(r"(?<=\.) (?=[A-Z])", text)[:n_sentences])
