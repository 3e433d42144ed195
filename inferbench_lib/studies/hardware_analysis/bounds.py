"""The limit that binds each workload, from a network's layers, a whole network or a forest."""

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
from inferbench_lib.studies.hardware_analysis.forest import ForestPoint

ABOVE = 1.05
"""A larger share of a limit shows that the limit was measured too low."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of one network at one batch size; `share` is the roof's time over the layer's own."""

    name: str
    shape: tuple[int, ...]
    work: Work
    weight_bytes: float
    seconds: Interval
    roof: Roof
    share: float
    bound: Bound


@dataclass(frozen=True, kw_only=True)
class LayerProfile:
    """A network's layers at one batch size, threads and precision; `whole` is the network in the same rounds."""

    workload: str
    batch_size: int
    n_threads: int
    precision: str
    whole: Interval
    layers: tuple[Layer, ...]

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

    def case_among(self, cases: Sequence[Case]) -> Case | None:
        """Return the first case with this profile's workload, batch size, threads and precision."""
        own = (self.workload, self.batch_size, self.n_threads, self.precision)
        return next((c for c in cases if (c.workload, c.batch_size, c.n_threads, c.precision) == own), None)


def layer_profiles(tables: Sequence[Mapping[str, Any]], roofs: Roofs) -> tuple[LayerProfile, ...]:
    """Return the measured layers under their roofs, without precisions and threads whose limits are not known."""
    return tuple(
        LayerProfile(
            workload=table["workload"],
            batch_size=table["batch_size"],
            n_threads=table["n_threads"],
            precision=table["precision"],
            whole=signed_rank_interval(table["whole_s"]),
            layers=tuple(_layer(row, table, roofs) for row in table["layers"]),
        )
        for table in tables
        if roofs.knows(table["precision"], table["n_threads"])
    )


def _layer(row: Mapping[str, Any], table: Mapping[str, Any], roofs: Roofs) -> Layer:
    work = Work(flops=row["flops"], bytes=row["bytes"], precision=table["precision"], n_threads=table["n_threads"])
    roof, typical = roofs.over(work), median(row["seconds"])
    # A launch is measured as the shortest of all operators, so work that it binds always takes somewhat longer.
    binds = roof.bound == "launch" or roof.is_near(typical)
    return Layer(
        name=row["name"],
        shape=tuple(row["shape"]),
        work=work,
        weight_bytes=row["weight_bytes"],
        seconds=signed_rank_interval(row["seconds"]),
        roof=roof,
        share=roof.seconds / typical,
        bound=roof.bound if binds else "instructions",
    )


@dataclass(frozen=True, kw_only=True)
class NetworkPoint:
    """One whole network at one batch size under the highest measured peak and the memory bandwidth."""

    name: str
    case: Case
    roof: Roof
    share: float
    bound: Bound


def place_network(
    name: str, cell: Measurement, operators: Sequence[Mapping[str, Any]], limits: Mapping[str, Any]
) -> NetworkPoint | None:
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
    roof = roofs.over(Work(flops=sum(work.flops for work in works), bytes=sum(work.bytes for work in works)))
    seconds = summary.median_s.value
    return NetworkPoint(
        name=name,
        case=cell.case,
        roof=roof,
        share=max(roof.floors_s["compute"], roof.floors_s["bandwidth"]) / seconds,
        bound=roof.bound if roof.is_near(seconds) else "instructions",
    )


@dataclass(frozen=True, kw_only=True)
class Binding:
    """The limit that binds one workload, with its share of the time and how near that time is to the limit.

    `costliest` holds the layers of that limit, the longest first, as name, share of the time and share of the limit.
    """

    workload: str
    batch_size: int
    n_threads: int
    bound: Bound
    time_share: float
    roof_share: float
    costliest: tuple[tuple[str, float, float], ...] = ()
    visit_s: float | None = None


def bind_layers(profile: LayerProfile) -> Binding:
    """Return the limit under which a network spends most of its time, from its layers."""
    bound, seconds = next(iter(profile.time_by_bound().items()))
    layers = [layer for layer in profile.layers if layer.bound == bound]
    longest = sorted(layers, key=lambda layer: -layer.seconds.value)
    return Binding(
        workload=profile.workload,
        batch_size=profile.batch_size,
        n_threads=profile.n_threads,
        bound=bound,
        time_share=seconds / profile.sum_s,
        roof_share=sum(layer.roof.seconds for layer in layers) / seconds,
        costliest=tuple((one.name, one.seconds.value / profile.sum_s, one.share) for one in longest),
    )


def bind_whole(point: ForestPoint | NetworkPoint) -> Binding:
    """Return the nearest limit of a workload that is timed as a whole."""
    return Binding(
        workload=point.name,
        batch_size=point.case.batch_size,
        n_threads=point.case.n_threads,
        bound=point.bound,
        time_share=1.0,
        roof_share=point.share,
        visit_s=point.visit_s if isinstance(point, ForestPoint) else None,
    )


def first_bindings(bindings: Sequence[Binding]) -> dict[str, Binding]:
    """Return for each workload the configuration to show first: the most threads, then the largest batch."""
    names = dict.fromkeys(one.workload for one in bindings)
    return {
        name: max((b for b in bindings if b.workload == name), key=lambda b: (b.n_threads, b.batch_size))
        for name in names
    }
