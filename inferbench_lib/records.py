"""Frozen values that every layer passes on: the case that ran, its measurement, the machine, the run.

Nothing here measures, draws or reads files. Times are in seconds, memory in bytes. `findings` has what samples mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from typing import Any, Literal

SCHEMA_VERSION = 1
CPU = "cpu"
LARGEST_BATCH = "largest_batch"
"""The figure of a cell that was out of memory: the largest batch that fits."""

FigureKind = Literal["interval", "range", "model"]
"""Meaning of a figure's ends: a 95 % interval, the lowest and the highest repeat, or the band of a model."""


class Outcome(StrEnum):
    """The end of a cell. A cell is always a row, whatever its outcome."""

    OK = "ok"
    UNSTABLE = "unstable"
    OOM = "oom"
    FAILED = "failed"
    INVALID = "invalid"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything that tells cells apart: hashable, and one line of text.

    A batch size of 0 leaves the batches to the executor. With `cold`, the executor starts anew within each sample.
    """

    workload: str
    batch_size: int
    engine: str = "native"
    executor: str = "single"
    device: str = "cpu"
    precision: str = "fp32"
    n_processes: int = 1
    n_threads: int = 1
    cold: bool = False

    def __str__(self) -> str:
        alone = f"{self.n_threads} thread{'s' if self.n_threads > 1 else ''}"
        spread = alone if self.executor == "single" else f"{self.executor}, {self.n_processes} × {self.n_threads}"
        spread += ", cold" if self.cold else ""
        batch = f"batch {self.batch_size:,}" if self.batch_size else "batches of its own"
        return f"{self.workload} · {self.engine} · {self.device} · {spread} · {batch} · {self.precision}"


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A disturbance that a reader must know of: observation, threshold, what to do."""

    name: str
    text: str
    invalidates: bool = False


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Comparison of outputs with the reference: where they first differ, and by how much (None: not finite).

    `n_ties` counts classes that differ from the reference's and are as likely.
    """

    passed: bool
    n_checked: int
    max_abs_difference: float | None = 0.0
    detail: str = ""
    n_ties: int = 0

    @property
    def word(self) -> str:
        """PASSED or FAILED."""
        return "PASSED" if self.passed else "FAILED"

    def followed_by(self, later: Verification) -> Verification:
        """Return both as one: the first failure stays, else counts add up and the largest difference is kept."""
        if not self.passed:
            return self
        differences = [one.max_abs_difference for one in (self, later) if one.max_abs_difference is not None]
        return Verification(
            passed=later.passed,
            n_checked=self.n_checked + later.n_checked,
            max_abs_difference=max(differences, default=None) if later.passed else later.max_abs_difference,
            detail=later.detail, n_ties=self.n_ties + later.n_ties,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The record of one cell: every raw sample, the warm-ups beside them, and its outcome.

    `samples_s` holds all samples in order; `round_sizes` says how many belong to each round, `process_sizes` how many
    rounds to each process (empty: one process). A sample is the seconds of `calls_per_sample` calls, divided by their
    number. `series` holds what a clock saw beside each sample (`wall_s`), or a series of its own (`host_to_device_s`).
    `figures` holds single values. `spans` says for each sample where every worker's time went; the span of kind "call"
    is the sample itself.
    """

    case: Case
    samples_s: tuple[float, ...] = ()
    round_sizes: tuple[int, ...] = ()
    process_sizes: tuple[int, ...] = ()
    warmup_s: tuple[float, ...] = ()
    cold_s: float | None = None
    calls_per_sample: int = 1
    inputs_per_call: int = 1
    startup_s: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    worker_pid: int | None = None
    started_at: str = ""
    peak_memory_bytes: int | None = None
    verification: Verification | None = None
    spans: tuple[tuple[Span, ...], ...] = ()
    flags: tuple[Flag, ...] = ()
    outcome: Outcome = Outcome.OK
    reason: str = ""

    def __post_init__(self) -> None:
        if sum(self.round_sizes) != len(self.samples_s):
            raise ValueError(
                f"Measurement.round_sizes: expected a sum of {len(self.samples_s)} (the number of samples), "
                f"got {sum(self.round_sizes)}"
            )

    def rounds(self) -> tuple[tuple[float, ...], ...]:
        """Return the samples of each round, in order."""
        ends = tuple(accumulate(self.round_sizes))
        return tuple(self.samples_s[end - size : end] for end, size in zip(ends, self.round_sizes, strict=True))


@dataclass(frozen=True, kw_only=True)
class Span:
    """One stretch of a worker's time on the system-wide monotonic clock (seconds, comparable across processes)."""

    worker: int
    kind: str
    start_s: float
    end_s: float
    cpu_s: float = 0.0
    n_rows: int = 0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One entry of `summary.json`. Figures of 0.1.0 have no kind: verdict and unit tell it."""

    value: float | int | str | None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    verdict: str = ""
    kind: FigureKind | None = None

    def __post_init__(self) -> None:
        if self.kind is None:
            of_unit = "range" if self.unit in ("GFLOP/s", "GB/s") else "interval"
            object.__setattr__(self, "kind", "model" if "MODEL" in self.verdict else of_unit)

    @property
    def has_interval(self) -> bool:
        """Return whether it is a number with a 95 % interval, so that it can be compared."""
        return isinstance(self.value, float | int) and self.kind == "interval" and None not in (self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine of a run, its facts and versions; None or "unknown" where it does not tell.

    `cache_shared_by` counts the logical CPUs that share one cache of each level. `core_kinds` counts those of a kind,
    where there are several. `steal_share` is the CPU time that a hypervisor took since boot.
    """

    cpu_model: str = "unknown"
    architecture: str = "unknown"
    physical_cores: int | None = None
    logical_cores: int | None = None
    usable_cpus: int = 1
    usable_reason: str = ""
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    caches: Mapping[str, int] = field(default_factory=dict)
    numa_nodes: int | None = None
    instruction_sets: tuple[str, ...] = ()
    frequency_hz: float | None = None
    governor: str = "unknown"
    virtualisation: str = "unknown"
    operating_system: str = "unknown"
    microarchitecture: str = "unknown"
    threads_per_core: int | None = None
    cache_shared_by: Mapping[str, int] = field(default_factory=dict)
    core_kinds: Mapping[str, int] = field(default_factory=dict)
    huge_pages: str = "unknown"
    steal_share: float | None = None
    python: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    threadpools: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    accelerators: tuple[str, ...] = ()
    accelerator_reason: str = ""
    git_revision: str = "unknown"
    git_dirty: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One notebook's stored record: enough to rebuild its page without measuring again."""

    notebook: str
    run_id: str
    machine: Machine
    params: Mapping[str, Any]
    started_at: str = ""
    duration_s: float = 0.0
    measurements: tuple[Measurement, ...] = ()
    tables: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Figure] = field(default_factory=dict)
    simulated: bool = False
    schema_version: int = SCHEMA_VERSION

    @property
    def mark(self) -> str:
        """The word that marks everything from a simulated device; empty for a run on real ones."""
        return "SIMULATED" if self.simulated else ""


def plain(run: Run) -> dict[str, Any]:
    """Return a record as plain JSON values, to be kept within another; `from_plain` makes it a record again."""
    from pydantic import TypeAdapter  # workers load this file, and have no use for it

    values: dict[str, Any] = TypeAdapter(Run).dump_python(run, mode="json")
    return values


def from_plain(values: Mapping[str, Any]) -> Run:
    """Return the record that `plain` returned."""
    from pydantic import TypeAdapter

    return TypeAdapter(Run).validate_python(values)
