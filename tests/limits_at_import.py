"""A model whose answer is the thread limit that stood in the environment when this module was imported."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

N_THREADS = int(os.environ.get("OMP_NUM_THREADS", "0"))


def load() -> Callable[[np.ndarray], np.ndarray]:
    return n_threads


def n_threads(rows: np.ndarray) -> np.ndarray:
    """The limit, once a row."""
    return np.full(len(rows), N_THREADS)
