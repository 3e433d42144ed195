"""The workloads, by name: one file each, and its line here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from inferbench_lib.work.base import Workload
from inferbench_lib.work.cnn import Cnn
from inferbench_lib.work.cnn_digits import CnnDigits, CnnDigitsPruned, CnnDigitsStudent
from inferbench_lib.work.engines import ENGINES
from inferbench_lib.work.forest import Forest
from inferbench_lib.work.forest_variants import ForestBoosted, ForestFewer, ForestShallow

WORKLOADS: Mapping[str, Callable[..., Workload]] = {
    "forest": Forest,
    "cnn-small": partial(Cnn, size="small"),
    "cnn-medium": partial(Cnn, size="medium"),
    "cnn-large": partial(Cnn, size="large"),
    "cnn-digits": CnnDigits,
    "cnn-digits-pruned": CnnDigitsPruned,
    "cnn-digits-student": CnnDigitsStudent,
    "forest-fewer": ForestFewer,
    "forest-shallow": ForestShallow,
    "forest-boosted": ForestBoosted,
}


def title_of(name: str) -> str:
    """Return what a sentence calls a workload; of one that is not here, such as a stored one, its name."""
    return WORKLOADS[name]().title if name in WORKLOADS else name


def known_workload(name: str) -> str:
    """Return the name of a workload; raises ValueError naming those that there are."""
    return _one_of("workloads", WORKLOADS, name)


def known_network(name: str) -> str:
    """Return the name of a workload that is a network; raises ValueError naming those that there are."""
    return _one_of("networks", [of for of, make in WORKLOADS.items() if make().kind == "network"], name)


def known_engine(name: str) -> str:
    """Return the name of an engine; raises ValueError naming those that there are."""
    return _one_of("engines", ENGINES, name)


def _one_of(kind: str, names: Collection[str], name: str) -> str:
    if name not in names:
        raise ValueError(f"one of the {kind} {', '.join(names)}")
    return name


def workload(name: str, settings: object) -> Workload:
    """Make a workload; of `settings`, such as a notebook's parameters, it takes the attributes that are its fields."""
    make = WORKLOADS[name]
    kind: Any = make.func if isinstance(make, partial) else make
    given = {of.name: getattr(settings, of.name) for of in fields(kind) if hasattr(settings, of.name)}
    return make(**given)
