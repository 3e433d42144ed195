"""The parameters of `cpu_vs_gpu`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from inferbench_lib.config import Counts, Each, PositiveFloat, PositiveInt, Rounds


class Params(Rounds):
    """Compare the CPU with the GPU, for the same networks and batches."""

    title = "The CPU against the GPU"
    position = 20

    sizes: Annotated[list[Literal["small", "medium", "large"]], Each, Field(min_length=1)] = Field(
        ["small", "medium", "large"], description="networks: small (8.8 M parameters), medium (50 M), large (200 M)"
    )
    batch_sizes: Annotated[Counts, Field(min_length=1)] = Field([1, 2, 4, 8, 16], description="images per batch")
    device: str = Field("auto", description="auto, cpu, or a device such as cuda:1")
    warmup: PositiveInt = Field(10, description="warm-up iterations at least")
    iterations: PositiveInt = Field(50, description="measured iterations of the small network")
    iterations_medium: PositiveInt = Field(20, description="measured iterations of the medium network")
    iterations_large: PositiveInt = Field(10, description="measured iterations of the large network")
    memory_cap_bytes: PositiveInt | None = Field(None, description="cap on this process's device memory")
    time_limit_s: PositiveFloat = Field(180.0, description="seconds of rounds, once there are min_rounds")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield each parameter that has no effect beside the others, and the reason."""
        for name, size in (("iterations", "small"), ("iterations_medium", "medium"), ("iterations_large", "large")):
            if size not in self.sizes:
                yield name, f"sizes holds no {size}"
        if self.device == "cpu":
            yield "memory_cap_bytes", "device is cpu, which has no cap"
