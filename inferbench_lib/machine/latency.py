"""How long a load takes that must wait for the one before it, by working set: the walk down one long decision tree.

scikit-learn's compiled walk reads a node and goes on to the child that it names, so that every load needs the answer
of the one before: what a forest does all the time. Here every node has one way on, and the nodes of that chain lie in
random order, so that no prefetcher can guess the next. Comparing a feature with a threshold runs beside the waiting.
A node is about one cache line (64 bytes); pages are the allocator's, so that misses of the TLB count, as in a forest.
A child is a number, not an address: beside a pointer chase in C (64-byte steps, gcc -O2) a load took 1 ns longer in L1
and L2 on a Xeon, and as long beyond them, within what other programs disturbed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from inferbench_lib.errors import MeasurementError
from inferbench_lib.machine.bandwidth import level_of
from inferbench_lib.machine.limit import Limit, Probe, interleave, least

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    """A tree in one line: its nodes in the `order` of a walk; `walk(n_rows)` gives the leaf that each row reached."""

    order: NDArray[np.intp]
    last: int
    walk: Callable[[int], Any]

    @property
    def n_nodes(self) -> int:
        """How many nodes a walk visits."""
        return len(self.order)


def latencies(
    *,
    caches: Mapping[str, int],
    largest_bytes: int,
    budget_s: float = 4.0,
    now_s: Callable[[], float] = monotonic,
) -> tuple[LoadLatency, ...]:
    """Latency of dependent loads at working sets from 16 KiB in steps of four up to `largest_bytes`.

    Sets that the budget (at least 1.5 s) cannot reach, by the time that the one before took, are left out.
    Raises MeasurementError when a walk ends where the chain does not.
    """
    import sklearn.tree  # noqa: F401 - a second that is not spent on measuring

    started_s = now_s()
    chains = _chains(min(largest_bytes, LARGEST_BYTES), max(budget_s, LEAST_S), now_s)
    levels = {size: level_of(size, 1, caches) for size in chains}
    probes = [_probe(size, one, is_cached=levels[size] != "RAM") for size, one in chains.items()]
    seconds = interleave(probes, budget_s=budget_s - (now_s() - started_s))
    method = "a tree's walk down a chain of nodes in random order, least of interleaved repeats"
    return tuple(
        LoadLatency(
            working_set_bytes=size,
            level=levels[size],
            limit=least([one / (n_rows(found.n_nodes) * found.n_nodes) for one in seconds[size]], method=method),
        )
        for size, found in chains.items()
    )


def _chains(largest_bytes: int, budget_s: float, now_s: Callable[[], float]) -> dict[int, Chain]:
    """Working set → chain, smallest first, as long as the next, four times as large, would still fit."""
    chains: dict[int, Chain] = {}
    spent_s = 0.0
    for size in working_sets(largest_bytes):
        started_s = now_s()
        one = chain(size)
        built_s = now_s() - started_s
        one.walk(1)
        walked_s = now_s() - started_s - built_s
        chains[size] = one
        spent_s += built_s + (1 + WALKS) * walked_s
        if spent_s + 4 * (built_s + (1 + WALKS) * walked_s) > budget_s:
            break
    return chains


def working_sets(largest_bytes: int) -> tuple[int, ...]:
    """From 16 KiB in steps of four."""
    sizes, size = [SMALLEST_BYTES], SMALLEST_BYTES * 4
    while size <= largest_bytes:
        sizes.append(size)
        size *= 4
    return tuple(sizes)


def n_rows(n_nodes: int) -> int:
    """Rows that walk the chain in one sample: together half a million loads, or the whole chain once."""
    return max(1, LOADS_PER_SAMPLE // n_nodes)


def chain(working_set_bytes: int) -> Chain:
    """A chain of nodes that together take `working_set_bytes`."""
    import numpy as np
    from sklearn.tree import DecisionTreeClassifier
    from sklearn.tree._tree import TREE_LEAF, Tree  # no public way leads to a tree that was not fitted

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
    return Chain(
        order=order,
        last=int(order[-1]),
        walk=lambda rows: tree.apply(np.zeros((rows, 1), dtype=np.float32)),
    )


def _probe(size: int, one: Chain, *, is_cached: bool) -> Probe:
    rows = n_rows(one.n_nodes)

    def check(_: object, leaves: Any) -> None:
        if not (leaves == one.last).all():
            raise MeasurementError(
                f"load latency: expected every walk to end at node {one.last}, got {leaves.tolist()[:3]}; "
                "this scikit-learn keeps its trees another way"
            )

    # Only a chain that a cache holds gains from being walked beforehand; a longer one throws its own beginning out.
    return Probe(key=size, call=lambda _: one.walk(rows), check=check, is_warmed=is_cached)
