"""The names of lines can be read however close together the lines end."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from inferbench_lib.report.display import View
from inferbench_lib.report.figures import lines
from inferbench_lib.report.look import LINE_NAME


def test_names_of_lines_that_end_together_lie_apart() -> None:
    """Of four lines, three of which end within a hundredth, no two names share a place."""
    ends = {"small": 10.0, "medium": 10.01, "large": 10.02, "other": 2.0}
    rows = [{"x": x, "y": y, "low": y, "high": y, "label": name} for name, y in ends.items() for x in (1, 2)]
    frame = pd.DataFrame(rows)
    frame.attrs = {"x": "batch size", "y": "speedup"}
    view = View(name="a", frame=frame, draw=lambda of, axes: lines(of, axes, log_y=False), alt="a", reading="a")
    figure = view.figure()
    names = [text for text in figure.axes[0].texts if text.get_gid() == LINE_NAME]
    boxes = [name.get_window_extent().shrunk(0.99, 0.99) for name in names]
    assert len(boxes) == len(ends)
    assert [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])] == []
