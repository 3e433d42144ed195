"""What each notebook can be asked for: one frozen, validated model a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _without_repeats(values: list[Any]) -> list[Any]:
    """Each value once: a cell that is listed twice would be measured into one row."""
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"each value once, not {', '.join(repeated)} again")
    return values


Each = AfterValidator(_without_repeats)
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Executors = Annotated[
    list[Literal["single", "threads", "naive_pool", "process_pool", "shared_pool", "loky", "dask", "ceiling"]], Each
]
ColdExecutors = Annotated[list[Literal["process_pool", "shared_pool", "loky", "dask"]], Each]
Counts = Annotated[list[PositiveInt], Each]
Sizes = Annotated[list[Literal["small", "medium", "large"]], Each]
BatchSizes = Annotated[list[PositiveInt], Each]
Growing = Annotated[list[PositiveInt], Each]
ImageSides = Annotated[list[Annotated[int, Field(ge=8, multiple_of=8)]], Each]


class Config(BaseModel):
    """What every notebook takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    seed: Annotated[int, Field(ge=0)] = 0
    reuse: str | None = None

    def _at_most(self, name: str, limit: str) -> Self:
        """ValueError where a parameter, or one of its values, is above another parameter."""
        given, allowed = getattr(self, name), getattr(self, limit)
        largest = max(given, default=0) if isinstance(given, list) else given
        if largest > allowed:
            raise ValueError(f"{name}: expected at most {limit} ({allowed}), got {largest}")
        return self


class Rounds(Config):
    """What every comparison takes: interleaved rounds until the intervals are narrow or the time is up."""

    min_rounds: PositiveInt = 6
    max_rounds: PositiveInt = 8
    target_width: PositiveFloat = 0.03
    time_limit_s: PositiveFloat = 150.0

    @model_validator(mode="after")
    def _rounds_in_order(self) -> Self:
        return self._at_most("min_rounds", "max_rounds")


