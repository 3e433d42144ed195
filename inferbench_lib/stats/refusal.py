"""What an analysis returns instead of a number that the data cannot carry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """No answer, and why: what was expected, what there was."""

    reason: str
