"""Compare each run of a machine with the one before by its headline figures, and draw each figure over the runs.

The rule is that of `make compare`, which looks closer: at the rounds, the control workload and the disturbances.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inferbench_lib.findings import Verdict
from inferbench_lib.records import Figure
from inferbench_lib.report.words import capital, digits, plural, spread, times, valued
from inferbench_lib.stats.verdict import between_runs, judge, ratio_of_figures, shared_level

Headlines = Mapping[str, str]
"""Names of `summary.json` and what a reader calls them; of each, more is better."""
WIDTH, HEIGHT, EDGE = 160, 36, 4

Figures = Mapping[str, Figure]


def headlines(figures: Figures, names: Headlines) -> list[tuple[str, str]]:
    """List the name and the value with its interval of each headline figure that a run has."""
    return [(name, said(figure)) for key, name in names.items() if (figure := _number(figures, key))]


def said(figure: Figure) -> str:
    """Return the value with its unit and interval."""
    value = valued(figure.value, figure.unit)
    return value if figure.low is None else f"{value} ({spread(figure)})"


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The changes of the headline figures since the run before, or the sentence that says that there are none."""

    changed: bool
    sentences: tuple[str, ...]


def changes(before: Figures, after: Figures, names: Headlines) -> Changes:
    """Compare a run with the one before, by the headline figures that have an interval in both."""
    comparable = [
        (name, earlier, later)
        for key, name in names.items()
        if (earlier := _number(before, key)) and (later := _number(after, key)) and earlier.unit == later.unit
        if None not in (earlier.low, earlier.high, later.low, later.high)
    ]
    level = shared_level(len(comparable))
    found = []
    for name, earlier, later in comparable:
        deciding = ratio_of_figures(earlier, later, level)
        ratio = judge(ratio_of_figures(earlier, later), between_runs(later.unit), deciding)
        if ratio.is_difference:
            word = "higher" if ratio.verdict is Verdict.FASTER else "lower"
            values = f"{said(later)} after {said(earlier)} in the run before"
            found.append(f"{capital(name)}: {word} ({times(ratio.value)}), {values}.")
    none = f"No significant change since the run before, in {plural(len(comparable), 'headline figure')}."
    if not comparable:
        none = "Not compared with the run before: no figure has an interval in both."
    return Changes(changed=bool(found), sentences=tuple(found) or (none,))


@dataclass(frozen=True, kw_only=True)
class Line:
    """One headline figure over the runs of a machine: its name, newest value and description, and a point per run.

    A point is x, y and the two ends of the interval in y, in a picture of `WIDTH` × `HEIGHT`.
    """

    name: str
    newest: str
    alt: str
    points: tuple[tuple[float, ...], ...]


def lines(runs: Sequence[tuple[str, Figures]], names: Headlines) -> Iterator[Line]:
    """Yield a line for each headline figure that two or more runs (day and figures, oldest first) have."""
    for key, name in names.items():
        seen = [(day, figure) for day, figures in runs if (figure := _number(figures, key))]
        if len(seen) > 1:
            yield _line(name, [day for day, _ in seen], [figure for _, figure in seen])


def _line(name: str, days: Sequence[str], figures: Sequence[Figure]) -> Line:
    values = np.array([figure.value for figure in figures], dtype=float)
    lows = np.array([figure.low or figure.value for figure in figures], dtype=float)
    highs = np.array([figure.high or figure.value for figure in figures], dtype=float)
    least, most = lows.min(), highs.max()
    if least == most:  # a level line runs through the middle
        least, most = least - 1, most + 1
    xs = np.linspace(EDGE, WIDTH - EDGE, len(figures))
    ys = (np.interp(one, [least, most], [HEIGHT - EDGE, EDGE]) for one in (values, lows, highs))
    alt = (
        f"{name}: {plural(len(figures), 'run')} from {days[0]} to {days[-1]}; lowest {digits(values.min())}, "
        f"highest {digits(values.max())}, newest {valued(figures[-1].value, figures[-1].unit)}"
    )
    points = np.stack([xs, *ys], axis=1).round(1).tolist()
    return Line(name=name, newest=said(figures[-1]), alt=alt, points=tuple(map(tuple, points)))


def _number(figures: Figures, key: str) -> Figure | None:
    """Return the figure where it holds a number above 0."""
    figure = figures.get(key)
    is_number = figure is not None and isinstance(figure.value, int | float) and figure.value > 0
    return figure if is_number else None
