"""Ask the pages of a run for what the report, the front page and the index take from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from inferbench_lib import studies
from inferbench_lib.findings import Advice
from inferbench_lib.records import Run
from inferbench_lib.report.display import Answer, View


def answer(run: Run) -> Answer:
    """Return the first screen of a run's page."""
    return cast(Answer, studies.page(run.notebook).answer(studies.study(run)))


def title(run: Run) -> str:
    """Return the question that a run's page answers."""
    return studies.params(run.notebook).title


def explanation(run: Run) -> str:
    """Return the reading of the view that explains a run: `EXPLANATION`, else `PICTURE`, else the first of `VIEWS`.

    Empty where a page has none of them.
    """
    page = studies.page(run.notebook)
    views = [getattr(page, "EXPLANATION", None), getattr(page, "PICTURE", None), *page.VIEWS]
    return next((str(view(studies.study(run)).reading) for view in views if view), "")


def front(runs: Mapping[str, Run], notebook: str = "summary") -> Answer:
    """Return the first screen of the front page, for all notebooks of a run."""
    return cast(Answer, studies.page(notebook).answer(runs))


def advice(run: Run) -> Advice | None:
    """Return the recommendation of a run's page, None where it compares no ways of working."""
    advise = getattr(studies.page(run.notebook), "advise", None)
    return cast(Advice, advise(studies.study(run))) if advise else None


def recommendations(runs: Mapping[str, Run]) -> list[Advice]:
    """List the recommendations of all runs, one for each notebook that compares ways of working.

    The one with the largest gain that its interval still holds comes first; those without a gain keep the report's
    order.
    """
    found = [one for run in runs.values() if (one := advice(run))]
    return sorted(found, key=lambda one: -one.sure_gain)


def further_advice(runs: Mapping[str, Run]) -> list[Advice]:
    """List what pages advise beside their recommendation: threads to set, where a library's default costs time."""
    found: list[Advice] = []
    for run in runs.values():
        if advise := getattr(studies.page(run.notebook), "thread_advice", None):
            found += advise(studies.study(run))
    return found


def picture(run: Run) -> View | None:
    """Return the figure that stands for a run on the front page, None where it has none."""
    view = getattr(studies.page(run.notebook), "PICTURE", None)
    return cast(View, view(studies.study(run))) if view else None


def key_figures(notebook: str) -> Mapping[str, str]:
    """Return the patterns of the figures on the slide, with their names in words."""
    return getattr(studies.page(notebook), "KEY_FIGURES", {})


def headlines() -> dict[str, str]:
    """Return the figures by which the index compares runs, with their names in words."""
    return {
        f"{name}/{figure}": words
        for name in studies.in_report()
        for figure, words in getattr(studies.page(name), "HEADLINES", {}).items()
    }
