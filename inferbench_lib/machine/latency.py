"""Measure the latency of dependent loads by working set: a walk down one long decision tree.

scikit-learn's compiled walk reads a node and goes on to the child that the node names. Every load depends on the one
before, as in a forest. Here every node has one child, and the nodes of this chain lie in random order, so that no
prefetcher can guess the next one. Comparing the feature with the threshold overlaps with the waiting.
A node takes about one cache line (64 bytes). Pages are the allocator's, so TLB misses count, as in a forest.
A child is an index, not an address. On a Xeon, a load took 1 ns longer in L1 and L2 than in a pointer chase in C
(64-byte steps, gcc -O2). Beyond them it took equally long, within the noise of other programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferbench_lib.errors import MeasurementError
from inferbench_lib.machine.bandwidth import level_of
from inferbench_lib.machine.limit import Limit, fourfold, least
from inferbench_lib.timing.loop import Budget, Probe, interleave

SMALLEST_BYTES = 16 << 10
LARGEST_BYTES = 512 << 20
LEAST_S = 1.5
WALKS = 4  # two rounds, each with a walk beforehand
LOADS_PER_SAMPLE = 500_000


@dataclass(frozen=True, kw_only=True)
class LoadLatency:
    """Seconds of one dependent load in `working_set_bytes`; `level` is the cache that holds it, or "RAM"."""

    working_set_bytes: int
    level: str
    limit: Limit


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A tree without branches: its nodes in the `order` of a walk; `walk(n_rows)` gives the leaf of each row."""

    order: NDArray[np.intp]
    walk: Callable[[int], Any]

    @property
    def last(self) -> int:
        """Return the node at which a walk ends."""
        return int(self.order[-1])

    @property
    def rows(self) -> int:
        """Return how many rows walk in one sample: half a million loads in all, or the whole chain once."""
        return max(1, LOADS_PER_SAMPLE // len(self.order))


def latencies(*, caches: Mapping[str, int], largest_bytes: int, budget_s: float) -> tuple[LoadLatency, ...]:
    """Measure the latency of dependent loads at working sets from 16 KiB in steps of four up to `largest_bytes`.

    The budget (at least 1.5 s) ends the series, by the time that the previous size took.
    Raises MeasurementError when a walk does not end at the chain's last node.
    """
    import sklearn.tree  # noqa: F401 - its import, about a second, does not count against the budget

    budget = Budget(budget_s)
    chains = _chains(min(largest_bytes, LARGEST_BYTES), max(budget_s, LEAST_S))
    levels = {size: level_of(size, 1, caches) for size in chains}
    probes = [_probe(size, one, is_cached=levels[size] != "RAM") for size, one in chains.items()]
    seconds = interleave(probes, budget_s=budget.left_s)
    return tuple(
        LoadLatency(
            working_set_bytes=size,
            level=levels[size],
            limit=least([taken_s / (one.rows * len(one.order)) for taken_s in seconds[size]]),
        )
        for size, one in chains.items()
    )


def _chains(largest_bytes: int, budget_s: float, now_s: Callable[[], float] = monotonic) -> dict[int, Chain]:
    """Return chains by working set, smallest first, until the next one, four times as large, would not fit."""
    chains: dict[int, Chain] = {}
    spent_s = 0.0
    for size in fourfold(SMALLEST_BYTES, largest_bytes):
        started_s = now_s()
        chains[size] = chain(size)
        built_s = now_s()
        chains[size].walk(1)
        cost_s = built_s - started_s + (1 + WALKS) * (now_s() - built_s)
        spent_s += cost_s
        if spent_s + 4 * cost_s > budget_s:
            break
    return chains


def chain(working_set_bytes: int) -> Chain:
    """Build a chain whose nodes take `working_set_bytes` in all."""
    from sklearn.tree import DecisionTreeClassifier
    from sklearn.tree._tree import TREE_LEAF, Tree  # no public name builds a tree without fitting it

    node_type = DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1]).tree_.__getstate__()["nodes"].dtype
    n_nodes = working_set_bytes // node_type.itemsize
    order = np.concatenate([[0], 1 + np.random.default_rng(0).permutation(n_nodes - 1)])
    nodes = np.zeros(n_nodes, dtype=node_type)
    nodes["threshold"] = 1.0  # the one feature is 0: always left
    nodes["left_child"][order[:-1]] = order[1:]
    nodes["left_child"][order[-1]] = TREE_LEAF
    nodes["right_child"] = nodes["left_child"]
    tree = Tree(1, np.array([1], dtype=np.intp), 1)
    tree.__setstate__(
        {"max_depth": n_nodes, "node_count": n_nodes, "nodes": nodes, "values": np.zeros((n_nodes, 1, 1))}
    )
    return Chain(order=order, walk=lambda rows: tree.apply(np.zeros((rows, 1), dtype=np.float32)))


def _probe(size: int, one: Chain, *, is_cached: bool) -> Probe:
    def check(_: object, leaves: Any) -> None:
        if not (leaves == one.last).all():
            raise MeasurementError(
                f"load latency: expected every walk to end at node {one.last}, got {leaves.tolist()[:3]}; "
                "this version of scikit-learn stores trees differently"
            )

    # Only a chain that fits in a cache gains from a walk beforehand; a longer one evicts its own beginning.
    return Probe(key=size, call=lambda _: one.walk(one.rows), check=check, is_warmed=is_cached)
