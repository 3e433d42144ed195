"""Compare outputs with the reference: the same shape, all finite, then equal or close."""

from __future__ import annotations

import numpy as np

from inferbench_lib.records import Verification


def equal(output: np.ndarray, reference: np.ndarray) -> Verification:
    """Return PASSED where every element equals the reference."""
    return _judge(output, reference, tolerance=0.0)


def close(output: np.ndarray, reference: np.ndarray, relative_tolerance: float) -> Verification:
    """Return PASSED where no element differs by more than `relative_tolerance` times the largest reference."""
    return _judge(output, reference, tolerance=relative_tolerance * float(np.abs(reference).max(initial=0.0)))


def _judge(output: np.ndarray, reference: np.ndarray, tolerance: float) -> Verification:
    output, reference = np.asarray(output), np.asarray(reference)
    if output.shape != reference.shape:
        return _failed(reference, f"shape: expected {reference.shape}, got {output.shape}")
    difference = np.abs(output.astype(np.float64) - reference.astype(np.float64))
    not_finite = ~np.isfinite(difference)
    if not_finite.any():
        return _failed(reference, f"{not_finite.sum():,} of {output.size:,} values are not finite")
    wrong = difference > tolerance
    largest = float(difference.max(initial=0.0))
    if wrong.any():
        first = tuple(int(index) for index in np.argwhere(wrong)[0])
        where = ", ".join(str(index) for index in first)
        return _failed(
            reference,
            f"{wrong.sum():,} of {output.size:,} values differ, first at [{where}]: "
            f"expected {reference[first]}, got {output[first]}",
            largest,
        )
    return Verification(passed=True, n_checked=int(reference.size), max_abs_difference=largest)


def _failed(reference: np.ndarray, detail: str, largest: float | None = None) -> Verification:
    return Verification(passed=False, n_checked=int(reference.size), max_abs_difference=largest, detail=detail)
