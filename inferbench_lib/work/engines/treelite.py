"""treelite's general tree inference library (GTIL)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from inferbench_lib.errors import NotAvailable
from inferbench_lib.work.base import Engine, Runner
from inferbench_lib.work.onnx import reason_of


class Treelite(Engine):
    """treelite's GTIL, which walks the trees of a model imported from scikit-learn."""

    name = "treelite"
    title = "treelite"
    library = "treelite"
    package = "treelite"
    kinds = ("estimator",)

    def load(self) -> None:
        import treelite

        model = self.workload.model()
        try:
            self._model = treelite.sklearn.import_model(model)
        except Exception as error:  # it raises whatever its parts raise
            raise NotAvailable(f"treelite: expected a model of trees, got {reason_of(error)}") from None
        self._classes = getattr(model, "classes_", None)

    def runner(self, *, device: str = "cpu", precision: str = "fp32", n_threads: int = 1) -> Runner:
        predict = partial(_predict, self._model, n_threads)
        if self._classes is None:
            return Runner(run=lambda batch: predict(batch)[:, 0])
        scores = partial(_scores, predict)
        return Runner(run=partial(_classes, scores, self._classes), scores=scores)


def _predict(model: Any, n_threads: int, batch: np.ndarray) -> np.ndarray:
    """Return `(n_inputs, n_values)` of the model's only target."""
    import treelite

    values: np.ndarray = treelite.gtil.predict(model, batch, nthread=n_threads)
    return values[:, 0]


def _scores(predict: Callable[[np.ndarray], np.ndarray], batch: np.ndarray) -> np.ndarray:
    """Return the probability of each class; a boosting model of two classes gives that of the second alone."""
    values = predict(batch)
    return values if values.shape[1] > 1 else np.hstack([1 - values, values])


def _classes(scores: Callable[[np.ndarray], np.ndarray], classes: np.ndarray, batch: np.ndarray) -> np.ndarray:
    found: np.ndarray = classes[scores(batch).argmax(axis=1)]
    return found
