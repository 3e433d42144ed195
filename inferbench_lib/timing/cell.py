"""The series of one cell while it is measured, and the inputs that it runs on."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from inferbench_lib.records import Case, Measurement, Outcome, Span, Verification

Ending = tuple[Outcome, str]
Keyed = tuple[Any, Any]
"""A batch, behind the key by which `Inputs.check` knows its reference."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The host batches of one cell, without end.

    Each batch differs from the one before: a runner that remembers its last answer would be found out.
    `check(key, output)` compares an output, brought to the host, with the reference of its batch.
    """

    batches: Iterator[Keyed]
    check: Callable[[Any, Any], Verification]


@dataclass(kw_only=True)
class Cell:
    """One cell's samples, series and figures as they grow; `ending` is how it ended before its time."""

    case: Case
    inputs_per_call: int = 0
    ending: Ending | None = None
    cold_s: float | None = None
    warmup_s: list[float] = field(default_factory=list)
    samples_s: list[float] = field(default_factory=list)
    round_sizes: list[int] = field(default_factory=list)
    series: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    figures: dict[str, float] = field(default_factory=dict)
    spans: list[tuple[Span, ...]] = field(default_factory=list)
    verification: Verification | None = None
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def verify(self, seen: Verification) -> None:
        """Add to the cell's verification; the first failure stays."""
        self.verification = seen if self.verification is None else self.verification.followed_by(seen)

    def measurement(self, startup_s: Mapping[str, float], notes: Mapping[str, str]) -> Measurement:
        """Return everything seen as a value; a wrong output makes it invalid."""
        outcome, reason = self.ending or (Outcome.OK, "")
        if self.verification is not None and not self.verification.passed:
            outcome, reason = Outcome.INVALID, f"outputs differ from the reference: {self.verification.detail}"
        on_device = self.figures.get("peak_allocated_bytes")  # where a device's allocator tells
        return Measurement(
            case=self.case,
            samples_s=tuple(self.samples_s),
            round_sizes=tuple(self.round_sizes),
            warmup_s=tuple(self.warmup_s),
            cold_s=self.cold_s,
            inputs_per_call=self.inputs_per_call or self.case.batch_size,
            startup_s=dict(startup_s),
            series={name: tuple(values) for name, values in self.series.items()},
            figures=dict(self.figures),
            notes=dict(notes),
            spans=tuple(self.spans),
            worker_pid=os.getpid(),
            peak_memory_bytes=None if on_device is None else int(on_device),
            started_at=self.started_at,
            verification=self.verification,
            outcome=outcome,
            reason=reason,
        )
