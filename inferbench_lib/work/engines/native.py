"""The frameworks' own inference: scikit-learn's `predict`, torch's eager forward pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from inferbench_lib.work.cnn import Cnn
from inferbench_lib.work.forest import load_model

Runner = Callable[[np.ndarray], np.ndarray]


def load_forest(model_path: Path, n_threads: int = 1) -> Runner:
    """`predict` of the stored forest: `(n, n_features)` rows to `(n,)` classes, on `n_threads` threads."""
    model = load_model(model_path)
    model.n_jobs = n_threads
    predict: Runner = model.predict
    return predict


def load_network(cnn: Cnn, n_threads: int = 1) -> Runner:
    """The network's forward pass: `(n, 3, side, side)` float32 images to `(n, 10)` logits, on `n_threads` threads."""
    import torch

    torch.set_num_threads(n_threads)
    model = cnn.build()

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = model(torch.from_numpy(images)).numpy()
        return logits

    return predict
