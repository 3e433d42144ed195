"""The parameters of `cpu_vs_gpu`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from inferbench_lib.config import Counts, PositiveFloat, PositiveInt, Rounds
from inferbench_lib.work import known_network

Network = Annotated[str, AfterValidator(known_network)]


class Params(Rounds):
    """Compare the CPU with the GPU, for the same networks and batches."""

    title = "The CPU against the GPU"
    position = 20

    iterations: Annotated[dict[Network, PositiveInt], Field(min_length=1)] = Field(
        {"cnn-small": 50, "cnn-medium": 20, "cnn-large": 10},
        description="networks, and measured iterations of each",
    )
    batch_sizes: Annotated[Counts, Field(min_length=1)] = Field([1, 2, 4, 8, 16], description="inputs per batch")
    device: str = Field("auto", description="auto, cpu, or a device such as cuda:1")
    warmup: PositiveInt = Field(10, description="warm-up iterations at least")
    memory_cap_bytes: PositiveInt | None = Field(None, description="cap on this process's device memory")
    time_limit_s: PositiveFloat = Field(180.0, description="seconds of rounds, once there are min_rounds")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield each parameter that has no effect beside the others, and the reason."""
        if self.device == "cpu":
            yield "memory_cap_bytes", "device is cpu, which has no cap"
