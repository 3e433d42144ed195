"""What samples mean, as frozen values: intervals, ratios and their verdicts, breakdowns, advice.

Each is a function of the records; nothing here measures, draws or reads files. Times are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from inferbench_lib.records import Outcome


class Verdict(StrEnum):
    """What a comparison may say."""

    FASTER = "faster"
    SLOWER = "slower"
    INDISTINGUISHABLE = "indistinguishable"
    TOO_FEW = "too few samples"
    UNSTABLE = "unstable"
    INVALID = "invalid"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with the interval that its samples carry; `low` and `high` are None when withheld."""

    value: float
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Percentile:
    """A percentile, or, when the samples cannot carry it, None with the number that it needs."""

    p: float
    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What one cell's samples say. Seconds, per call."""

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
        """Whether its numbers may be shown and compared: there are samples, the outputs were right, nothing failed."""
        return self.n_samples > 0 and self.outcome in (Outcome.OK, Outcome.UNSTABLE)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times faster the candidate is than the baseline (baseline time over candidate time)."""

    value: float
    low: float | None
    high: float | None
    verdict: Verdict
    n_rounds: int = 0
    reason: str = ""

    @property
    def is_difference(self) -> bool:
        """Return whether a difference is claimed."""
        return self.verdict in (Verdict.FASTER, Verdict.SLOWER)

    @property
    def is_judged(self) -> bool:
        """Return whether a difference could be looked for at all."""
        return self.verdict not in (Verdict.INVALID, Verdict.TOO_FEW)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One named share of a whole."""

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
        """Absolute unexplained time over the whole."""
        return abs(self.unexplained_s) / self.whole_s if self.whole_s else 0.0


@dataclass(frozen=True, kw_only=True)
class Advice:
    """A recommendation, the evidence for it, the limits it holds under, and the lines of code that follow it."""

    recommendation: str
    evidence: str
    limits: str = ""
    code: str = ""
