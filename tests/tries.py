"""Checks of real times on a machine that others use too."""

from __future__ import annotations

from collections.abc import Callable

MOST_TRIES = 12


def in_some_try(check: Callable[[], None]) -> None:
    """Pass if `check` does, once: whatever else runs here only adds, and what is wrong itself is wrong every time."""
    for _ in range(MOST_TRIES - 1):
        try:
            return check()
        except AssertionError:
            continue
    return check()
