"""The limit that binds each workload, from a network's layers or from a workload timed as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from inferbench_lib.findings import Interval
from inferbench_lib.records import Case, Measurement
from inferbench_lib.stats.intervals import signed_rank_interval
from inferbench_lib.stats.roofline import Bound, Roof, Roofs, Work, flat_roofs, operator_work
from inferbench_lib.stats.statistics import summarize

ABOVE = 1.05
"""A larger share of a limit shows that the limit was measured too low."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of one network at one batch size under its roof."""

    name: str
    shape: tuple[int, ...]
    work: Work
    weight_bytes: float
    seconds: Interval
    median_s: float
    roof: Roof

    @property
    def share(self) -> float:
        """Return the roof's time over the layer's own."""
        return self.roof.seconds / self.median_s

    @property
    def bound(self) -> Bound:
        """Return the limit that binds the layer."""
        # A launch is measured as the shortest of all operators, so work that it binds always takes somewhat longer.
        return "launch" if self.roof.bound == "launch" else self.roof.bound_of(self.median_s)


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


def layer_profiles(tables: Sequence[Mapping[str, Any]], roofs: Roofs) -> tuple[LayerProfile, ...]:
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


def _layer(row: Mapping[str, Any], table: Mapping[str, Any], roofs: Roofs) -> Layer:
    work = Work(flops=row["flops"], bytes=row["bytes"], precision=table["precision"], n_threads=table["n_threads"])
    return Layer(
        name=row["name"],
        shape=tuple(row["shape"]),
        work=work,
        weight_bytes=row["weight_bytes"],
        seconds=signed_rank_interval(row["seconds"]),
        median_s=median(row["seconds"]),
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

    @property
    def visit_s(self) -> float:
        """Return the seconds of one node visit of a forest on one thread."""
        return self.seconds * self.case.n_threads / self.work.flops


Bindable = LayerProfile | WholePoint
"""What has a limit that binds it: `name`, `case`, `bound`, and the shares of its time and of that limit."""


def place_network(
    name: str, cell: Measurement, operators: Sequence[Mapping[str, Any]], limits: Mapping[str, Any]
) -> WholePoint | None:
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


def first_of_each(found: Sequence[Bindable]) -> tuple[Bindable, ...]:
    """Return for each workload the configuration to show first: the most threads, then the largest batch."""
    firsts: dict[str, Bindable] = {}
    for one in sorted(found, key=lambda one: (one.case.n_threads, one.case.batch_size)):
        firsts[one.name] = one
    return tuple(firsts[name] for name in dict.fromkeys(one.name for one in found))
