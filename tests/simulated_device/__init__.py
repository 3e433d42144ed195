"""A device in virtual time for the tests: torch's PrivateUse1 backend under the name "simgpu".

`load()` builds and registers it (once a process); `configure(...)` gives it a script and makes it new.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from simulated_device.build import NoCompiler, build

NAME = "simgpu"
Shapes = list[list[int]]
OpCost = Callable[[str, Shapes], int]

__all__ = ["NAME", "NoCompiler", "OpCost", "Shapes", "SimulatedDevice", "load"]


class SimulatedDevice:
    """Python's side of the device: scripts it, and is the module `torch.simgpu` that torch asks for."""

    is_simulated = True

    def __init__(self, native: ModuleType) -> None:
        self._native = native
        self.present = True

    def configure(self, *, op_cost_ns: OpCost | int = 0, **script: int) -> None:
        """Make the device new: clocks at zero, no context, nothing tuned, default stream, whole memory.

        `op_cost_ns` is the device time of an operation, or a function of its name and its inputs' shapes.
        The other keywords are the fields of `Script` in simgpu.cpp, in nanoseconds and bytes.
        """
        fields = self._native.Script()
        fields.op_cost_ns = op_cost_ns if callable(op_cost_ns) else lambda name, shapes: op_cost_ns
        for name, value in script.items():
            setattr(fields, name, value)
        self._native.reset(fields)

    def read_ns(self) -> int:
        """The host's virtual clock."""
        return int(self._native.host_ns())

    def advance_host(self, ns: int) -> None:
        """Let the host spend time of its own, as Python code between two launches does."""
        self._native.advance_host(ns)

    def occupy(self, ns: int, stream: Any = None) -> None:
        """Queue work of this length on a stream (the default stream when none is given)."""
        self._native.occupy(stream.stream_id if stream is not None else 0, ns)

    @property
    def standing_in_ns(self) -> int:
        """Real time that the CPU has spent computing in the device's stead."""
        return int(self._native.standing_in_ns())

    @property
    def operations(self) -> int:
        """How many operations the device has run since it was configured."""
        return int(self._native.operations())

    # What torch and inferbench ask of `torch.<backend>`.

    def is_available(self) -> bool:
        return self.present

    def is_initialized(self) -> bool:
        return True

    def device_count(self) -> int:
        return int(self.present)

    def current_device(self) -> int:
        return 0

    def get_device_name(self, device: Any = None) -> str:
        return "SIMULATED device (virtual time)"

    def set_per_process_memory_fraction(self, fraction: float, device: Any = None) -> None:
        if not (isinstance(fraction, float) and 0 <= fraction <= 1):  # as strict as torch.cuda's
            raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
        self._native.set_memory_fraction(fraction)

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """Random numbers are drawn on the CPU."""


@cache
def load() -> SimulatedDevice:
    """The simulated device, built and registered with torch as "simgpu". Raises NoCompiler."""
    import torch

    loader = importlib.machinery.ExtensionFileLoader("simgpu", str(build()))
    spec = importlib.util.spec_from_file_location("simgpu", loader=loader)
    assert spec is not None
    native = importlib.util.module_from_spec(spec)
    loader.exec_module(native)
    device = SimulatedDevice(native)
    torch.utils.rename_privateuse1_backend(NAME)
    torch._register_device_module(NAME, device)
    return device
