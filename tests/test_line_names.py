"""The names of lines can be read however close together the lines end."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from inferbench_lib.report.display import View
from inferbench_lib.report.figures import lines
from inferbench_lib.report.look import LIMIT_NAME, LINE_NAME


def drawn(ends: dict[str, float], last_x: int = 2, **attrs: Any) -> Axes:
    """Level lines from 1 to `last_x`, told by name and height, one of them to 64."""
    rows = [{"x": x, "y": y, "low": y, "high": y, "label": name} for name, y in ends.items() for x in (1, last_x)]
    rows.append({**rows[-1], "x": 64})
    frame = pd.DataFrame(rows)
    frame.attrs = {"x": "batch size", "y": "speedup"} | attrs
    view = View(name="a", frame=frame, draw=lambda of, axes: lines(of, axes, log_y=False), alt="a", reading="a")
    return view.figure().axes[0]


def boxes(ax: Axes, *kinds: str) -> list[Bbox]:
    """Where texts of these kinds are, less a hundredth."""
    return [text.get_window_extent().shrunk(0.99, 0.99) for text in ax.texts if text.get_gid() in kinds]


def overlapping(places: list[Bbox]) -> list[tuple[Bbox, Bbox]]:
    return [pair for pair in combinations(places, 2) if pair[0].overlaps(pair[1])]


def test_names_of_lines_that_end_together_lie_apart() -> None:
    """Of four lines, three of which end within a hundredth, no two names share a place."""
    names = boxes(drawn({"small": 10.0, "medium": 10.01, "large": 10.02, "other": 2.0}), LINE_NAME)
    assert len(names) == 4
    assert overlapping(names) == []


@pytest.mark.parametrize("height", [9.6, 10.0, 10.4])
def test_names_of_lines_that_end_at_a_limit_lie_beside_it(height: float) -> None:
    """The limit's line runs through no name, and its name lies on none."""
    ax = drawn({"the small network": height, "other": 2.0}, last_x=4, limit=(10.0, "limit 10"))
    assert overlapping(boxes(ax, LINE_NAME, LIMIT_NAME)) == []
    at = ax.transData.transform((1.0, 10.0))[1]
    assert not [box for box in boxes(ax, LINE_NAME) if box.y0 < at < box.y1]
