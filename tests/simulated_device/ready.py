"""The simulated device for one test: new at its start, absent again at its end."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from simulated_device import NoCompiler, SimulatedDevice, load


@contextmanager
def ready_device() -> Iterator[SimulatedDevice]:
    """A device that torch finds; without a compiler a named skip, and a failure where CI=true."""
    try:
        device = load()
    except NoCompiler as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))
    gc.collect()  # tensors of earlier tests would count as allocated
    device.present = True
    device.configure()
    yield device
    device.present = False  # torch cannot forget a backend, but it can be told that no device is there
