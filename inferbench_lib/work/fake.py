"""A workload and an engine for tests: right answers are inputs doubled, and nothing has to be installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from inferbench_lib.records import Verification
from inferbench_lib.work.base import Engine, Runner, Workload
from inferbench_lib.work.outputs import equal


@dataclass(frozen=True, kw_only=True)
class FakeWorkload(Workload):
    """Rows of `n_features` numbers, drawn from `seed`; the right outputs are twice the inputs."""

    n_features: int = 2
    seed: int = 0

    name = "fake"
    title = "the fake workload"
    unit = "row"
    kind = "fake"
    engine = "fake"

    def model(self) -> Any:
        """Return the function that doubles."""
        return doubled

    def draw(self, n_inputs: int) -> np.ndarray:
        """Return `(n_inputs, n_features)` float32 rows."""
        rng = np.random.default_rng(self.seed)
        return rng.standard_normal((n_inputs, self.n_features), dtype=np.float32)

    def answers(self, inputs: np.ndarray) -> np.ndarray:
        """Return the inputs doubled."""
        return doubled(inputs)

    def agree(self, output: np.ndarray, reference: np.ndarray, precision: str = "fp32") -> Verification:
        """Require equal outputs."""
        return equal(output, reference)


class FakeEngine(Engine):
    """Calls the fake workload's function."""

    name = "fake"
    library = "json"
    kinds = ("fake",)

    def load(self) -> None:
        self._model = self.workload.model()

    def runner(self, *, device: str = "cpu", precision: str = "fp32", n_threads: int = 1) -> Runner:
        return Runner(run=self._model)


def doubled(rows: np.ndarray) -> np.ndarray:
    """Return twice the rows."""
    twice: np.ndarray = rows * 2
    return twice
