"""Compare each run of a machine with the one before by its headline figures, and draw each figure over the runs.

The rule is that of `make compare`, which compares cells too, by their rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inferbench_lib.findings import Verdict
from inferbench_lib.records import Figure, Run
from inferbench_lib.report.words import capital, digits, plural, spread, times, valued
from inferbench_lib.stats.processes import SCATTER
from inferbench_lib.stats.trust import mostly_disturbed
from inferbench_lib.stats.verdict import between_runs, control_ratio, judge, ratio_of_figures, shared_level

Headlines = Mapping[str, str]
"""Names of `summary.json` and what a reader calls them; of each, more is better."""
WIDTH, HEIGHT, EDGE = 160, 36, 4

Figures = Mapping[str, Figure]
Records = Callable[[str], tuple[Run, Run] | None]
"""Return the records of a notebook in both runs, the earlier first; None where one of them has none."""


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


def changes(before: Figures, after: Figures, names: Headlines, records: Records = lambda _: None) -> Changes:
    """Compare a run with the one before, by the headline figures that have an interval in both.

    A difference is looked at again in the records of its notebook: the control workload must not show it too, and
    neither run may be disturbed.
    """
    comparable = [
        (key.partition("/")[0], name, earlier, later)
        for key, name in names.items()
        if (earlier := _number(before, key)) and (later := _number(after, key)) and earlier.unit == later.unit
        if earlier.has_interval and later.has_interval
    ]
    level = shared_level(len(comparable))
    found, withheld = [], []
    for notebook, name, earlier, later in comparable:
        deciding = ratio_of_figures(earlier, later, level)
        is_replicated = all(f"{notebook}/{SCATTER}" in of for of in (before, after))
        ratio = judge(deciding, between_runs(later.unit, is_replicated=is_replicated))
        if ratio.is_difference and (runs := records(notebook)):
            control = control_ratio(*runs)
            ratio = judge(deciding, between_runs(later.unit, control, is_replicated=is_replicated))
            if ratio.is_difference and (why := next(filter(None, map(mostly_disturbed, runs)), "")):
                withheld.append(f"{capital(name)}: no verdict, because a run {why}")
                continue
        if ratio.is_difference:
            word = "higher" if ratio.verdict is Verdict.FASTER else "lower"
            values = f"{said(later)} after {said(earlier)} in the run before"
            found.append(f"{capital(name)}: {word} ({times(ratio.value)}), {values}.")
    none = f"No significant change since the run before, in {plural(len(comparable), 'headline figure')}."
    if not comparable:
        none = "Not compared with the run before: no figure has an interval in both."
    return Changes(changed=bool(found), sentences=(*(found or ([] if withheld else [none])), *withheld))


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
        if len(seen) < 2:
            continue
        ends = [(of.value, of.low or of.value, of.high or of.value) for _, of in seen]
        values = np.array(ends, dtype=float).T
        least, most = values.min(), values.max()
        if least == most:  # a level line runs through the middle
            least, most = least - 1, most + 1
        xs = np.linspace(EDGE, WIDTH - EDGE, len(seen))
        ys = np.interp(values, [least, most], [HEIGHT - EDGE, EDGE])
        (first, _), (last, newest) = seen[0], seen[-1]
        alt = (
            f"{name}: {plural(len(seen), 'run')} from {first} to {last}; lowest {digits(values[0].min())}, "
            f"highest {digits(values[0].max())}, newest {valued(newest.value, newest.unit)}"
        )
        points = np.stack([xs, *ys], axis=1).round(1).tolist()
        yield Line(name=name, newest=said(newest), alt=alt, points=tuple(map(tuple, points)))


def _number(figures: Figures, key: str) -> Figure | None:
    """Return the figure where it holds a number above 0."""
    figure = figures.get(key)
    is_number = figure is not None and isinstance(figure.value, int | float) and figure.value > 0
    return figure if is_number else None
