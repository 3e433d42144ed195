"""What binds the forest: node visits, counted along the decision paths, against what the machine allows.

A visit loads a node and one feature, compares once, and only then knows the next node. Trees are asked one after
another, so that one tree's nodes stay in whichever cache holds them. A call costs a + c · rows / threads: a in Python
and scikit-learn, c in visits; both follow from one row and many rows on one thread. Many rows find most nodes where
the rows before them left them; a few rows do not, and load each node anew from what holds the whole forest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferbench_lib.records import Measurement
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.studies.hardware_analysis.roofs import NEAR, Bound, Roofs

FEATURE_BYTES = 4
Configuration = tuple[int, int]
"""Rows of a call, threads."""


@dataclass(frozen=True, kw_only=True)
class ForestCost:
    """Seconds of a call as a + c · rows / threads, on the forest whose visits and bytes were counted.

    `forest_bytes` are those of all trees, `new_nodes` those that 16 rows touch beyond the visits of their first.
    """

    call_s: float
    row_s: float
    visits: float
    node_bytes: float
    tree_bytes: float
    forest_bytes: float
    new_nodes: float

    def seconds_of_16(self, load_s: float) -> float:
        """Predicted seconds of a call of 16 rows on one thread, where a load from the whole forest takes `load_s`."""
        return self.seconds(16, 1) + self.new_nodes * load_s

    def seconds(self, rows: int, n_threads: int) -> float:
        """Predicted seconds of one call."""
        return self.call_s + self.row_s * rows / n_threads

    @property
    def visit_s(self) -> float:
        """Seconds of one visit on one thread."""
        return self.row_s / self.visits


@dataclass(frozen=True, kw_only=True)
class ForestPlace:
    """One configuration against the machine: seconds at each ceiling, and what binds.

    `share` is the nearest ceiling's time over the measured one. `floors_s` are the least seconds of the arithmetic
    (a comparison counted as one FLOP), of the traffic, of the waiting for dependent loads where that was measured,
    and the measured cost of the calls.
    """

    rows: int
    n_threads: int
    seconds: float
    flops: float
    bytes: float
    level: str
    floors_s: Mapping[Bound, float]
    bound: Bound
    share: float


def forest_cost(cells: Mapping[Configuration, Measurement], counts: Mapping[str, Any]) -> ForestCost | None:
    """The cost of a call and of a row, from one row and the most rows on one thread; None where one is missing."""
    known = {key: summarize(cell).median_s.value for key, cell in cells.items() if summarize(cell).is_measured}
    most = max((rows for rows, n_threads in known if n_threads == 1), default=1)
    if (1, 1) not in known or most == 1:
        return None
    row_s = max((known[most, 1] - known[1, 1]) / (most - 1), known[most, 1] / most * 1e-3)
    return ForestCost(
        call_s=max(0.0, known[1, 1] - row_s),
        row_s=row_s,
        visits=counts["visits"],
        node_bytes=counts["node_bytes"],
        tree_bytes=counts["tree_bytes"],
        forest_bytes=counts["tree_bytes"] * counts["n_trees"],
        new_nodes=counts.get("touched_by_16", counts["visits"]) - counts["visits"],
    )


def place_forest(cells: Mapping[Configuration, Measurement], cost: ForestCost, roofs: Roofs) -> tuple[ForestPlace, ...]:
    """Every measured configuration whose threads have roofs."""
    found = []
    for (rows, n_threads), cell in sorted(cells.items()):
        summary = summarize(cell)
        if not summary.is_measured or not roofs.knows("fp32", n_threads):
            continue
        visits = cost.visits * rows
        rate, level = roofs.traffic(cost.tree_bytes * n_threads, n_threads)
        n_bytes, seconds = visits * (cost.node_bytes + FEATURE_BYTES), summary.median_s.value
        floors: dict[Bound, float] = {
            "launch": min(cost.call_s, seconds),
            "compute": visits / roofs.flops_per_s["fp32", n_threads],
            "bandwidth" if level == "RAM" else "cache": n_bytes / rate,
        }
        load_s = roofs.load_s(cost.tree_bytes)
        if load_s is not None:
            floors["latency"] = visits * load_s / n_threads
        nearest = max(floors, key=lambda name: floors[name])
        share = floors[nearest] / seconds
        found.append(
            ForestPlace(
                rows=rows,
                n_threads=n_threads,
                seconds=seconds,
                flops=visits,
                bytes=n_bytes,
                level=level,
                floors_s=floors,
                bound=nearest if share >= NEAR else "instructions",
                share=share,
            )
        )
    return tuple(found)
