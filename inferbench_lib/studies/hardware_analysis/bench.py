"""One workload in one process, its cells differing in threads, precision and batch size; its layers and its growth.

What changes from cell to cell is set before the cell's turn, outside the timed region.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from inferbench_lib.measure.benches import CellSeries, LoopBench, WarmUp
from inferbench_lib.measure.passes import in_rounds
from inferbench_lib.measure.variants import windows
from inferbench_lib.records import Case, Verification
from inferbench_lib.work.cnn import Cnn, layer_counts, named_layers
from inferbench_lib.work.forest import Forest, load_model, visit_counts
from inferbench_lib.work.outputs import close

BF16_TOLERANCE = 0.05
"""Of the largest logit, against float64: bf16 keeps 8 bits, 2^-8 = 0.4 % a rounding, through five layers."""
GROWTH_TREES, GROWTH_TRAIN, GROWTH_ROWS = 10, 2000, 4000
"""The small forests that are asked how time grows with features and with depth, and the rows that they are asked."""

Row = dict[str, Any]


class _ConfiguredBench(LoopBench):
    """Sets a cell's threads before it is warmed up and before each of its turns."""

    def prepare(self, case: Case, warmup: WarmUp) -> tuple[float, ...]:
        self.configure(case)
        return super().prepare(case, warmup)

    def turn(self, case: Case, n_samples: int) -> tuple[float, ...]:
        self.configure(case)
        return super().turn(case, n_samples)

    def configure(self, case: Case) -> None:
        """What the cell needs set in this process."""
        raise NotImplementedError


class NetworkCells(_ConfiguredBench):
    """A network on the processor, by threads, precision (fp32 or bf16) and batch size."""

    def __init__(self, cnn: Cnn) -> None:
        super().__init__()
        import torch

        self._torch, self._cnn = torch, cnn
        self._images, self._reference = cnn.images(), cnn.reference()
        self._models = {"fp32": cnn.build()}

    def configure(self, case: Case) -> None:
        self._torch.set_num_threads(case.n_threads)

    def open(self, case: Case) -> CellSeries:
        model, images = self._model(case.precision), self._images.to(self._dtype(case.precision))
        picks = [(np.arange(case.batch_size) + start) % len(images) for start in range(0, 21, 7)]
        batches = [images[pick].clone() for pick in picks]
        return CellSeries(
            case=case,
            call=lambda number: self._forward(model, batches[number]),
            batches=cycle(range(len(batches))),
            agree=lambda number, output: self._agree(case, output, self._reference[picks[number]]),
            inputs_per_call=case.batch_size,
        )

    def layers(self, case: Case, n_rounds: int) -> Row:
        """Each layer on its own input and the whole network beside them, in rounds: seconds, FLOPs, bytes of each."""
        self.configure(case)
        model = self._model(case.precision)
        batch = self._images[: case.batch_size].to(self._dtype(case.precision))
        counts = layer_counts(model, batch)
        calls: dict[str, Callable[[], Any]] = {"whole": partial(self._forward, model, batch)}
        names = {layer: name for name, layer in named_layers(model)}
        with self._torch.inference_mode():
            for layer in model:
                if layer in names:
                    calls[names[layer]] = partial(self._forward, layer, batch)
                batch = layer(batch)
        seconds = in_rounds(calls, n_rounds=n_rounds, seed=self._cnn.seed)
        return {
            "workload": case.workload,
            "batch_size": case.batch_size,
            "n_threads": case.n_threads,
            "precision": case.precision,
            "whole_s": seconds["whole"],
            "layers": [{**row, "seconds": seconds[row["name"]]} for row in counts],
        }

    def growth(self, sides: Sequence[int], n_threads: int, n_rounds: int) -> list[Row]:
        """Seconds of one image by the length of its side."""
        self._torch.set_num_threads(n_threads)
        images, calls = {}, {}
        for side in sides:
            cnn = replace(self._cnn, side=side, n_images=1)
            images[side] = cnn.images()
            calls[str(side)] = partial(self._forward, cnn.build(), images[side])
        seconds = in_rounds(calls, n_rounds=n_rounds, seed=self._cnn.seed)
        return [_grown("image side", self._cnn.name, side, images[side].nbytes, seconds[str(side)]) for side in sides]

    def _forward(self, model: Any, batch: Any) -> Any:
        with self._torch.inference_mode():
            return model(batch)

    def _model(self, precision: str) -> Any:
        if precision not in self._models:
            self._models[precision] = self._cnn.build().to(self._dtype(precision))
        return self._models[precision]

    def _dtype(self, precision: str) -> Any:
        return {"fp32": self._torch.float32, "bf16": self._torch.bfloat16}[precision]

    def _agree(self, case: Case, output: Any, reference: np.ndarray) -> Verification:
        logits = output.float().numpy()
        return (
            self._cnn.agree(logits, reference) if case.precision == "fp32" else close(logits, reference, BF16_TOLERANCE)
        )


