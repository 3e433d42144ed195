"""Compare outputs with the reference: the same shape, all finite, then equal or close."""

from __future__ import annotations

import numpy as np

from inferbench_lib.records import Verification


def equal(output: np.ndarray, reference: np.ndarray) -> Verification:
    """Return PASSED where every element equals the reference."""
    return close(output, reference, 0.0)


def close(output: np.ndarray, reference: np.ndarray, relative_tolerance: float) -> Verification:
    """Return PASSED where no element differs by more than `relative_tolerance` times the largest reference."""
    output, reference = np.asarray(output), np.asarray(reference)
    detail, largest = _difference(output, reference, relative_tolerance)
    return Verification(passed=not detail, n_checked=int(reference.size), max_abs_difference=largest, detail=detail)


def _difference(output: np.ndarray, reference: np.ndarray, relative_tolerance: float) -> tuple[str, float | None]:
    """Say how the outputs are wrong, empty where they are right; and the largest difference."""
    if output.shape != reference.shape:
        return f"shape: expected {reference.shape}, got {output.shape}", None
    difference = np.abs(output.astype(np.float64) - reference.astype(np.float64))
    not_finite = ~np.isfinite(difference)
    if not_finite.any():
        return f"{not_finite.sum():,} of {output.size:,} values are not finite", None
    wrong = difference > relative_tolerance * float(np.abs(reference).max(initial=0.0))
    largest = float(difference.max(initial=0.0))
    if not wrong.any():
        return "", largest
    first = tuple(int(index) for index in np.argwhere(wrong)[0])
    return (
        f"{wrong.sum():,} of {output.size:,} values differ, first at [{', '.join(map(str, first))}]: "
        f"expected {reference[first]}, got {output[first]}"
    ), largest
