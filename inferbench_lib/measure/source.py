"""Sources: the runners and inputs that a bench measures, and the rule of its warm-up."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from inferbench_lib.records import Case, Span
from inferbench_lib.stats.level import is_level
from inferbench_lib.timing.accelerator import Accelerator
from inferbench_lib.timing.cell import Inputs
from inferbench_lib.timing.loop import Enough
from inferbench_lib.work.base import Runner


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """Calls before the first round: at least, at most, and for how long."""

    min_calls: int = 3
    max_calls: int = 30
    time_limit_s: float = 1.0

    def rule(self, read_s: Callable[[], float] = time.monotonic) -> Enough:
        """Return a new rule for one series, which ends once the series is level."""
        end_s = read_s() + self.time_limit_s

        def enough(samples: list[float]) -> bool:
            if len(samples) < self.min_calls:
                return False
            is_last = len(samples) >= self.max_calls or read_s() >= end_s
            return is_last or is_level(samples, minimum=self.min_calls)

        return enough


class Source(ABC):
    """The runners and inputs of a bench's cells. It is made in one process and used in another, so making it is cheap.

    With `returns_warm`, an untimed call begins each turn, because other cells had theirs in between.
    """

    returns_warm: bool = True

    @property
    def accelerator(self) -> Accelerator:
        """The device that computes; raises NotAvailable where it is not here."""
        return Accelerator()

    def imports(self) -> Mapping[str, float]:
        """Import the libraries, before anything looks for a device; the seconds of each part."""
        return {}

    def load(self) -> Mapping[str, float]:
        """Load what all cells share on the host; the seconds of each part."""
        return {}

    def to_device(self) -> None:
        """Bring the model to the device."""
        return

    @abstractmethod
    def runner(self, case: Case) -> Runner:
        """Return the runner of a cell."""

    @abstractmethod
    def inputs(self, case: Case) -> Inputs:
        """Return the inputs of a cell."""

    def inputs_per_call(self, case: Case) -> int:
        """Count the inputs of one call."""
        return case.batch_size

    def some_batch(self, n_inputs: int) -> np.ndarray:
        """Return any host batch of this size, to see whether it fits."""
        raise NotImplementedError

    def run_untimed(self, case: Case, run: Callable[[], None], n_calls: int) -> None:
        """Make calls that nobody times, for the memory pass; `run` is one call of the cell."""
        for _ in range(n_calls):
            run()

    def spans(self) -> tuple[Span, ...]:
        """Return where the time of the last call went, where the runner knows."""
        return ()

    def agreement(self, case: Case) -> Mapping[str, float]:
        """Compare the outputs for all inputs with the reference's."""
        raise NotImplementedError

    def figures(self, case: Case) -> Mapping[str, float]:
        """Return single values of a cell that the source knows."""
        return {}

    def notes(self) -> Mapping[str, str]:
        """Return settings that change what is computed or how fast."""
        return {}

    def close(self) -> None:
        """Release what the source holds."""
        return
