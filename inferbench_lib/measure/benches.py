"""Benches: how one variant prepares its cells, takes its turns and hands over what it saw.

A bench lives in a process of its own. It prepares a cell (first call, warm-up), takes turns when told to, and gives
one `Measurement` a cell. Every output is compared with the reference outside the timed region; inputs differ
from sample to sample.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from inferbench_lib.records import Case, Measurement, Outcome, Span, Verification
from inferbench_lib.stats.level import is_level
from inferbench_lib.timing.clock import Clock, WallClock
from inferbench_lib.timing.loop import Enough, collect
from inferbench_lib.timing.rules import after, once_level


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """Untimed-for-results calls before the first round: at least, at most, and for how long."""

    min_calls: int = 3
    max_calls: int = 30
    time_limit_s: float = 1.0

    def rule(self) -> Enough:
        """A new rule for one series."""
        return once_level(
            partial(is_level, minimum=self.min_calls),
            min_samples=self.min_calls,
            max_samples=self.max_calls,
            time_limit_s=self.time_limit_s,
        )


class Bench(Protocol):
    """One variant. `start` is what it times before its first cell, while no other bench does anything.

    `turn` gives the seconds per call of one round's samples.
    """

    def start(self) -> None: ...

    def prepare(self, case: Case, warmup: WarmUp) -> tuple[float, ...]: ...

    def turn(self, case: Case, n_samples: int) -> tuple[float, ...]: ...

    def finish(self, case: Case) -> Measurement: ...


@dataclass
class CellSeries:
    """What one cell has seen so far."""

    case: Case
    call: Callable[[Any], Any]
    batches: Iterator[Any]
    agree: Callable[[Any, Any], Verification]
    inputs_per_call: int
    clock: Clock = field(default_factory=WallClock)
    cold_s: float | None = None
    warmup_s: list[float] = field(default_factory=list)
    samples_s: list[float] = field(default_factory=list)
    round_sizes: list[int] = field(default_factory=list)
    verification: Verification | None = None
    spans: list[tuple[Span, ...]] = field(default_factory=list)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def check(self, batch: Any, output: Any) -> None:
        """Compare one output with its reference; the first failure is kept."""
        seen = self.agree(batch, output)
        self.verification = seen if self.verification is None else self.verification.followed_by(seen)

    def collect(self, enough: Callable[[list[float]], bool]) -> list[float]:
        """Run the timing loop on this cell."""
        return collect(self.call, self.batches, clock=self.clock, enough=enough, check=self.check)

    def measurement(self, startup_s: Mapping[str, float]) -> Measurement:
        """Everything seen, as a value; a wrong output makes the cell invalid."""
        wrong = self.verification is not None and not self.verification.passed
        return Measurement(
            case=self.case,
            samples_s=tuple(self.samples_s),
            round_sizes=tuple(self.round_sizes),
            warmup_s=tuple(self.warmup_s),
            cold_s=self.cold_s,
            inputs_per_call=self.inputs_per_call,
            startup_s=startup_s,
            spans=tuple(self.spans),
            worker_pid=os.getpid(),
            started_at=self.started_at,
            verification=self.verification,
            outcome=Outcome.INVALID if wrong else Outcome.OK,
            reason=f"outputs differ from the reference: {self.verification.detail}"
            if wrong and self.verification
            else "",
        )


class LoopBench:
    """A bench over the timing loop; subclasses open a cell's series."""

    startup_s: Mapping[str, float] = {}

    def __init__(self) -> None:
        self._cells: dict[Case, CellSeries] = {}

    def open(self, case: Case) -> CellSeries:
        """The series of a new cell."""
        raise NotImplementedError

    def start(self) -> None:
        """What a subclass times before its first cell."""

    def prepare(self, case: Case, warmup: WarmUp) -> tuple[float, ...]:
        """First call, then warm-up until the series is level; seconds per call of the warm-up."""
        cell = self._cells[case] = self.open(case)
        cell.cold_s = cell.collect(after(1))[0]
        cell.warmup_s = cell.collect(warmup.rule())
        return tuple(cell.warmup_s)

    def turn(self, case: Case, n_samples: int) -> tuple[float, ...]:
        """One round's samples of a cell: seconds per call."""
        cell = self._cells[case]
        samples: list[float] = []
        for _ in range(n_samples):
            samples += cell.collect(after(1))
            self.after_call(cell)
        cell.samples_s += samples
        cell.round_sizes.append(len(samples))
        return tuple(samples)

    def run(self, case: Case, n_calls: int) -> None:
        """Calls that nobody times, for the memory pass."""
        cell = self._cells[case]
        for _ in range(n_calls):
            cell.call(next(cell.batches))

    def finish(self, case: Case) -> Measurement:
        """The cell as it was measured."""
        return self._cells[case].measurement(self.startup_s)

    def after_call(self, cell: CellSeries) -> None:
        """What a subclass notes after a sample, outside the timed region."""

    def close(self) -> None:
        """Let go of what the bench holds."""
