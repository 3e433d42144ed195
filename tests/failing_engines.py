"""Engines that fail in ways of their own, and a probe of the allocator, in a module that processes can import."""

from __future__ import annotations

import os
import resource
import time

import numpy as np

from inferbench_lib.errors import NotAvailable
from inferbench_lib.work.base import Runner
from inferbench_lib.work.fake import FakeEngine, doubled


def ending(batch: np.ndarray) -> np.ndarray:
    """End the process."""
    os._exit(3)


def hanging(batch: np.ndarray) -> np.ndarray:
    """Return nothing for a minute."""
    time.sleep(60)
    return doubled(batch)


def wrong(batch: np.ndarray) -> np.ndarray:
    """Return outputs with one wrong value."""
    output = doubled(batch)
    output[0, 0] += 1
    return output


class Good(FakeEngine):
    """It gives the right outputs."""

    name = "good"


class Ending(FakeEngine):
    """Its process ends in the first call."""

    name = "ending"

    def runner(self, *, device: str = "cpu", precision: str = "fp32", n_threads: int = 1) -> Runner:
        return Runner(run=ending)


class Hanging(FakeEngine):
    """Its first call does not return."""

    name = "hanging"

    def runner(self, *, device: str = "cpu", precision: str = "fp32", n_threads: int = 1) -> Runner:
        return Runner(run=hanging)


class Wrong(FakeEngine):
    """It gives wrong outputs."""

    name = "wrong"

    def runner(self, *, device: str = "cpu", precision: str = "fp32", n_threads: int = 1) -> Runner:
        return Runner(run=wrong)


class Unable(FakeEngine):
    """It cannot load the model."""

    name = "unable"

    def load(self) -> None:
        raise NotAvailable("unable: expected a model it can load, got another")


class Absent(FakeEngine):
    """Its library is not installed."""

    name = "absent"
    library = "no_such_library"
    package = "no-such-package"


class Faults:
    """Counts the page faults of blocks that are allocated and freed in this process."""

    def of_second_block(self, n_bytes: int) -> int:
        """Return those of a block as large as one that was just freed."""
        np.full(n_bytes, 1, dtype=np.uint8)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.full(n_bytes, 1, dtype=np.uint8)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
