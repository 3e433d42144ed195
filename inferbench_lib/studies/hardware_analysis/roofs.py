"""The measured roofs over a piece of work: arithmetic by precision and threads, traffic by where its data lie, launch.

A piece of work is bound by the roof under which it would take longest. Where the measured time lies far above all of
them, no limit of the machine binds it, but the instructions of the program itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Bound = Literal["compute", "bandwidth", "cache", "latency", "launch", "instructions"]
NEAR = 0.25
"""Below this share of the attainable no roof is near."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """FLOPs and the least bytes of one piece of work, at a precision and on so many threads."""

    flops: float
    bytes: float
    precision: str = "fp32"
    n_threads: int = 1


@dataclass(frozen=True, kw_only=True)
class Roof:
    """The least seconds that a piece of work can take here, what makes it so, and the cache or memory behind it."""

    seconds: float
    bound: Bound
    level: str


@dataclass(frozen=True, kw_only=True)
class Roofs:
    """Rates in FLOP/s by (precision, threads); (bytes, threads) -> (bytes/s, level); seconds of an empty operator.

    `loads_s` are seconds of a load that depends on the one before, by working set; empty where not measured.
    `compute`, `caches` and `memory` scale the measured rates, for the question what another machine would do.
    """

    flops_per_s: Mapping[tuple[str, int], float]
    bytes_per_s: Mapping[tuple[int, int], tuple[float, str]]
    launch_s: float
    loads_s: Mapping[int, float] = field(default_factory=dict)
    compute: float = 1.0
    caches: float = 1.0
    memory: float = 1.0

    def knows(self, precision: str, n_threads: int) -> bool:
        """Whether both roofs were measured at this precision and with so many threads."""
        return (precision, n_threads) in self.flops_per_s and any(n == n_threads for _, n in self.bytes_per_s)

    def traffic(self, n_bytes: float, n_threads: int) -> tuple[float, str]:
        """Bytes/s and level of the smallest measured working set that holds `n_bytes`, else of the largest one."""
        sizes = sorted(size for size, n in self.bytes_per_s if n == n_threads)
        size = next((size for size in sizes if size >= n_bytes), sizes[-1])
        rate, level = self.bytes_per_s[size, n_threads]
        return rate * (self.memory if level == "RAM" else self.caches), level

    def load_s(self, n_bytes: float) -> float | None:
        """Seconds of a dependent load from so many bytes, on the line between the measured sets (both logarithmic).

        None where latency was not measured.
        """
        if not self.loads_s:
            return None
        sizes = sorted(self.loads_s)
        return float(np.exp(np.interp(np.log(n_bytes), np.log(sizes), np.log([self.loads_s[size] for size in sizes]))))

    def over(self, work: Work) -> Roof:
        """The roof over a piece of work. Raises KeyError where the roofs were not measured (see `knows`)."""
        rate, level = self.traffic(work.bytes, work.n_threads)
        by: dict[Bound, float] = {
            "launch": self.launch_s,
            "compute": work.flops / (self.flops_per_s[work.precision, work.n_threads] * self.compute),
            "bandwidth" if level == "RAM" else "cache": work.bytes / rate,
        }
        bound = max(by, key=lambda name: by[name])
        return Roof(seconds=by[bound], bound=bound, level=level)


def roofs(limits: Mapping[str, Any]) -> Roofs:
    """The roofs of a `hardware_analysis` run's limits: at each working set the faster of read and triad.

    Copy is none of them: its stores may pass by the caches, as those of a layer do not (see machine/bandwidth.py).
    What few threads reach, many can reach by leaving the others idle, so no roof falls with more threads.
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


def bound_of(roof: Roof, seconds: float) -> Bound:
    """What binds work that took so long: the roof where it is near (or a launch, that being a floor), else the program.

    A launch is measured as the shortest of all operators, so work bound by it always lies somewhat above.
    """
    return roof.bound if roof.bound == "launch" or roof.seconds >= NEAR * seconds else "instructions"
