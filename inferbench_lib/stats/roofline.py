"""The roofline: the least seconds that a piece of work takes under a machine's limits, and the limit that sets them.

Attainable FLOP/s = min(peak, arithmetic intensity × bandwidth) (Williams, Waterman & Patterson 2009). As a time, work
takes at least as long as its arithmetic, its memory traffic and its launch. `Roofs` describes a measured machine, or a
device known from its datasheet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Bound = Literal["compute", "bandwidth", "cache", "latency", "launch", "instructions"]
"""The limit that sets the time; "instructions" where the program sets it, far from every limit of the machine."""
NEAR = 0.25
"""Below this share of the attainable no limit is near."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """FLOPs and the least bytes of one piece of work, at one precision and number of threads."""

    flops: float
    bytes: float
    precision: str = "fp32"
    n_threads: int = 1


@dataclass(frozen=True, kw_only=True)
class Roof:
    """The least seconds of one piece of work by limit, and the cache or memory that holds its data."""

    floors_s: Mapping[Bound, float]
    level: str

    @property
    def bound(self) -> Bound:
        """Return the limit under which the work takes longest."""
        return max(self.floors_s, key=lambda bound: self.floors_s[bound])

    @property
    def seconds(self) -> float:
        """Return the least seconds of the work under all limits."""
        return self.floors_s[self.bound]

    def bound_of(self, seconds: float) -> Bound:
        """Return the limit that explains a measured time; "instructions" where it takes less than `NEAR` of it."""
        return self.bound if self.seconds >= NEAR * seconds else "instructions"


@dataclass(frozen=True, kw_only=True)
class Roofs:
    """The limits of a machine.

    `flops_per_s` is by (precision, threads), `bytes_per_s` holds (bytes/s, level) by (working set, threads).
    `loads_s` holds seconds of a load that depends on the one before, by working set; empty where not measured.
    `compute`, `caches` and `memory` scale the rates, to predict what another machine would do.
    """

    flops_per_s: Mapping[tuple[str, int], float]
    bytes_per_s: Mapping[tuple[int, int], tuple[float, str]]
    launch_s: float
    loads_s: Mapping[int, float] = field(default_factory=dict)
    compute: float = 1.0
    caches: float = 1.0
    memory: float = 1.0

    def knows(self, precision: str, n_threads: int) -> bool:
        """Return whether arithmetic and bandwidth are known at this precision and number of threads."""
        return (precision, n_threads) in self.flops_per_s and any(n == n_threads for _, n in self.bytes_per_s)

    def traffic(self, n_bytes: float, n_threads: int) -> tuple[float, str]:
        """Return bytes/s and level of the smallest working set that holds `n_bytes`, else of the largest one."""
        sizes = sorted(size for size, n in self.bytes_per_s if n == n_threads)
        size = next((size for size in sizes if size >= n_bytes), sizes[-1])
        rate, level = self.bytes_per_s[size, n_threads]
        return rate * (self.memory if level == "RAM" else self.caches), level

    def load_s(self, n_bytes: float) -> float | None:
        """Return seconds of a dependent load from a working set, interpolated on logarithmic axes.

        None where latency was not measured.
        """
        if not self.loads_s:
            return None
        sizes = sorted(self.loads_s)
        return float(np.exp(np.interp(np.log(n_bytes), np.log(sizes), np.log([self.loads_s[size] for size in sizes]))))

    def over(self, work: Work, *, held_bytes: float | None = None) -> Roof:
        """Return the roof over a piece of work, whose traffic stays within `held_bytes` (by default all its bytes).

        Raises KeyError where the limits are not known (see `knows`).
        """
        rate, level = self.traffic(work.bytes if held_bytes is None else held_bytes, work.n_threads)
        floors_s: dict[Bound, float] = {
            "launch": self.launch_s,
            "compute": work.flops / (self.flops_per_s[work.precision, work.n_threads] * self.compute),
            "bandwidth" if level == "RAM" else "cache": work.bytes / rate,
        }
        return Roof(floors_s=floors_s, level=level)


def flat_roofs(*, flops_per_s: float, bytes_per_s: float, launch_s: float) -> Roofs:
    """Return the limits of a device with one fp32 peak and one memory bandwidth, as its datasheet gives them."""
    return Roofs(flops_per_s={("fp32", 1): flops_per_s}, bytes_per_s={(0, 1): (bytes_per_s, "RAM")}, launch_s=launch_s)


def measured_roofs(limits: Mapping[str, Any]) -> Roofs:
    """Return the limits that a run measured: for each working set the faster of read and triad.

    Copy does not count: its stores may bypass the caches, as those of a layer do not (see machine/bandwidth.py).
    More threads reach at least what fewer do, since the others can idle, so no limit falls with more threads.
    """
    rates: dict[tuple[int, int], tuple[float, str]] = {}
    rows: Sequence[Mapping[str, Any]] = limits["bandwidth"]
    for row in rows:
        if row["operation"] == "copy":
            continue
        key, rate = (row["working_set_bytes"], row["n_threads"]), 1e9 * row["limit"]["value"]
        if rate > rates.get(key, (0.0, ""))[0]:
            rates[key] = (rate, row["level"])
    peaks = {(row["dtype"], row["n_threads"]): 1e9 * row["limit"]["value"] for row in limits["gemm"]}
    return Roofs(
        flops_per_s={
            (dtype, n): max(peak for (other, m), peak in peaks.items() if other == dtype and m <= n)
            for dtype, n in peaks
        },
        bytes_per_s={
            (size, n): max(rate for (other, m), rate in rates.items() if other == size and m <= n) for size, n in rates
        },
        launch_s=limits["calls"]["torch operator"]["value"],
        loads_s={row["working_set_bytes"]: row["limit"]["value"] for row in limits.get("latency", ())},
    )


def operator_work(operators: Sequence[Mapping[str, Any]], batch_size: int) -> list[Work]:
    """Return the work of each operator of a network for one batch: weights once, activations for each image."""
    return [
        Work(
            flops=row["flops_per_image"] * batch_size,
            bytes=row["bytes_fixed"] + row["bytes_per_image"] * batch_size,
        )
        for row in operators
    ]
