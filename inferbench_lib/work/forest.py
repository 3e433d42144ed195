"""A random forest over synthetic tabular data: trained once, kept under its parameters' hash."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from inferbench_lib.records import Verification
from inferbench_lib.work.base import Workload, cached
from inferbench_lib.work.outputs import equal


@dataclass(frozen=True, kw_only=True)
class Forest(Workload):
    """A scikit-learn `RandomForestClassifier` and its rows; trees grow fully unless `max_depth` ends them.

    Rows are float32, `(n_rows, n_features)`, standard normal. A row's class is the sign of a random linear score of
    its features plus noise, so that trees grow deep.
    """

    n_features: int = 50
    n_trees: int = 100
    n_train: int = 20_000
    seed: int = 0
    max_depth: int | None = None

    name = "forest"
    title = "the forest"
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
        return cached("forest-model", ".pickle", self.key(), self._train)

    def draw(self, n_inputs: int) -> np.ndarray:
        """Return `(n_inputs, n_features)` float32 rows."""
        rng = np.random.default_rng([self.seed, 1])
        return rng.standard_normal((n_inputs, self.n_features), dtype=np.float32)

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

    def _train(self, path: Path) -> None:
        from sklearn.ensemble import RandomForestClassifier

        rng = np.random.default_rng([self.seed, 0])
        rows = rng.standard_normal((self.n_train, self.n_features), dtype=np.float32)
        weights = rng.standard_normal(self.n_features)
        noise = rng.standard_normal(self.n_train) * np.linalg.norm(weights) / 2
        model = RandomForestClassifier(self.n_trees, max_depth=self.max_depth, random_state=self.seed, n_jobs=-1)
        model.fit(rows, rows @ weights + noise > 0)
        model.n_jobs = 1
        path.write_bytes(pickle.dumps(model, protocol=pickle.HIGHEST_PROTOCOL))


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
