"""The limit that binds each workload, from a network's layers or from a workload timed as a whole.

A network's layers stand under the roofs of their arithmetic and bytes. A forest stands under its node visits, counted
along the decision paths. A visit loads a node and one feature, compares once, and only then knows the next node. Trees
are evaluated one after another, so one tree's nodes stay in the cache that holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inferbench_lib.findings import Interval
from inferbench_lib.records import Case, Measurement
from inferbench_lib.stats.intervals import signed_rank_interval
from inferbench_lib.stats.roofline import Bound, Roof, Roofs, Work, flat_roofs, operator_work
from inferbench_lib.stats.statistics import summarize

ABOVE = 1.05
"""A larger share of a limit shows that the limit was measured too low."""
FEATURE_BYTES = 4

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of one network at one batch size under its roof."""

    name: str
    shape: tuple[int, ...]
    work: Work
    weight_bytes: float
    seconds: Interval
    roof: Roof

    @property
    def share(self) -> float:
        """Return the roof's time over the layer's own."""
        return self.roof.seconds / self.seconds.value

    @property
    def bound(self) -> Bound:
        """Return the limit that binds the layer."""
        # A launch is measured as the shortest of all operators, so work that it binds always takes somewhat longer.
        return "launch" if self.roof.bound == "launch" else self.roof.bound_of(self.seconds.value)


@dataclass(frozen=True, kw_only=True)
class LayerProfile:
    """A network's layers at one batch size, threads and precision; `whole` is the network in the same rounds."""

    case: Case
    whole: Interval
    layers: tuple[Layer, ...]

    @property
    def name(self) -> str:
        """Return the network."""
        return self.case.workload

    @property
    def sum_s(self) -> float:
        """Return the sum of the layers' times."""
        return sum(layer.seconds.value for layer in self.layers)

    @property
    def roof_s(self) -> float:
        """Return the least time, each layer at its roof; a layer above its roof keeps its own time."""
        return sum(min(layer.roof.seconds, layer.seconds.value) for layer in self.layers)

    @property
    def gain_at_roof(self) -> float:
        """Return the most that any other engine could gain: every layer at its roof."""
        return self.sum_s / self.roof_s

    @property
    def above_roof(self) -> tuple[str, ...]:
        """Return layers more than 5 % faster than their roof, which was then measured on a busier machine."""
        return tuple(layer.name for layer in self.layers if layer.share > ABOVE)

    def time_by_bound(self) -> dict[Bound, float]:
        """Return seconds of the layers by the limit that binds them, the longest first."""
        found: dict[Bound, float] = {}
        for layer in self.layers:
            found[layer.bound] = found.get(layer.bound, 0.0) + layer.seconds.value
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @property
    def bound(self) -> Bound:
        """Return the limit under which the network spends most of its time."""
        return next(iter(self.time_by_bound()))

    @property
    def bound_layers(self) -> list[Layer]:
        """Return the layers of that limit, the longest first."""
        return sorted((one for one in self.layers if one.bound == self.bound), key=lambda one: -one.seconds.value)

    @property
    def time_share(self) -> float:
        """Return the share of the time in layers of that limit."""
        return self.time_by_bound()[self.bound] / self.sum_s

    @property
    def roof_share(self) -> float:
        """Return the least time of these layers over their own."""
        return sum(layer.roof.seconds for layer in self.bound_layers) / self.time_by_bound()[self.bound]


def layer_profiles(tables: Sequence[Row], roofs: Roofs) -> tuple[LayerProfile, ...]:
    """Return the measured layers under their roofs, without precisions and threads whose limits are not known."""
    told = ("workload", "batch_size", "n_threads", "precision")
    return tuple(
        LayerProfile(
            case=Case(**{name: table[name] for name in told}),
            whole=signed_rank_interval(table["whole_s"]),
            layers=tuple(_layer(row, table, roofs) for row in table["layers"]),
        )
        for table in tables
        if roofs.knows(table["precision"], table["n_threads"])
    )


def _layer(row: Row, table: Row, roofs: Roofs) -> Layer:
    work = Work(flops=row["flops"], bytes=row["bytes"], precision=table["precision"], n_threads=table["n_threads"])
    return Layer(
        name=row["name"],
        shape=tuple(row["shape"]),
        work=work,
        weight_bytes=row["weight_bytes"],
        seconds=signed_rank_interval(row["seconds"]),
        roof=roofs.over(work),
    )


@dataclass(frozen=True, kw_only=True)
class WholePoint:
    """One configuration of a workload timed as a whole; `roof_share` is the nearest limit's time over its own.

    A network stands under the highest peak and the memory bandwidth, and its share leaves out the launches. Of a
    forest, a node visit counts as one FLOP, and the measured fixed cost of a call as its launch.
    """

    name: str
    case: Case
    seconds: float
    work: Work
    roof: Roof
    roof_share: float
    time_share: float = 1.0

    @property
    def bound(self) -> Bound:
        """Return the limit that explains the time."""
        return self.roof.bound_of(self.seconds)


Bindable = LayerProfile | WholePoint
"""What has a limit that binds it: `name`, `case`, `bound`, and the shares of its time and of that limit."""


def place_network(name: str, cell: Measurement, operators: Sequence[Row], limits: Row) -> WholePoint | None:
    """Return where a network stands, from the sums over its operators; None where it was not measured."""
    summary = summarize(cell)
    if not summary.is_measured:
        return None
    roofs = flat_roofs(
        flops_per_s=1e9 * max(row["limit"]["value"] for row in limits["gemm"] if row["dtype"] == "fp32"),
        bytes_per_s=1e9 * limits["memory"]["limit"]["value"],
        launch_s=len(operators) * limits["calls"]["torch operator"]["value"],
    )
    works = operator_work(operators, cell.case.batch_size)
    work = Work(flops=sum(of.flops for of in works), bytes=sum(of.bytes for of in works))
    roof, seconds = roofs.over(work), summary.median_s.value
    nearest_s = max(roof.floors_s["compute"], roof.floors_s["bandwidth"])
    return WholePoint(name=name, case=cell.case, seconds=seconds, work=work, roof=roof, roof_share=nearest_s / seconds)


@dataclass(frozen=True, kw_only=True)
class ForestCost:
    """The cost of a call as a + c · rows / threads seconds: a in Python and scikit-learn, c in node visits.

    Many rows find most nodes where the rows before left them; a few rows load each node anew from the level that holds
    all trees, `forest_bytes`. `new_nodes` are those that 16 rows touch beyond the visits of their first.
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


def forest_cost(cells: Mapping[Case, Measurement], counts: Row) -> ForestCost | None:
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