class ForestCells(_ConfiguredBench):
    """The forest in this process, by threads and batch size."""

    def __init__(self, forest: Forest, n_pool: int) -> None:
        super().__init__()
        self._forest, self._n_pool = forest, n_pool
        self._model = load_model(forest.model_path)
        self._rows = np.array(np.load(forest.inputs_path(n_pool), mmap_mode="r"))
        self._reference = np.load(forest.reference_path(n_pool))

    def configure(self, case: Case) -> None:
        self._model.n_jobs = case.n_threads

    def open(self, case: Case) -> CellSeries:
        return CellSeries(
            case=case,
            call=lambda rows: self._model.predict(self._rows[rows]),
            batches=windows(case.batch_size, self._n_pool, self._forest.seed),
            agree=lambda rows, output: self._forest.agree(output, self._reference[rows]),
            inputs_per_call=case.batch_size,
        )

    def counts(self) -> Row:
        """Node visits of a row and the bytes of nodes, counted along the decision paths of a thousand rows."""
        return visit_counts(self._model, self._rows[:1000])

    def growth(self, features: Sequence[int], trees: Sequence[int], depths: Sequence[int], n_rounds: int) -> list[Row]:
        """Seconds of `GROWTH_ROWS` rows on one thread by features, by trees, by the depth that trees may reach."""
        models = [(cell, *asked) for cell, asked in self._growth_models(features, trees, depths)]
        calls = {f"{name}={value}": partial(model.predict, rows) for (name, value), model, rows in models}
        seconds = in_rounds(calls, n_rounds=n_rounds, seed=self._forest.seed)
        return [
            _grown(name, "forest", value, rows.nbytes, seconds[f"{name}={value}"]) for (name, value), _, rows in models
        ]

    def _growth_models(
        self, features: Sequence[int], trees: Sequence[int], depths: Sequence[int]
    ) -> Iterator[tuple[tuple[str, int], tuple[Any, np.ndarray]]]:
        small = replace(self._forest, n_trees=GROWTH_TREES, n_train=min(GROWTH_TRAIN, self._forest.n_train))
        for n_features in features:
            yield ("features", n_features), _asked(replace(small, n_features=n_features))
        for depth in depths:
            yield ("depth", depth), _asked(replace(small, max_depth=depth))
        self._model.n_jobs = 1
        rows = np.resize(self._rows, (GROWTH_ROWS, self._rows.shape[1]))
        for n_trees in trees:
            fewer = copy(self._model)
            fewer.estimators_ = self._model.estimators_[:n_trees]
            yield ("trees", n_trees), (fewer, rows)


def _asked(forest: Forest) -> tuple[Any, np.ndarray]:
    return load_model(forest.model_path), np.load(forest.inputs_path(GROWTH_ROWS))


def _grown(name: str, workload: str, value: int, n_bytes: int, seconds: Sequence[float]) -> Row:
    return {
        "input": name, "workload": workload, "value": value, "bytes": n_bytes, "dtype": "float32", "seconds": seconds
    }  # fmt: skip
