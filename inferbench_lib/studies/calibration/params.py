"""The parameters of `calibration`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from inferbench_lib.config import PositiveFloat, PositiveInt, Seeded


class Params(Seeded):
    """Measure the harness itself: its cost, its false alarms, and the smallest difference that it can find here."""

    title = "How well this machine can measure"

    comparisons: PositiveInt = Field(200, description="comparisons of identical variants")
    rounds_a_comparison: Annotated[int, Field(ge=6)] = Field(
        8, description="rounds per comparison, as many as a report takes; an interval needs 6"
    )
    samples_a_turn: PositiveInt = Field(3, description="calls per variant and round")
    forest_batch_size: PositiveInt = Field(10, description="rows per call to the forest")
    cnn_batch_size: PositiveInt = Field(1, description="images per call to the network")
    n_features: Annotated[int, Field(ge=2)] = Field(50, description="features per row")
    n_trees: PositiveInt = Field(100, description="trees of the forest")
    n_train: Annotated[int, Field(ge=100)] = Field(20_000, description="rows that the forest was trained on")
    time_limit_s: PositiveFloat = Field(135.0, description="seconds for all of it")
