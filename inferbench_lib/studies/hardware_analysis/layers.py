"""Each layer of a network by itself: its time, FLOPs and bytes, its share of the attainable, and what binds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from inferbench_lib.records import Interval
from inferbench_lib.stats.intervals import signed_rank_interval
from inferbench_lib.studies.hardware_analysis.roofs import Bound, Roof, Roofs, Work, bound_of

ABOVE = 1.05
"""A share above it says that the roof, not the layer, is wrong."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of one network at one batch size; `share` is the roof's time over its own."""

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
        """The layers' times added up."""
        return sum(layer.seconds.value for layer in self.layers)

    @property
    def roof_s(self) -> float:
        """The least time, each layer at its roof; a layer above its roof is left where it is."""
        return sum(min(layer.roof.seconds, layer.seconds.value) for layer in self.layers)

    @property
    def above_roof(self) -> tuple[str, ...]:
        """Layers that were faster than their roof by more than 5 %: a roof measured while the machine was busier."""
        return tuple(layer.name for layer in self.layers if layer.share > ABOVE)

    def time_by_bound(self) -> dict[Bound, float]:
        """Seconds of the layers that each limit binds, the longest first."""
        found: dict[Bound, float] = {}
        for layer in self.layers:
            found[layer.bound] = found.get(layer.bound, 0.0) + layer.seconds.value
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def layer_profiles(tables: Sequence[Mapping[str, Any]], roofs: Roofs) -> tuple[LayerProfile, ...]:
    """The layer passes of a run under its roofs; those at a precision or threads without a measured roof are left."""
    return tuple(_profile(table, roofs) for table in tables if roofs.knows(table["precision"], table["n_threads"]))


def _profile(table: Mapping[str, Any], roofs: Roofs) -> LayerProfile:
    return LayerProfile(
        workload=table["workload"],
        batch_size=table["batch_size"],
        n_threads=table["n_threads"],
        precision=table["precision"],
        whole=signed_rank_interval(table["whole_s"]),
        layers=tuple(_layer(row, table, roofs) for row in table["layers"]),
    )


def _layer(row: Mapping[str, Any], table: Mapping[str, Any], roofs: Roofs) -> Layer:
    work = Work(flops=row["flops"], bytes=row["bytes"], precision=table["precision"], n_threads=table["n_threads"])
    roof, seconds = roofs.over(work), signed_rank_interval(row["seconds"])
    typical = median(row["seconds"])
    return Layer(
        name=row["name"],
        shape=tuple(row["shape"]),
        work=work,
        weight_bytes=row["weight_bytes"],
        seconds=seconds,
        roof=roof,
        share=roof.seconds / typical,
        bound=bound_of(roof, typical),
    )
