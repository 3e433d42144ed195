"""The frameworks' own inference: scikit-learn's `predict`, torch's eager forward pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from inferbench_lib.workloads.forest import load_model

Runner = Callable[[np.ndarray], np.ndarray]


def load_forest(model_path: Path, n_threads: int = 1) -> Runner:
    """`predict` of the stored forest: `(n, n_features)` rows to `(n,)` classes, on `n_threads` threads."""
    model = load_model(model_path)
    model.n_jobs = n_threads
    predict: Runner = model.predict
    return predict
