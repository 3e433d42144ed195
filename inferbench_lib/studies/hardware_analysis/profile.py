"""Benches that can also take a workload apart: a network's layers, a forest's nodes, and how time grows with size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

from inferbench_lib.measure.bench import Bench
from inferbench_lib.measure.calls import Calls
from inferbench_lib.records import Case
from inferbench_lib.timing.loop import in_rounds
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
        networks = [replace(self._network, side=side) for side in sides]
        images = [torch.from_numpy(network.draw(1)) for network in networks]
        varied = [
            ("image side", network.side, partial(forward, network.model(), image), image.nbytes)
            for network, image in zip(networks, images, strict=True)
        ]
        return _growth(self._network, varied, n_rounds)


class ForestBench(Bench):
    """The forest's calls, and passes over its nodes and over the size of rows and trees."""

    def __init__(self, forest: Forest, source: Calls) -> None:
        super().__init__(source)
        self._forest = forest

    def visits(self) -> Row:
        """Count the node visits per row and the bytes of nodes, along the decision paths of a thousand rows."""
        return visit_counts(self._forest.model(), self._forest.draw(1000))

    def growth(self, features: Sequence[int], trees: Sequence[int], depths: Sequence[int], n_rounds: int) -> list[Row]:
        """Time `GROWTH_ROWS` rows on one thread by features, by trees, and by the depth that trees may reach."""
        small = replace(self._forest, n_trees=GROWTH_TREES, n_train=min(GROWTH_TRAIN, self._forest.n_train))
        forests = [("features", n, replace(small, n_features=n)) for n in features]
        forests += [("depth", depth, replace(small, max_depth=depth)) for depth in depths]
        models = [(name, value, forest.model(), forest.draw(GROWTH_ROWS)) for name, value, forest in forests]
        whole, rows = self._forest.model(), self._forest.draw(GROWTH_ROWS)
        for n_trees in trees:
            fewer = copy(whole)
            fewer.estimators_ = whole.estimators_[:n_trees]
            models.append(("trees", n_trees, fewer, rows))
        varied = [(name, value, partial(model.predict, rows), rows.nbytes) for name, value, model, rows in models]
        return _growth(self._forest, varied, n_rounds)


def bench_for(source: Calls) -> Bench:
    """Make the bench of a workload's calls: one that can take the workload apart, where there is such a one."""
    work = source.workload
    if isinstance(work, Cnn):
        return NetworkBench(work, source)
    return ForestBench(work, source) if isinstance(work, Forest) else Bench(source)


def _growth(work: Cnn | Forest, varied: Sequence[tuple[str, int, Callable[[], Any], int]], n_rounds: int) -> list[Row]:
    """Time one call of each (kind of input, its size, call, bytes), in rounds."""
    seconds = in_rounds({f"{name}={value}": call for name, value, call, _ in varied}, n_rounds=n_rounds, seed=work.seed)
    return [
        {
            "input": name,
            "workload": work.name,
            "value": value,
            "bytes": n_bytes,
            "seconds": seconds[f"{name}={value}"],
        }
        for name, value, _, n_bytes in varied
    ]
