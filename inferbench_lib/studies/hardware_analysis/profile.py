"""Benches that can also take a workload apart: a network's layers, a forest's nodes, and how time grows with size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from inferbench_lib.errors import WrongOutput
from inferbench_lib.measure.bench import Bench
from inferbench_lib.measure.calls import Calls
from inferbench_lib.records import Case, Verification
from inferbench_lib.timing.loop import Probe, in_rounds
from inferbench_lib.work.cnn import RELATIVE_TOLERANCE, Cnn, layer_counts, named_layers
from inferbench_lib.work.engines.torch import fetched, forward
from inferbench_lib.work.forest import Forest, visit_counts
from inferbench_lib.work.outputs import equal

if TYPE_CHECKING:
    from torch import Tensor

GROWTH_TREES, GROWTH_TRAIN, GROWTH_ROWS = 10, 2000, 4000
"""The small forests whose time is measured against features and depth, and the rows per call."""

Row = dict[str, Any]
Agree = Callable[[int, Any], Verification]
"""Compares the output for one of several inputs, by its number, with the reference."""
Varied = tuple[str, int, Callable[[Any], Any], Sequence[Any], Agree]
"""A kind of input, its size, a call, the inputs that it takes in turn, and the comparison with the references."""
N_INPUTS = 2


def probe_of(name: str, call: Callable[[Any], Any], inputs: Sequence[Any], agree: Agree) -> Probe:
    """Return a probe that takes the next of its inputs in each sample, and compares each sample's last output.

    Raises WrongOutput for one that differs, so that its time counts for nothing.
    """
    place = 0

    def take_next() -> None:
        nonlocal place
        place = (place + 1) % len(inputs)

    def check(_: object, output: Any) -> None:
        seen = agree(place, output)
        if not seen.passed:
            raise WrongOutput(f"{name}: expected the output of its reference, got another: {seen.detail}")

    return Probe(key=name, call=lambda _: call(inputs[place]), prepare=take_next, check=check)


class NetworkBench(Bench):
    """A network's calls, and passes over its layers and over the size of its images."""

    def __init__(self, network: Cnn, source: Calls) -> None:
        super().__init__(source)
        self._network = network

    def layers(self, case: Case, n_rounds: int) -> Row:
        """Time each layer on its own input and the whole network beside them, in rounds; count FLOPs and bytes.

        A layer's reference is its output within the network, whose logits are compared with the workload's own.
        """
        import torch

        torch.set_num_threads(case.n_threads)
        model, inputs = self._network.model(), self.source.inputs(case)
        keys, drawn = zip(*islice(inputs.batches, N_INPUTS), strict=True)
        batches = [torch.from_numpy(batch) for batch in drawn]
        counts = layer_counts(model, batches[0])

        def agree(place: int, logits: Tensor) -> Verification:
            return inputs.check(keys[place], fetched(logits))

        probes = [probe_of("whole", partial(forward, model), batches, agree)]
        names = {layer: name for name, layer in named_layers(model)}
        with torch.inference_mode():
            for layer in model:
                outputs = [layer(batch) for batch in batches]
                if layer in names:
                    allowed = RELATIVE_TOLERANCE * max(float(output.abs().max()) for output in outputs)
                    matches = partial(_alike, outputs, allowed)
                    probes.append(probe_of(names[layer], partial(forward, layer), batches, matches))
                batches = outputs
        seconds = in_rounds(probes, n_rounds=n_rounds, seed=self._network.seed)
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
        varied = []
        for network in (replace(self._network, side=side) for side in sides):
            drawn, references = (
                [of[place : place + 1] for place in range(N_INPUTS)]
                for of in (np.load(network.inputs_path(N_INPUTS)), np.load(network.reference_path(N_INPUTS)))
            )
            images = [torch.from_numpy(image) for image in drawn]

            def agree(place: int, logits: Tensor, references: Sequence[np.ndarray] = references) -> Verification:
                return self._network.agree(fetched(logits), references[place])

            varied.append(("image side", network.side, partial(forward, network.model()), images, agree))
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
        models = [(name, value, forest.model(), _two_of(forest)) for name, value, forest in forests]
        whole, batches = self._forest.model(), _two_of(self._forest)
        for n_trees in trees:
            fewer = copy(whole)
            fewer.estimators_ = whole.estimators_[:n_trees]
            models.append(("trees", n_trees, fewer, batches))
        varied: list[Varied] = []
        for name, value, model, inputs in models:
            references = [classes_by_trees(model, rows) for rows in inputs]
            varied.append((name, value, model.predict, inputs, partial(_equal, references)))
        return _growth(self._forest, varied, n_rounds)


def bench_for(source: Calls) -> Bench:
    """Make the bench of a workload's calls: one that can take the workload apart, where there is such a one."""
    work = source.workload
    if isinstance(work, Cnn):
        return NetworkBench(work, source)
    return ForestBench(work, source) if isinstance(work, Forest) else Bench(source)


def _alike(references: Sequence[Tensor], allowed: float, place: int, output: Tensor) -> Verification:
    """Compare a layer's output with its reference, in torch: it may be large."""
    import torch

    reference = references[place]
    if output.shape != reference.shape:
        return Verification(passed=False, n_checked=0, detail=f"shape: expected {reference.shape}, got {output.shape}")
    largest = float(torch.linalg.vector_norm(output - reference, torch.inf))
    detail = f"values differ by up to {largest:g}, allowed are {allowed:g}"
    return Verification(passed=largest <= allowed, n_checked=output.numel(), detail=detail)


def _equal(references: Sequence[np.ndarray], place: int, classes: np.ndarray) -> Verification:
    return equal(classes, references[place])


def _two_of(forest: Forest) -> tuple[np.ndarray, np.ndarray]:
    """Draw two batches of a forest's rows that differ."""
    rows = forest.draw(2 * GROWTH_ROWS)
    return rows[:GROWTH_ROWS], rows[GROWTH_ROWS:]


def classes_by_trees(model: Any, rows: np.ndarray) -> np.ndarray:
    """Return the classes that the forest's trees vote for, asked one by one."""
    votes = sum(tree.predict_proba(rows) for tree in model.estimators_) / len(model.estimators_)
    classes: np.ndarray = model.classes_[votes.argmax(axis=1)]
    return classes


def _growth(work: Cnn | Forest, varied: Sequence[Varied], n_rounds: int) -> list[Row]:
    """Time one call of each, in rounds."""
    probes = [probe_of(f"{name}={value}", call, inputs, agree) for name, value, call, inputs, agree in varied]
    seconds = in_rounds(probes, n_rounds=n_rounds, seed=work.seed)
    return [
        {
            "input": name,
            "workload": work.name,
            "value": value,
            "bytes": inputs[0].nbytes,
            "seconds": seconds[f"{name}={value}"],
        }
        for name, value, _, inputs, _ in varied
    ]
