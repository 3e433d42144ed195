"""What a run on a device has seen of one cell so far."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from inferbench_lib.errors import MeasurementError
from inferbench_lib.records import Case, Measurement, Outcome, Verification

if TYPE_CHECKING:
    from torch import Tensor

Ending = tuple[Outcome, str]


@dataclass(frozen=True, kw_only=True)
class DeviceInputs:
    """What a cell runs on.

    `batches` lie on the host: two or more of the case's batch size, each unlike the one before it (else a runner that
    remembers its last answer would look fast); the very last may be smaller. `check(index, output)` compares the
    output of `batches[index]`, brought to the host, with its reference.
    """

    batches: Sequence[Tensor]
    check: Callable[[int, Tensor], Verification]


@dataclass(kw_only=True)
class DeviceCell:
    """One cell's series and figures, as they grow; `ending` is how it ended before its time.

    Raises MeasurementError when the inputs are not what `DeviceInputs` asks for.
    """

    case: Case
    inputs: DeviceInputs
    ending: Ending | None = None
    cold_s: float | None = None
    warmup_s: list[float] = field(default_factory=list)
    samples_s: list[float] = field(default_factory=list)
    round_sizes: list[int] = field(default_factory=list)
    series: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    figures: dict[str, float] = field(default_factory=dict)
    verification: Verification | None = None
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def __post_init__(self) -> None:
        import torch

        sizes, size = [len(batch) for batch in self.inputs.batches], self.case.batch_size
        if sizes[:2] != [size, size] or set(sizes[:-1]) != {size} or not 0 < sizes[-1] <= size:
            raise MeasurementError(
                f"inputs of {self.case}: expected at least two batches of {size}, only the last one smaller, "
                f"got batches of {sizes}; draw more inputs"
            )
        if any(torch.equal(one, next_one) for one, next_one in pairwise(self.inputs.batches)):
            raise MeasurementError(
                f"inputs of {self.case}: expected batches that differ from one another, got two equal ones in a row; "
                "a model that remembers its last answer would look fast, so draw other inputs"
            )

    def check(self, index: int, output: Tensor) -> None:
        """Compare the output of `batches[index]` with its reference."""
        self.verify(self.inputs.check(index, output.cpu()))

    def verify(self, seen: Verification) -> None:
        """Add to the cell's verification; the first failure stays."""
        self.verification = seen if self.verification is None else self.verification.followed_by(seen)

    def measurement(self, startup_s: Mapping[str, float], notes: Mapping[str, str]) -> Measurement:
        """Everything seen, as a value; a wrong output makes it invalid."""
        outcome, reason = self.ending or (Outcome.OK, "")
        if self.verification is not None and not self.verification.passed:
            outcome, reason = Outcome.INVALID, f"outputs differ from the reference: {self.verification.detail}"
        return Measurement(
            case=self.case,
            samples_s=tuple(self.samples_s),
            round_sizes=tuple(self.round_sizes),
            warmup_s=tuple(self.warmup_s),
            cold_s=self.cold_s,
            inputs_per_call=self.case.batch_size,
            startup_s=dict(startup_s),
            series={name: tuple(values) for name, values in self.series.items()},
            figures=dict(self.figures),
            notes=dict(notes),
            worker_pid=os.getpid(),
            started_at=self.started_at,
            verification=self.verification,
            outcome=outcome,
            reason=reason,
        )
