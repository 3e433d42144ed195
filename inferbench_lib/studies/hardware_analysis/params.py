"""The parameters of `hardware_analysis`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from inferbench_lib.config import Counts, Each, PositiveFloat, PositiveInt, Rounds
from inferbench_lib.work import known_workload

Workload = Annotated[str, AfterValidator(known_workload)]
ImageSides = Annotated[list[Annotated[int, Field(ge=8, multiple_of=8)]], Each]


class Params(Rounds):
    """Measure what this machine can do at most, and find the limit that binds each workload."""

    title = "What this machine can do"
    position = 40

    budget_s: PositiveFloat = Field(40.0, description="seconds for the machine's own limits, at least about 8")
    default_threads_s: PositiveFloat | None = Field(
        12.0, description="seconds for the default threads of the libraries; null: not measured"
    )
    workloads: Annotated[list[Workload], Each, Field(min_length=1)] = Field(
        ["forest", "cnn-small", "cnn-medium"], description="workloads: forest, cnn-small, cnn-medium, cnn-large"
    )
    n_features: Annotated[int, Field(ge=2)] = Field(50, description="features per row")
    n_trees: PositiveInt = Field(100, description="trees of the forest")
    n_train: Annotated[int, Field(ge=100)] = Field(20_000, description="rows that the forest was trained on")
    profile_rounds: PositiveInt = Field(6, description="rounds over layers and input sizes; an interval needs 6")
    image_sides: ImageSides = Field([32, 64, 128, 256], description="pixels, multiples of 8")
    feature_counts: Counts = Field([10, 50, 200, 400], description="features per row, for a small forest")
    tree_counts: Counts = Field([10, 25, 50, 100], description="of the trees of the forest")
    tree_depths: Counts = Field([2, 4, 8, 16], description="how deep a small forest may grow")
    time_limit_s: PositiveFloat = Field(60.0, description="seconds of rounds, once there are min_rounds")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield each parameter that has no effect beside the others, and the reason."""
        if "forest" not in self.workloads:
            for name in ("n_features", "n_trees", "n_train", "feature_counts", "tree_counts", "tree_depths"):
                yield name, "workloads holds no forest"
        if not any(name.startswith("cnn-") for name in self.workloads):
            yield "image_sides", "workloads holds no network"

    @model_validator(mode="after")
    def _trees_there(self) -> Self:
        return self._at_most("tree_counts", "n_trees")
