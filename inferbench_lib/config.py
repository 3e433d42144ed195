"""Parameters: a flat YAML file or keyword arguments in, one frozen, validated model a notebook out.

Nothing is measured before every parameter is known to be usable. A message names the file, the field,
what was expected and what came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from inferbench_lib.errors import ConfigError


def _without_repeats(values: list[Any]) -> list[Any]:
    """Each value once: a cell that is listed twice would be measured into one row."""
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"each value once, not {', '.join(repeated)} again")
    return values


Each = AfterValidator(_without_repeats)
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Executors = Annotated[list[Literal["single", "threads", "naive_pool", "shared_pool", "ceiling"]], Each]
Sizes = Annotated[list[Literal["small", "medium", "large"]], Each]
BatchSizes = Annotated[list[PositiveInt], Each]


class Config(BaseModel):
    """What every notebook takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    seed: Annotated[int, Field(ge=0)] = 0
    reuse: str | None = None


class Rounds(Config):
    """What every comparison takes: interleaved rounds until the intervals are narrow or the time is up."""

    min_rounds: PositiveInt = 6
    max_rounds: PositiveInt = 8
    target_width: PositiveFloat = 0.03
    time_limit_s: PositiveFloat = 150.0

    @model_validator(mode="after")
    def _rounds_in_order(self) -> Self:
        if self.min_rounds > self.max_rounds:
            raise ValueError(f"min_rounds: expected at most max_rounds ({self.max_rounds}), got {self.min_rounds}")
        return self


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
        "ceiling",
    ]

    @model_validator(mode="after")
    def _batch_fits(self) -> Self:
        if self.batch_size > self.n_samples:
            raise ValueError(f"batch_size: expected at most n_samples ({self.n_samples}), got {self.batch_size}")
        return self


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
    n_samples: PositiveInt = 100_000
    n_features: Annotated[int, Field(ge=2)] = 50
    n_trees: PositiveInt = 100
    n_train: Annotated[int, Field(ge=100)] = 20_000
    time_limit_s: PositiveFloat = 60.0


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


class Summary(Config):
    """`summary`: what the notebooks of one run say together."""


CONFIGS: Mapping[str, type[Config]] = {
    "cpu_multiprocess": CpuMultiprocess,
    "cpu_vs_gpu": CpuVsGpu,
    "batch_sweep": BatchSweep,
    "hardware_analysis": HardwareAnalysis,
    "calibration": Calibration,
    "summary": Summary,
}
"""The model of each notebook, in no particular order."""

REPORT_NOTEBOOKS = ("cpu_multiprocess", "cpu_vs_gpu", "batch_sweep", "hardware_analysis", "summary")
"""What `make report` executes, in this order."""

_NAME = re.compile(r"[a-z_]\w*")


def build(notebook: str, values: Mapping[str, Any], source: str = "parameters") -> Config:
    """The validated configuration of `notebook`; raises ConfigError naming `source`, field, expected and got."""
    model = CONFIGS[notebook]
    for name in values:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name not in model.model_fields:
            known = ", ".join(sorted(model.model_fields))
            raise ConfigError(f"{source}: {_shown(name)}: expected one of the parameters of {notebook} ({known})")
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(source, values, item) for item in error.errors())) from None


def load(path: Path, notebook: str | None = None) -> Config:
    """The configuration in a flat YAML file named after its notebook; raises ConfigError."""
    name = notebook or path.stem
    if name not in CONFIGS:
        raise ConfigError(f"{path}: expected a file named after a notebook ({', '.join(CONFIGS)}), got {path.name}")
    return build(name, read_params(path), source=str(path))


def read_params(path: Path) -> dict[str, Any]:
    """The mapping in a parameter file; raises ConfigError where it cannot be read or is not a flat mapping."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable parameter file, got: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first_line = str(error).splitlines()[0]
        raise ConfigError(f"{path}: expected YAML (name: value lines), got: {first_line}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected name: value lines, got a {type(values).__name__}")
    return values


def _explain(source: str, values: Mapping[str, Any], item: Any) -> str:
    text = str(item["msg"]).removeprefix("Value error, ")
    if not item["loc"]:
        return f"{source}: {text}"
    field = ".".join(str(part) for part in item["loc"])
    got: Any = values
    for part in item["loc"]:
        got = got[part] if isinstance(got, (dict, list)) else got
    expected = text[0].lower() + text[1:]
    for prefix in ("input should be ", "value should have ", "a valid "):
        expected = expected.removeprefix(prefix)
    expected = expected.partition(" after validation")[0]
    return f"{source}: {field}: expected {expected}, got {_shown(got)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def parameters(notebook: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """Of a notebook's variables (`globals()`), those that are its parameters."""
    return {name: names[name] for name in CONFIGS[notebook].model_fields if name in names}
