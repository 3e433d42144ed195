"""A random forest over synthetic tabular data: trained once, kept under its parameters' hash."""

from __future__ import annotations

import pickle
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from inferbench_lib.records import Verification
from inferbench_lib.work.base import Workload, cached
from inferbench_lib.work.outputs import equal


@dataclass(frozen=True, kw_only=True)
class Tabular(Workload):
    """An estimator, trained once, and its rows. Subclasses name it and train it.

    Rows are float32, `(n_rows, n_features)`, standard normal. A row's class is the sign of a random linear score of
    its features plus noise, so that trees grow deep.
    """

    n_features: int = 50
    n_trees: int = 100
    n_train: int = 20_000
    seed: int = 0
    max_depth: int | None = None

    unit = "row"
    kind = "estimator"
    engine = "sklearn"
    batches = (1, 16, 10_000)
    depends_on = ("scikit-learn",)
    has_scores = True

    def model(self) -> Any:
        """Return the trained model, set to one thread."""
        return pickle.loads(self.model_path.read_bytes())

    @cached_property
    def model_path(self) -> Path:
        """The trained model, pickled by scikit-learn's version here; trained on first use."""
        return cached(f"{self.name}-model", ".pickle", self.key(), self._train)

    def draw(self, n_inputs: int) -> np.ndarray:
        """Return `(n_inputs, n_features)` float32 rows."""
        rng = np.random.default_rng([self.seed, 1])
        return rng.standard_normal((n_inputs, self.n_features), dtype=np.float32)

    def truth(self, n_inputs: int) -> np.ndarray:
        """Return the `(n_inputs,)` classes of the rows that are drawn, noise included as in the training rows.

        The noise's deviation is half the score's, so that no model can be right on more than 1 − arctan(1/2) / π of
        the rows, 85.2 % (Sheppard 1899: the chance that two correlated normal values have the same sign).
        """
        weights = self._training()[1]
        return self._classes(self.draw(n_inputs), weights, np.random.default_rng([self.seed, 2]))

    def answers(self, inputs: np.ndarray) -> np.ndarray:
        """Return `(n_inputs,)` classes, from one plain call of the model."""
        model = self.model()
        model.n_jobs = -1
        classes: np.ndarray = model.predict(inputs)
        return classes

    def scores(self, inputs: np.ndarray) -> np.ndarray:
        """Return `(n_inputs, 2)` probabilities of the classes."""
        model = self.model()
        model.n_jobs = -1
        probabilities: np.ndarray = model.predict_proba(inputs)
        return probabilities

    def agree(self, output: np.ndarray, reference: np.ndarray, precision: str = "fp32") -> Verification:
        """Require equal classes, every one."""
        return equal(output, reference)

    @abstractmethod
    def trained(self, rows: np.ndarray, classes: np.ndarray) -> Any:
        """Return the model, trained on these rows and classes."""

    def _training(self) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
        """Return the training rows, the score's weights, and the generator that their noise is drawn from."""
        rng = np.random.default_rng([self.seed, 0])
        rows = rng.standard_normal((self.n_train, self.n_features), dtype=np.float32)
        return rows, rng.standard_normal(self.n_features), rng

    @staticmethod
    def _classes(rows: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return each row's class, its noise drawn from `rng`."""
        noise = rng.standard_normal(len(rows)) * np.linalg.norm(weights) / 2
        classes: np.ndarray = rows @ weights + noise > 0
        return classes

    def _train(self, path: Path) -> None:
        rows, weights, rng = self._training()
        model = self.trained(rows, self._classes(rows, weights, rng))
        model.n_jobs = 1
        path.write_bytes(pickle.dumps(model, protocol=pickle.HIGHEST_PROTOCOL))


@dataclass(frozen=True, kw_only=True)
class Forest(Tabular):
    """A scikit-learn `RandomForestClassifier`; trees grow fully unless `max_depth` ends them."""

    name = "forest"
    title = "the forest"

    def trained(self, rows: np.ndarray, classes: np.ndarray) -> Any:
        """Return the forest, trained on all CPUs."""
        from sklearn.ensemble import RandomForestClassifier

        model = RandomForestClassifier(self.n_trees, max_depth=self.max_depth, random_state=self.seed, n_jobs=-1)
        return model.fit(rows, classes)


def visit_counts(model: Any, rows: np.ndarray) -> dict[str, float]:
    """Count the work per row: `visits` of nodes over all trees, along each decision path, and their sizes.

    `node_bytes` is the size of a node as scikit-learn keeps it, `tree_bytes` that of all nodes and leaf values of one
    tree (the mean), which is what stays in a cache, since trees are asked one after another; `depth` is the deepest.
    `touched_by_16` are the different nodes that 16 rows of one call visit, the mean over such calls.
    """
    trees = [estimator.tree_ for estimator in model.estimators_]
    nodes = [tree.__getstate__()["nodes"] for tree in trees]
    tree_bytes = [node.nbytes + tree.value.nbytes for node, tree in zip(nodes, trees, strict=True)]
    paths = [tree.decision_path(rows) for tree in trees]
    starts = range(0, max(1, len(rows) - 15), 16)
    touched = [len(np.unique(path[start : start + 16].indices)) for path in paths for start in starts]
    return {
        "visits": sum(path.nnz for path in paths) / len(rows),
        "touched_by_16": sum(touched) / len(starts),
        "node_bytes": float(nodes[0].dtype.itemsize),
        "tree_bytes": sum(tree_bytes) / len(trees),
        "n_trees": float(len(trees)),
        "n_nodes": float(sum(len(node) for node in nodes)),
        "depth": float(max(tree.max_depth for tree in trees)),
    }
