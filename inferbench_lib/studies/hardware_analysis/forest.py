"""The node visits of a forest, counted along the decision paths, against the limits of the machine.

A visit loads a node and one feature, compares once, and only then knows the next node. Trees are evaluated one after
another, so one tree's nodes stay in the cache that holds them. A call costs a + c · rows / threads: a in Python and
scikit-learn, c in visits; both follow from one row and many rows on one thread. Many rows find most nodes where the
rows before left them; a few rows load each node anew from the level that holds the whole forest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from inferbench_lib.records import Case, Measurement
from inferbench_lib.stats.roofline import Bound, Roofs, Work
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.studies.hardware_analysis.bounds import WholePoint

FEATURE_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class ForestCost:
    """The cost of a call as a + c · rows / threads seconds, for the forest whose visits were counted.

    `forest_bytes` are those of all trees, `new_nodes` those that 16 rows touch beyond the visits of their first.
    """

    call_s: float
    row_s: float
    visits: float
    node_bytes: float
    tree_bytes: float
    forest_bytes: float
    new_nodes: float

    def seconds(self, rows: int, n_threads: int) -> float:
        """Return the predicted seconds of one call."""
        return self.call_s + self.row_s * rows / n_threads

    def seconds_of_16(self, load_s: float) -> float:
        """Return the predicted seconds of 16 rows on one thread, each new node a load of `load_s`."""
        return self.seconds(16, 1) + self.new_nodes * load_s

    @property
    def visit_s(self) -> float:
        """Return the seconds of one visit on one thread."""
        return self.row_s / self.visits


def forest_cost(cells: Mapping[Case, Measurement], counts: Mapping[str, Any]) -> ForestCost | None:
    """Return the cost of a call and a row, from one row and the most rows on one thread; None where one is missing."""
    summaries = {case.batch_size: summarize(cell) for case, cell in cells.items() if case.n_threads == 1}
    known = {rows: summary.median_s.value for rows, summary in summaries.items() if summary.is_measured}
    most = max(known, default=1)
    if 1 not in known or most == 1:
        return None
    row_s = max((known[most] - known[1]) / (most - 1), known[most] / most * 1e-3)
    return ForestCost(
        call_s=max(0.0, known[1] - row_s),
        row_s=row_s,
        visits=counts["visits"],
        node_bytes=counts["node_bytes"],
        tree_bytes=counts["tree_bytes"],
        forest_bytes=counts["tree_bytes"] * counts["n_trees"],
        new_nodes=counts.get("touched_by_16", counts["visits"]) - counts["visits"],
    )


def place_forest(name: str, cells: Mapping[Case, Measurement], cost: ForestCost, roofs: Roofs) -> list[WholePoint]:
    """Return every measured configuration whose threads have known limits, by rows and threads."""
    load_s, found = roofs.load_s(cost.tree_bytes), []
    for case, cell in sorted(cells.items(), key=lambda item: (item[0].batch_size, item[0].n_threads)):
        summary = summarize(cell)
        if not (summary.is_measured and roofs.knows("fp32", case.n_threads)):
            continue
        seconds, visits = summary.median_s.value, cost.visits * case.batch_size
        work = Work(flops=visits, bytes=visits * (cost.node_bytes + FEATURE_BYTES), n_threads=case.n_threads)
        roof = roofs.over(work, held_bytes=cost.tree_bytes * case.n_threads)
        floors_s: dict[Bound, float] = {**roof.floors_s, "launch": min(cost.call_s, seconds)}
        if load_s is not None:
            floors_s["latency"] = visits * load_s / case.n_threads
        roof = replace(roof, floors_s=floors_s)
        share = roof.seconds / seconds
        found.append(WholePoint(name=name, case=case, seconds=seconds, work=work, roof=roof, roof_share=share))
    return found
