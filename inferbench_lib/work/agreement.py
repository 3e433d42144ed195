"""Compare the classes that an engine names with the reference's, ties counted apart from disagreements.

A row is a tie where the two best scores of the reference are closer than float32 rounds: either class is right there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TIE = 1e-5
"""The distance of two scores, of the largest score, below which a row is a tie: a sum of 100 float32 probabilities."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Classes compared with the reference's, and the largest difference of the scores (None: there are none)."""

    n_inputs: int
    n_ties: int
    n_disagreements: int
    largest_difference: float | None

    @property
    def share(self) -> float:
        """Return the share of inputs with the reference's class, or with another one in a tie."""
        return 1 - self.n_disagreements / self.n_inputs


def tied(scores: np.ndarray) -> np.ndarray:
    """Return for each row of `(n_inputs, n_classes)` scores whether its two best ones are equal."""
    best = np.sort(np.asarray(scores, dtype=np.float64), axis=1)[:, -2:]
    tie: np.ndarray = best[:, 1] - best[:, 0] <= TIE * np.abs(scores).max(initial=0.0)
    return tie


def agreement(
    classes: np.ndarray, reference: np.ndarray, reference_scores: np.ndarray, scores: np.ndarray | None
) -> Agreement:
    """Compare `(n_inputs,)` classes with the reference's; scores are `(n_inputs, n_classes)`."""
    differs = np.asarray(classes) != np.asarray(reference)
    ties = differs & tied(reference_scores)
    largest = None if scores is None else float(np.abs(np.asarray(scores, np.float64) - reference_scores).max())
    return Agreement(
        n_inputs=len(reference),
        n_ties=int(ties.sum()),
        n_disagreements=int(differs.sum() - ties.sum()),
        largest_difference=largest,
    )
