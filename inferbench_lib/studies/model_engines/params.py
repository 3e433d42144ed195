"""The parameters of `model_engines`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from inferbench_lib.config import Counts, Each, PositiveFloat, PositiveInt, Rounds
from inferbench_lib.work import known_engine, known_workload

Workload = Annotated[str, AfterValidator(known_workload)]
Engine = Annotated[str, AfterValidator(known_engine)]


class Params(Rounds):
    """Compare engines and precisions: try all of them once, then measure the best ones in interleaved rounds."""

    title = "Which engine?"
    position = 25

    batch_sizes: Annotated[dict[Workload, Annotated[Counts, Field(min_length=1)]], Field(min_length=1)] = Field(
        {"forest": [1, 16, 1_000, 10_000, 100_000], "cnn-small": [1, 16]}, description="inputs per call"
    )
    engines: Annotated[list[Engine], Each] = Field([], description="engines; empty: all that load the workload")
    precisions: Annotated[list[str], Each] = Field([], description="precisions; empty: all that an engine offers")
    threads: Counts = Field([], description="threads on the CPU; empty: 1 and all usable CPUs")
    device: str = Field("auto", description="auto, cpu, or a device such as cuda:1")
    n_features: Annotated[int, Field(ge=2)] = Field(50, description="features per row of the forest")
    n_trees: PositiveInt = Field(100, description="trees of the forest")
    n_train: Annotated[int, Field(ge=100)] = Field(20_000, description="rows that the forest was trained on")
    keep_within: Annotated[float, Field(ge=1)] = Field(
        2.0, description="measure engines that were at most so many times slower than the fastest in fp32 when tried"
    )
    max_latency_s: PositiveFloat | None = Field(None, description="limit on the median latency")
    min_agreement: Annotated[float, Field(ge=0, le=1)] = Field(
        0.99, description="least share of inputs with the reference's class"
    )
    time_limit_s: PositiveFloat = Field(60.0, description="seconds of rounds, once there are min_rounds")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield each parameter that has no effect beside the others, and the reason."""
        if not any(name.startswith("forest") for name in self.batch_sizes):
            for name in ("n_features", "n_trees", "n_train"):
                yield name, "batch_sizes holds no forest"
