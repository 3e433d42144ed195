"""The result of an analysis that the data cannot carry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """No result, and why: expected, got."""

    reason: str
