"""A random forest over synthetic tabular data: trained once, kept under its parameters' hash."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from inferbench_lib.records import Verification
from inferbench_lib.work.cache import cached
from inferbench_lib.work.outputs import equal


@dataclass(frozen=True, kw_only=True)
class Forest:
    """A scikit-learn `RandomForestClassifier`, and the rows it is asked about; fully grown but for `max_depth`.

    Rows are float32, `(n_rows, n_features)`, standard normal. A row's class is the sign of a random linear
    score of its features plus noise, so that trees grow deep.
    """

    n_features: int = 50
    n_trees: int = 100
    n_train: int = 20_000
    seed: int = 0
    max_depth: int | None = None

    name = "forest"

    @cached_property
    def model_path(self) -> Path:
        """The trained model, pickled by scikit-learn's version here; trained on first use."""
        return cached("forest-model", ".pickle", self._key(), self._train)

    def inputs_path(self, n_rows: int) -> Path:
        """`(n_rows, n_features)` float32 rows as `.npy`, which processes map rather than copy."""
        return cached("forest-rows", ".npy", self._key(n_rows=n_rows), lambda path: self._write_rows(path, n_rows))

    def reference_path(self, n_rows: int) -> Path:
        """The classes of the rows of `inputs_path(n_rows)` as `.npy`, from one plain call of the model."""
        return cached(
            "forest-classes", ".npy", self._key(n_rows=n_rows), lambda path: self._write_classes(path, n_rows)
        )

    def agree(self, output: np.ndarray, reference: np.ndarray) -> Verification:
        """Classes must be equal, every one."""
        return equal(output, reference)

    def _key(self, **more: Any) -> dict[str, Any]:
        return asdict(self) | more | {"scikit-learn": version("scikit-learn"), "numpy": version("numpy")}

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

    def _write_rows(self, path: Path, n_rows: int) -> None:
        rng = np.random.default_rng([self.seed, 1])
        np.save(path, rng.standard_normal((n_rows, self.n_features), dtype=np.float32))

    def _write_classes(self, path: Path, n_rows: int) -> None:
        model = load_model(self.model_path)
        model.n_jobs = -1
        np.save(path, model.predict(np.load(self.inputs_path(n_rows), mmap_mode="r")))


def visit_counts(model: Any, rows: np.ndarray) -> dict[str, float]:
    """What one row costs: `visits` of nodes over all trees (each tree's own decision paths), and where they lie.

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


def load_model(path: Path) -> Any:
    """The model of a file that this module wrote into its own cache."""
    with path.open("rb") as file:
        return pickle.load(file)
