"""What the tests of pages share: every text of a page, what none may hold, its pictures, a row of its tables."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import sample_runs as samples

from inferbench_lib import studies
from inferbench_lib.records import Run
from inferbench_lib.report import page_parts as common
from inferbench_lib.report.display import View

UNSAID = re.compile(r"\b(nan|inf|None|NaN)\b|inf×|\bOutcome\.|\bVerdict\.|  |\(\)|\s\.(\s|$)|\.\.|:\s*\.|;\s*\.")
"""What no sentence of a page may hold: a number that is none, a name of the program, an empty place."""
TABLES = (
    *("table", "reference_table", "process_table", "layer_table", "forest_table", "what_if_table", "growth_table"),
    *("memory_table", "break_even_table", "gpu_table", "price_list", "left_out"),
)


@cache
def views(name: str) -> list[View]:
    """Every figure of a sample's page."""
    run = samples.RUNS[name]
    page = studies.page(run.notebook)
    said = page.study(run)
    return [view(said) for view in page.VIEWS]


@cache
def texts(name: str) -> list[str]:
    """Every text of a sample's page."""
    return list(sentences(samples.RUNS[name]))


def sentences(run: Run) -> Iterator[str]:
    """Every text of a run's page: answer, cards, warnings, readings, alt texts, cells of tables, method."""
    page = studies.page(run.notebook)
    said = page.study(run)
    answer = page.answer(said)
    yield answer.verdict
    yield from answer.flags
    for card in answer.cards:
        yield from (card.value, card.label, card.interval)
    for view in page.VIEWS:
        yield from (view(said).alt, view(said).reading)
    for name in sorted(set(TABLES) & set(vars(page))):
        table = getattr(page, name)(said)
        yield from (table.reading, *table.notes, *map(str, table.frame.to_numpy().ravel()))
    yield common.method(run)


def draw(view: View) -> bytes:
    """The picture's bytes; a warning of the drawing library (NaN, empty axes) is a fault. Like data is drawn once."""
    key = (view.name, view.frame.to_json(), str(view.size_inches))
    if key not in DRAWN:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", category=DeprecationWarning)  # between seaborn and matplotlib
            picture = io.BytesIO()
            view.figure().savefig(picture, format="png", dpi=50)
        DRAWN[key] = picture.getvalue()
    return DRAWN[key]


DRAWN: dict[tuple[str, str, str], bytes] = {}


def row(table: Any, **wanted: str) -> dict[str, str]:
    """The one row of a table whose columns hold these values."""
    (found,) = [r for r in table.frame.to_dict("records") if all(r[name] == value for name, value in wanted.items())]
    return {str(name): str(value) for name, value in found.items()}
