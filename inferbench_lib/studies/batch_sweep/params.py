"""The parameters of `batch_sweep`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from inferbench_lib.config import Counts, Each, PositiveFloat, PositiveInt, Rounds
from inferbench_lib.work import WORKLOADS, known_engine, known_workload
from inferbench_lib.work.engines import ENGINES

Workload = Annotated[str, AfterValidator(known_workload)]
Engine = Annotated[str, AfterValidator(known_engine)]
PERCENTILES = (0.5, 0.9, 0.95, 0.99)


def _known_percentile(p: float) -> float:
    if p not in PERCENTILES:
        raise ValueError(f"one of {', '.join(map(str, PERCENTILES))}")
    return p


class Params(Rounds):
    """Measure latency, throughput and memory against batch size, and find the best batch under limits."""

    title = "Which batch size?"
    position = 30

    batch_sizes: Annotated[dict[Workload, Annotated[Counts, Field(min_length=1)]], Field(min_length=1)] = Field(
        {"forest": [1, 10, 100, 1_000, 10_000, 100_000], "cnn-small": [1, 2, 4, 8, 16, 32]},
        description="inputs per call",
    )
    engines: Annotated[list[Engine], Each] = Field([], description="engines; empty: each workload's own library")
    threads: Counts = Field([], description="threads on the CPU; empty: 1 and all usable CPUs")
    device: str = Field("auto", description="auto, cpu, or a device such as cuda:1")
    n_features: Annotated[int, Field(ge=2)] = Field(50, description="features per row of the forest")
    n_trees: PositiveInt = Field(100, description="trees of the forest")
    n_train: Annotated[int, Field(ge=100)] = Field(20_000, description="rows that the forest was trained on")
    max_latency_s: PositiveFloat | None = Field(None, description="limit on latency")
    latency_percentile: Annotated[float, AfterValidator(_known_percentile)] = Field(
        0.95, description="percentile of every batch's latency that the limit holds for: 0.5, 0.9, 0.95 or 0.99"
    )
    max_memory_bytes: PositiveInt | None = Field(None, description="limit on a batch's memory above the idle process")
    measure_memory: bool = Field(True, description="measure memory, each batch in a new process")
    memory_cap_bytes: PositiveInt | None = Field(None, description="cap on this process's device memory")
    time_limit_s: PositiveFloat = Field(90.0, description="seconds of rounds, once there are min_rounds")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield each parameter that has no effect beside the others, and the reason."""
        if "forest" not in self.batch_sizes:
            for name in ("n_features", "n_trees", "n_train"):
                yield name, "batch_sizes holds no forest"
        if self.max_latency_s is None:
            yield "latency_percentile", "max_latency_s is not given"
        if not self.measure_memory:
            yield "max_memory_bytes", "measure_memory is false"
        if self.device == "cpu":
            yield "memory_cap_bytes", "device is cpu, which has no cap"

    @model_validator(mode="after")
    def _engines_load(self) -> Self:
        kinds = {name: WORKLOADS[name]().kind for name in self.batch_sizes}
        for engine in self.engines:
            if not {*ENGINES[engine].kinds} & {*kinds.values()}:
                raise ValueError(f"engines: expected engines that load one of {', '.join(kinds)}, got {engine}")
        for name, kind in kinds.items():
            if self.engines and not any(kind in ENGINES[engine].kinds for engine in self.engines):
                raise ValueError(f"engines: expected one that loads {name}, got {', '.join(self.engines)}")
        return self