class CpuMultiprocess(Rounds):
    """`cpu_multiprocess`: one process against several."""

    n_samples: PositiveInt = 500_000
    n_features: Annotated[int, Field(ge=2)] = 50
    n_processes: PositiveInt = 4
    batch_size: PositiveInt = 125_000
    n_trees: PositiveInt = 100
    n_train: Annotated[int, Field(ge=100)] = 20_000
    executors: Annotated[Executors, Field(min_length=1)] = [
        "single",
        "threads",
        "naive_pool",
        "shared_pool",
        "loky",
        "ceiling",
    ]
    cold_executors: ColdExecutors = ["shared_pool"]
    start_method: Literal["spawn", "forkserver", "fork"] = "spawn"
    on_worker_death: Literal["raise", "retry"] = "raise"
    scheduler: str | None = None
    measure_memory: bool = True
    scaling_rows: Counts = []
    scaling_processes: Counts = []
    network_processes: Counts = []
    network_threads: Counts = []

    @model_validator(mode="after")
    def _batch_fits(self) -> Self:
        return self._at_most("batch_size", "n_samples")

    @model_validator(mode="after")
    def _calls_differ(self) -> Self:
        for n in self.scaling_processes:
            self.scaled_rows(n)
        return self

    def scaled_rows(self, n_processes: int) -> dict[int, int]:
        """`scaling_rows` by the rows of each process; ValueError for two alike, which would be one cell."""
        rows_of: dict[int, int] = {}
        for rows in self.scaling_rows:
            each = -(-rows // n_processes)
            if (other := rows_of.setdefault(each, rows)) != rows:
                raise ValueError(
                    f"scaling_rows: expected entries that differ for each of {n_processes} processes, "
                    f"got {other} and {rows}, both {each} rows each"
                )
        return rows_of


class CpuVsGpu(Rounds):
    """`cpu_vs_gpu`: one convolutional network on the processor and on an accelerator."""

    sizes: Annotated[Sizes, Field(min_length=1)] = ["small", "medium", "large"]
    batch_sizes: Annotated[BatchSizes, Field(min_length=1)] = [1, 2, 4, 8, 16]
    device: str = "auto"
    warmup: PositiveInt = 10
    iterations: PositiveInt = 50
    iterations_medium: PositiveInt = 20
    iterations_large: PositiveInt = 10
    memory_cap_bytes: PositiveInt | None = None
    time_limit_s: PositiveFloat = 180.0


class BatchSweep(Rounds):
    """`batch_sweep`: latency, throughput and memory against batch size."""

    forest_batch_sizes: BatchSizes = [1, 10, 100, 1_000, 10_000, 100_000]
    cnn_batch_sizes: BatchSizes = [1, 2, 4, 8, 16, 32]
    sizes: Sizes = ["small"]
    device: str = "auto"
    n_features: Annotated[int, Field(ge=2)] = 50
    n_trees: PositiveInt = 100
    n_train: Annotated[int, Field(ge=100)] = 20_000
    max_latency_s: PositiveFloat | None = None
    max_memory_bytes: PositiveInt | None = None
    memory_cap_bytes: PositiveInt | None = None
    time_limit_s: PositiveFloat = 90.0

    @model_validator(mode="after")
    def _something_to_measure(self) -> Self:
        if not self.forest_batch_sizes and not (self.sizes and self.cnn_batch_sizes):
            raise ValueError("forest_batch_sizes, or cnn_batch_sizes and sizes: expected a batch size, got none")
        return self


class HardwareAnalysis(Rounds):
    """`hardware_analysis`: what this machine is, what it can do, and which limit binds."""

    budget_s: PositiveFloat = 40.0
    sizes: Sizes = ["small", "medium"]
    measure_scaling: bool = True
    n_samples: PositiveInt = 100_000
    n_features: Annotated[int, Field(ge=2)] = 50
    n_trees: PositiveInt = 100
    n_train: Annotated[int, Field(ge=100)] = 20_000
    profile_rounds: PositiveInt = 6
    image_sides: ImageSides = [32, 64, 128, 256]
    feature_counts: Growing = [10, 50, 200, 400]
    tree_counts: Growing = [10, 25, 50, 100]
    tree_depths: Growing = [2, 4, 8, 16]
    time_limit_s: PositiveFloat = 60.0

    @model_validator(mode="after")
    def _trees_there(self) -> Self:
        return self._at_most("tree_counts", "n_trees")


class Calibration(Config):
    """`calibration`: what the harness itself adds, and what it can tell apart on this machine."""

    comparisons: PositiveInt = 200
    rounds_a_comparison: Annotated[int, Field(ge=6)] = 8
    samples_a_turn: PositiveInt = 3
    forest_batch_size: PositiveInt = 10
    cnn_batch_size: PositiveInt = 1
    n_features: Annotated[int, Field(ge=2)] = 50
    n_trees: PositiveInt = 100
    n_train: Annotated[int, Field(ge=100)] = 20_000
    simulated_series: PositiveInt = 4000
    time_limit_s: PositiveFloat = 135.0


class Compare(Config):
    """`compare`: what changed from one stored run to others. Without a base, the newest two runs of one profile."""

    base: str | None = None
    heads: list[str] = []


class Summary(Config):
    """`summary`: what the notebooks of one run say together."""


CONFIGS: Mapping[str, type[Config]] = {
    "cpu_multiprocess": CpuMultiprocess,
    "cpu_vs_gpu": CpuVsGpu,
    "batch_sweep": BatchSweep,
    "hardware_analysis": HardwareAnalysis,
    "calibration": Calibration,
    "compare": Compare,
    "summary": Summary,
}
"""The model of each notebook, in no particular order."""

REPORT_NOTEBOOKS = ("cpu_multiprocess", "cpu_vs_gpu", "batch_sweep", "hardware_analysis", "summary")
"""What `make report` executes, in this order."""
