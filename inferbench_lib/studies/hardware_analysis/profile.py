"""Benches that can also take a workload apart: a network's layers, a forest's nodes, and how time grows with size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from inferbench_lib.measure.bench import Bench
from inferbench_lib.measure.calls import Calls
from inferbench_lib.records import Case
from inferbench_lib.timing.loop import in_rounds
from inferbench_lib.work.base import Workload
from inferbench_lib.work.cnn import Cnn, layer_counts, named_layers
from inferbench_lib.work.engines.torch import forward
from inferbench_lib.work.forest import Forest, visit_counts

GROWTH_TREES, GROWTH_TRAIN, GROWTH_ROWS = 10, 2000, 4000
"""The small forests whose time is measured against features and depth, and the rows per call."""

Row = dict[str, Any]


class NetworkBench(Bench):
    """A network's calls, and passes over its layers and over the size of its images."""

    def __init__(self, network: Cnn, source: Calls) -> None:
        super().__init__(source)
        self._network = network

    def layers(self, case: Case, n_rounds: int) -> Row:
        """Time each layer on its own input and the whole network beside them, in rounds; count FLOPs and bytes."""
        import torch

        torch.set_num_threads(case.n_threads)
        model = self._network.model()
        batch = torch.from_numpy(self._network.draw(case.batch_size))
        counts = layer_counts(model, batch)
        calls: dict[str, Callable[[], Any]] = {"whole": partial(forward, model, batch)}
        names = {layer: name for name, layer in named_layers(model)}
        with torch.inference_mode():
            for layer in model:
                if layer in names:
                    calls[names[layer]] = partial(forward, layer, batch)
                batch = layer(batch)
        seconds = in_rounds(calls, n_rounds=n_rounds, seed=self._network.seed)
        return {
            "workload": case.workload,
            "batch_size": case.batch_size,
            "n_threads": case.n_threads,
            "precision": case.precision,
            "whole_s": seconds["whole"],
            "layers": [{**row, "seconds": seconds[row["name"]]} for row in counts],
        }

    def growth(self, sides: Sequence[int], n_threads: int, n_rounds: int) -> list[Row]:
        """Time one image by the length of its side."""
        import torch

        torch.set_num_threads(n_threads)
        images, calls = {}, {}
        for side in sides:
            network = replace(self._network, side=side)
            images[side] = torch.from_numpy(network.draw(1))
            calls[str(side)] = partial(forward, network.model(), images[side])
        seconds = in_rounds(calls, n_rounds=n_rounds, seed=self._network.seed)
        name = self._network.name
        return [_grown("image side", name, side, images[side].nbytes, seconds[str(side)]) for side in sides]


class ForestBench(Bench):
    """The forest's calls, and passes over its nodes and over the size of rows and trees."""

    def __init__(self, forest: Forest, source: Calls) -> None:
        super().__init__(source)
        self._forest = forest

    def counts(self) -> Row:
        """Count the node visits per row and the bytes of nodes, along the decision paths of a thousand rows."""
        return visit_counts(self._forest.model(), self._forest.draw(1000))

    def growth(self, features: Sequence[int], trees: Sequence[int], depths: Sequence[int], n_rounds: int) -> list[Row]:
        """Time `GROWTH_ROWS` rows on one thread by features, by trees, and by the depth that trees may reach."""
        models = list(self._growth_models(features, trees, depths))
        calls = {f"{name}={value}": partial(model.predict, rows) for name, value, model, rows in models}
        seconds = in_rounds(calls, n_rounds=n_rounds, seed=self._forest.seed)
        return [
            _grown(name, "forest", value, rows.nbytes, seconds[f"{name}={value}"]) for name, value, _, rows in models
        ]

    def _growth_models(
        self, features: Sequence[int], trees: Sequence[int], depths: Sequence[int]
    ) -> Iterator[tuple[str, int, Any, np.ndarray]]:
        small = replace(self._forest, n_trees=GROWTH_TREES, n_train=min(GROWTH_TRAIN, self._forest.n_train))
        varied = [("features", n, replace(small, n_features=n)) for n in features]
        varied += [("depth", depth, replace(small, max_depth=depth)) for depth in depths]
        for name, value, forest in varied:
            yield name, value, forest.model(), forest.draw(GROWTH_ROWS)
        whole, rows = self._forest.model(), self._forest.draw(GROWTH_ROWS)
        for n_trees in trees:
            fewer = copy(whole)
            fewer.estimators_ = whole.estimators_[:n_trees]
            yield "trees", n_trees, fewer, rows


def bench_for(work: Workload) -> Callable[[Calls], Bench]:
    """Return what makes the bench of a workload: one that can take it apart, where there is such a one."""
    if isinstance(work, Cnn):
        return partial(NetworkBench, work)
    return partial(ForestBench, work) if isinstance(work, Forest) else Bench


def _grown(name: str, workload: str, value: int, n_bytes: int, seconds: Sequence[float]) -> Row:
    return {
        "input": name, "workload": workload, "value": value, "bytes": n_bytes, "dtype": "float32", "seconds": seconds
    }  # fmt: skip
