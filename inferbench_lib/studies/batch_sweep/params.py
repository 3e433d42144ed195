"""The parameters of `batch_sweep`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inferbench_lib.config import Counts, Each, PositiveFloat, PositiveInt, Rounds


class Params(Rounds):
    """Measure latency, throughput and memory against batch size, and find the best batch under limits."""

    title = "Which batch size?"
    position = 30

    forest_batch_sizes: Counts = Field([1, 10, 100, 1_000, 10_000, 100_000], description="rows per call to the forest")
    cnn_batch_sizes: Counts = Field([1, 2, 4, 8, 16, 32], description="images per call to the networks")
    sizes: Annotated[list[Literal["small", "medium", "large"]], Each] = Field(
        ["small"], description="networks: small (8.8 M parameters), medium (50 M), large (200 M)"
    )
    device: str = Field("auto", description="auto, cpu, or a device such as cuda:1")
    n_features: Annotated[int, Field(ge=2)] = Field(50, description="features per row")
    n_trees: PositiveInt = Field(100, description="trees of the forest")
    n_train: Annotated[int, Field(ge=100)] = Field(20_000, description="rows that the forest was trained on")
    max_latency_s: PositiveFloat | None = Field(None, description="limit on latency (p99 where the samples carry it)")
    max_memory_bytes: PositiveInt | None = Field(None, description="limit on peak memory")
    memory_cap_bytes: PositiveInt | None = Field(None, description="cap on this process's device memory")
    time_limit_s: PositiveFloat = Field(90.0, description="seconds of rounds, once there are min_rounds")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield each parameter that has no effect beside the others, and the reason."""
        if not self.forest_batch_sizes:
            for name in ("n_features", "n_trees", "n_train"):
                yield name, "forest_batch_sizes is empty"
        if not self.sizes:
            yield "cnn_batch_sizes", "sizes is empty"
        if not self.cnn_batch_sizes:
            yield "sizes", "cnn_batch_sizes is empty"
        if self.device == "cpu":
            yield "memory_cap_bytes", "device is cpu, which has no cap"

    @model_validator(mode="after")
    def _something_to_measure(self) -> Self:
        if not self.forest_batch_sizes and not (self.sizes and self.cnn_batch_sizes):
            raise ValueError("forest_batch_sizes, or cnn_batch_sizes and sizes: expected a batch size, got none")
        return self
