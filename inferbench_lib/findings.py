"""Frozen values that the records are turned into: intervals, ratios and their verdicts, breakdowns, advice.

Nothing here measures, draws or reads files. Times are in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from inferbench_lib.records import Flag, Outcome


class Verdict(StrEnum):
    """Conclusion of a comparison."""

    FASTER = "faster"
    SLOWER = "slower"
    INDISTINGUISHABLE = "indistinguishable"
    TOO_FEW = "too few samples"
    UNSTABLE = "unstable"
    INVALID = "invalid"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Value with the interval that its samples carry; `low` and `high` are None when withheld."""

    value: float
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    reason: str = ""

    def map(self, function: Callable[[float], float]) -> Interval:
        """Return the interval of a monotone function of the value."""
        ends = () if self.low is None or self.high is None else sorted((function(self.low), function(self.high)))
        low, high = ends or (None, None)
        return Interval(value=function(self.value), low=low, high=high, level=self.level, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class Ratio(Interval):
    """Speed of the candidate over that of the baseline (baseline time over candidate time), with its verdict."""

    verdict: Verdict
    n_rounds: int = 0

    @property
    def is_difference(self) -> bool:
        """Return whether a difference is claimed."""
        return self.verdict in (Verdict.FASTER, Verdict.SLOWER)

    @property
    def is_judged(self) -> bool:
        """Return whether a difference could be looked for at all."""
        return self.verdict not in (Verdict.INVALID, Verdict.TOO_FEW)


@dataclass(frozen=True, kw_only=True)
class Percentile:
    """Percentile, or, when the samples cannot carry it, None with the number that it needs."""

    p: float
    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Statistics of one cell's samples: seconds per call."""

    n_samples: int
    n_rounds: int
    median_s: Interval
    mean_s: float
    std_s: float
    percentiles: tuple[Percentile, ...]
    throughput_per_s: Interval
    outcome: Outcome = Outcome.OK
    reason: str = ""

    @property
    def is_measured(self) -> bool:
        """Return whether its numbers may be shown: there are samples, the outputs were right, nothing failed."""
        return self.n_samples > 0 and self.outcome in (Outcome.OK, Outcome.UNSTABLE)


class TrustLevel(StrEnum):
    """The trust that the figures of a run deserve, best first."""

    QUIET = "quiet"
    NOISY = "noisy"
    UNUSABLE = "unusable"


class Cause(StrEnum):
    """Sign by which a run is judged."""

    INTERVALS = "interval widths"
    NO_INTERVAL = "cells without an interval"
    UNSTABLE = "unstable cells"
    CONTROL = "control workload"
    UNWATCHED = "no control workload"
    DISTURBED = "disturbed cells"
    NOTHING = "nothing measured"


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Trust level of a run with the sign that decides it: its value, the limit, and the flag of a disturbance."""

    level: TrustLevel
    cause: Cause
    value: float
    limit: float
    flag: Flag | None = None


@dataclass(frozen=True, kw_only=True)
class Part:
    """Named share of a whole."""

    name: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """Named parts that, with `unexplained_s`, add up to `whole_s`."""

    whole_s: float
    parts: tuple[Part, ...]
    unexplained_s: float

    @property
    def unexplained_share(self) -> float:
        """Return the absolute unexplained time over the whole."""
        return abs(self.unexplained_s) / self.whole_s if self.whole_s else 0.0


@dataclass(frozen=True, kw_only=True)
class Advice:
    """A recommendation, the evidence for it, the limits it holds under, and the lines of code that follow it.

    `gain` is the speedup that it promises, the largest of several; None where none is stated.
    """

    recommendation: str
    evidence: str
    limits: str = ""
    code: str = ""
    gain: Ratio | None = None

    @property
    def sure_gain(self) -> float:
        """Return the gain that its interval still holds at its lower end; 0 without one."""
        return self.gain.low or 0.0 if self.gain else 0.0


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Reason why the data cannot carry an analysis: expected, got."""

    reason: str
