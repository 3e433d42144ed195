"""The forest's task by cheaper models: fewer trees, shallower trees, and boosted trees that imitate the forest."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from inferbench_lib.work.forest import Forest, Tabular

LEARNING_RATE = 0.5
"""Weight of each boosted tree; 0.5 imitated the forest better than 0.3 in 100 trees."""


@dataclass(frozen=True, kw_only=True)
class ForestVariant(Tabular):
    """A model for the forest's rows and classes. `n_trees` and `max_depth` are the forest's, and it changes them."""

    def forest(self, **changes: int) -> Forest:
        """Return the forest of the same parameters, with these changes."""
        return Forest(**{of.name: getattr(self, of.name) for of in fields(Forest)} | changes)

    def key(self) -> dict[str, Any]:
        """Return all that the files depend on: also the forest's own key, with the text of its file."""
        return super().key() | {"forest": self.forest().key()}


@dataclass(frozen=True, kw_only=True)
class ForestFewer(ForestVariant):
    """The forest with a share of its trees: the first ones, since each tree's seed follows from its number."""

    kept_share: float = 0.25

    name = "forest-fewer"
    title = "the forest with fewer trees"

    def trained(self, rows: np.ndarray, classes: np.ndarray) -> Any:
        """Return the smaller forest."""
        return self.forest(n_trees=max(1, round(self.kept_share * self.n_trees))).trained(rows, classes)


@dataclass(frozen=True, kw_only=True)
class ForestShallow(ForestVariant):
    """The forest, its trees ended at a depth."""

    depth_limit: int = 10

    name = "forest-shallow"
    title = "the forest with shallow trees"

    def trained(self, rows: np.ndarray, classes: np.ndarray) -> Any:
        """Return the shallower forest."""
        depth = min(self.depth_limit, self.max_depth or self.depth_limit)
        return self.forest(max_depth=depth).trained(rows, classes)


@dataclass(frozen=True, kw_only=True)
class ForestBoosted(ForestVariant):
    """As many small boosted trees as the forest has trees, distilled from it: they learn the classes that it gives.

    They learn from new rows, twice as many as the forest had: on its own training rows the forest repeats their noise
    (Bucila, Caruana & Niculescu-Mizil 2006). Each tree takes half of the rows and √n of the features (Friedman 2002).
    """

    boosted_depth: int = 3

    name = "forest-boosted"
    title = "the boosted trees"

    def trained(self, rows: np.ndarray, classes: np.ndarray) -> Any:
        """Return the boosted trees; the given rows trained the forest, and they see only its answers to others."""
        from sklearn.ensemble import GradientBoostingClassifier

        rng = np.random.default_rng([self.seed, 3])
        new_rows = rng.standard_normal((2 * self.n_train, self.n_features), dtype=np.float32)
        model = GradientBoostingClassifier(
            n_estimators=self.n_trees, max_depth=self.boosted_depth, learning_rate=LEARNING_RATE,
            subsample=0.5, max_features="sqrt", random_state=self.seed,
        )  # fmt: skip
        return model.fit(new_rows, self.forest().answers(new_rows))
