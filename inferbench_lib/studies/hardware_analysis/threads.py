"""The cost of the threads that each library takes by default, over the better of one thread and the usable CPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from inferbench_lib.findings import Interval, Ratio, Verdict
from inferbench_lib.records import Figure
from inferbench_lib.stats.comparison import OTHER_LOAD, compare_rounds, is_worth_it
from inferbench_lib.stats.entries import entry
from inferbench_lib.stats.intervals import signed_rank_interval

Row = Mapping[str, Any]
Times = Mapping[int, Sequence[float]]
"""Seconds per call of one piece of work, one value per round, by threads."""


@dataclass(frozen=True, kw_only=True)
class ThreadCost:
    """One library's default: `cost` is its time over that of `best` threads, on the most inputs that were timed.

    `gains` are the speeds of all usable CPUs over one thread, by the number of inputs, where several were timed.
    `reason` says why there are no times.
    """

    library: str
    default: int | None
    usable: int
    best: int
    cost: Ratio | None = None
    n_inputs: int = 1
    seconds: Mapping[int, Interval]
    gains: Mapping[int, Ratio]
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """Return whether the default exceeds the usable CPUs."""
        return self.default is not None and self.default > self.usable

    @property
    def to_set(self) -> int:
        """Return the threads to set: the best where others cost time, else the default, at most all usable CPUs."""
        if self.is_costly:
            return self.best
        return self.usable if self.default is None or self.is_over else self.default

    @property
    def is_settled(self) -> bool:
        """Return whether the cost has a verdict that counts."""
        return self.cost is not None and self.cost.is_judged and self.cost.verdict is not Verdict.UNSTABLE

    @property
    def is_costly(self) -> bool:
        """Return whether other threads are shown to gain enough to be recommended."""
        return self.cost is not None and is_worth_it(self.cost)


def thread_costs(rows: Sequence[Row], usable: int) -> tuple[ThreadCost, ...]:
    """Return the cost of each library's default, in the order in which they were measured."""
    return tuple(_thread_cost(row, usable) for row in rows)


def _thread_cost(row: Row, usable: int) -> ThreadCost:
    default, load = row["default"], [of["text"] for of in row["flags"] if of["name"] == OTHER_LOAD]
    sizes: dict[int, dict[int, Sequence[float]]] = {}
    for cell in row["timed"]:
        sizes.setdefault(cell["n_inputs"], {})[cell["n_threads"]] = cell["seconds"]
    if not sizes:
        return ThreadCost(library=row["library"], default=default, usable=usable, best=usable, seconds={}, gains={},
                          reason=row["reason"])  # fmt: skip
    n_inputs, times = max(sizes.items())
    best = min((usable, 1), key=lambda n: median(times[n]))
    has_gains = len(sizes) > 1 and usable > 1
    return ThreadCost(
        library=row["library"],
        default=default,
        usable=usable,
        best=best,
        cost=_faster(times, default, best, load),
        n_inputs=n_inputs,
        seconds={n: signed_rank_interval(seconds) for n, seconds in times.items()},
        gains={size: _faster(of, 1, usable, load) for size, of in sorted(sizes.items())} if has_gains else {},
    )


def _faster(times: Times, before: int, after: int, load: Sequence[str]) -> Ratio:
    """Return the speed on `after` threads over that on `before`, without a verdict beside other programs."""
    ratio = compare_rounds(times[before], times[after])
    return replace(ratio, verdict=Verdict.UNSTABLE, reason=load[0].removesuffix(".")) if load else ratio


def thread_figures(costs: Sequence[ThreadCost]) -> dict[str, Figure]:
    """Return the entries of `summary.json`."""
    found = {
        f"default_threads[{one.library}]": Figure(
            value=one.default,
            unit="threads",
            verdict=one.reason
            if one.default is None
            else f"{'more than' if one.is_over else 'within'} the usable CPUs ({one.usable})",
        )
        for one in costs
    }
    return found | {
        f"default_threads_cost[{one.library}]": entry(one.cost, "×", one.cost.verdict) for one in costs if one.cost
    }
