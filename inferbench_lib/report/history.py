"""Headline figures of one machine over its runs: each run against the one before, and a line of each figure.

Two runs share no rounds, so only their intervals can be held against each other: a change is called significant where
the 95 % intervals lie apart by more than what processes of the very same program differ by (`MIN_EFFECT`). That asks
for more than a test at 5 % would; `make compare` looks closer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from inferbench_lib.records import Figure
from inferbench_lib.report.words import digits, interval, plural, times
from inferbench_lib.stats.unpaired import MIN_EFFECT

Headlines = Mapping[str, str]
"""Names of `summary.json` and what a reader calls them; of each, more is better."""
WIDTH, HEIGHT, EDGE = 160, 36, 4

Figures = Mapping[str, Figure]


def headlines(figures: Figures, names: Headlines) -> list[tuple[str, str]]:
    """What a run found: the name and the value with its interval, of each headline figure that it has."""
    return [(name, said(figure)) for key, name in names.items() if (figure := _number(figures, key))]


def said(figure: Figure) -> str:
    """The value with its unit and interval."""
    spread = f" ({interval(figure.low, figure.high)})" if figure.low is not None else ""
    return f"{_plain(figure)}{spread}"


def changes(before: Figures, after: Figures, names: Headlines) -> list[str]:
    """What differs significantly from the run before, in words; one sentence that says so where nothing does."""
    pairs = [
        (name, earlier, later)
        for key, name in names.items()
        if (earlier := _number(before, key)) and (later := _number(after, key))
    ]
    judged = [pair for pair in pairs if None not in (pair[1].low, pair[1].high, pair[2].low, pair[2].high)]
    found = [
        f"{name[:1].upper()}{name[1:]}: {direction}, {said(later)} after {said(earlier)} in the run before; "
        "the 95 % intervals lie apart."
        for name, earlier, later in judged
        if (direction := _direction(earlier, later))
    ]
    if not judged:
        return ["Not held against the run before: no figure has an interval in both."]
    return found or [f"No significant change against the run before, in {plural(len(judged), 'headline figure')}."]


def is_changed(sentences: Sequence[str]) -> bool:
    """Whether `changes` found one."""
    return any("lie apart" in sentence for sentence in sentences)


def _direction(earlier: Figure, later: Figure) -> str:
    """Higher or lower, by how much; empty where the intervals do not lie apart."""
    ratio = times(float(later.value or 0) / float(earlier.value or 1))
    if (later.low or 0) > (earlier.high or 0) * (1 + MIN_EFFECT):
        return f"higher ({ratio})"
    return f"lower ({ratio})" if (later.high or 0) < (earlier.low or 0) / (1 + MIN_EFFECT) else ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One headline figure over the runs of a machine: a picture and the newest value."""

    name: str
    picture: Markup
    newest: str


def lines(runs: Sequence[tuple[str, Figures]], names: Headlines) -> Iterator[Line]:
    """A line for each headline figure that two or more runs (day and figures, oldest first) have."""
    for key, name in names.items():
        seen = [(day, figure) for day, figures in runs if (figure := _number(figures, key))]
        if len(seen) > 1:
            yield Line(name=name, picture=_sparkline(name, seen), newest=said(seen[-1][1]))


def _sparkline(name: str, seen: Sequence[tuple[str, Figure]]) -> Markup:
    values = [float(figure.value or 0) for _, figure in seen]
    ends = [(figure.low or value, figure.high or value) for (_, figure), value in zip(seen, values, strict=True)]
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    step = (WIDTH - 2 * EDGE) / (len(seen) - 1)

    def y(value: float) -> float:
        share = (value - least) / (most - least) if most > least else 0.5
        return HEIGHT - EDGE - share * (HEIGHT - 2 * EDGE)

    xs = [EDGE + step * place for place in range(len(seen))]
    path = " ".join(f"{x:.1f},{y(value):.1f}" for x, value in zip(xs, values, strict=True))
    spreads = "".join(f"M{x:.1f} {y(low):.1f}V{y(high):.1f}" for x, (low, high) in zip(xs, ends, strict=True))
    words = (
        f"{name}: {plural(len(seen), 'run')} from {seen[0][0]} to {seen[-1][0]}; lowest "
        f"{digits(min(values))}, highest {digits(max(values))}, newest {_plain(seen[-1][1])}"
    )
    return Markup(
        '<svg class="spark" role="img" aria-label="{words}" viewBox="0 0 {width} {height}" width="{width}" '
        'height="{height}"><title>{words}</title><path d="{spreads}" stroke="currentColor" stroke-width="3" '
        'opacity=".25"></path><polyline points="{path}" fill="none" stroke="currentColor" stroke-width="1.5">'
        '</polyline><circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="currentColor"></circle></svg>'
    ).format(words=words, width=WIDTH, height=HEIGHT, spreads=spreads, path=path, x=xs[-1], y=y(values[-1]))


def _number(figures: Figures, key: str) -> Figure | None:
    """The figure, where it holds a number above 0."""
    figure = figures.get(key)
    is_number = figure is not None and isinstance(figure.value, int | float) and figure.value > 0
    return figure if is_number else None


def _plain(figure: Figure) -> str:
    value = float(figure.value or 0)
    return times(value) if figure.unit == "×" else f"{digits(value)} {figure.unit}"
