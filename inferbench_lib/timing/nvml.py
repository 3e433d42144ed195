"""Read an NVIDIA GPU through nvidia-ml-py: facts once, a reading at any moment.

A missing library, driver or GPU is a reason in words. A value that the GPU or driver does not provide is None. A GPU
that is lost while it is watched gives a reading with that reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from inferbench_lib.errors import NotAvailable

# Bits and names of nvmlClocksEventReasons in nvml.h (NVML API reference, "NvmlClocksEventReasons").
THROTTLE_BITS = {
    0x1: "gpu idle",
    0x2: "applications clocks setting",
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake slowdown",
    0x100: "display clock setting",
    0x200: "board limit",
    0x400: "reliability",
}
SLOWED = frozenset(THROTTLE_BITS[bit] for bit in (0x8, 0x20, 0x40, 0x80, 0x200, 0x400))
"""Reasons of a GPU that is slower than it can be for long: heat, or a limit of the board or of the power supply."""
EXPLAINED = frozenset(THROTTLE_BITS[bit] for bit in (0x1, 0x2, 0x4))
"""Reasons of a low clock that is no fault: nothing to do, a clock that the user set, the card's own power limit."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The facts of a GPU; `default_clock_hz` is the highest clock where the driver has no default."""

    name: str
    driver: str
    memory_bytes: int | None = None
    default_clock_hz: float | None = None


@dataclass(frozen=True, kw_only=True)
class GpuReading:
    """A GPU at one moment; only a reason where it no longer answers (lost, driver gone)."""

    temperature_c: float | None = None
    power_w: float | None = None
    clock_hz: float | None = None
    memory_bytes: int | None = None
    throttle_reasons: tuple[str, ...] = ()
    lost_reason: str = ""


def throttle_names(bits: int) -> tuple[str, ...]:
    """Return the names of the reasons in a throttle bit field, unknown bits as "unknown (0x…)"."""
    known = tuple(name for bit, name in THROTTLE_BITS.items() if bits & bit)
    rest = bits & ~sum(THROTTLE_BITS)
    return (*known, f"unknown ({rest:#x})") if rest else known


class GpuProbe:
    """A reader of one GPU, made by `open_gpu`: `gpu` holds its facts, `read()` returns its state."""

    def __init__(self, nvml: ModuleType, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        clocks_mhz = (
            self._ask(nvml.nvmlDeviceGetDefaultApplicationsClock, nvml.NVML_CLOCK_SM),
            self._ask(nvml.nvmlDeviceGetMaxClockInfo, nvml.NVML_CLOCK_SM),
        )
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo)
        self.gpu = Gpu(
            name=nvml.nvmlDeviceGetName(handle),
            driver=nvml.nvmlSystemGetDriverVersion(),
            memory_bytes=None if memory is None else memory.total,
            default_clock_hz=next((clock_mhz * 1e6 for clock_mhz in clocks_mhz if clock_mhz is not None), None),
        )

    def read(self) -> GpuReading:
        """Return the state of the GPU now."""
        nvml = self._nvml
        try:
            memory = self._ask(nvml.nvmlDeviceGetMemoryInfo)
            power_mw = self._ask(nvml.nvmlDeviceGetPowerUsage)
            clock_mhz = self._ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM)
            bits = self._ask(nvml.nvmlDeviceGetCurrentClocksEventReasons)
            if bits is None:  # its name in drivers before 535
                bits = self._ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons)
            return GpuReading(
                temperature_c=self._ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
                power_w=None if power_mw is None else power_mw / 1e3,
                clock_hz=None if clock_mhz is None else clock_mhz * 1e6,
                memory_bytes=None if memory is None else memory.used,
                throttle_reasons=throttle_names(bits or 0),
            )
        except nvml.NVMLError as error:
            return GpuReading(lost_reason=str(error))

    def _ask(self, function: Callable[..., Any], *arguments: int) -> Any:
        nvml = self._nvml
        unknown = (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, nvml.NVMLError_NoPermission)
        try:
            return function(self._handle, *arguments)
        except unknown:
            return None


def open_gpu(identity: int | str) -> GpuProbe:
    """Return a probe for the GPU of that NVML index or UUID; raise NotAvailable where NVML cannot read it."""
    nvml = _started_nvml()
    find = nvml.nvmlDeviceGetHandleByIndex if isinstance(identity, int) else nvml.nvmlDeviceGetHandleByUUID
    try:
        return GpuProbe(nvml, find(identity))
    except nvml.NVMLError as error:
        raise NotAvailable(f"GPU {identity}: expected one that NVML can read, got: {error}") from error


def open_device(device: str) -> GpuProbe:
    """Return a probe for torch's device, such as "cuda:1"; raise NotAvailable where NVML cannot tell which GPU it is.

    `CUDA_VISIBLE_DEVICES` numbers the devices anew. Without `CUDA_DEVICE_ORDER=PCI_BUS_ID` CUDA sorts unlike GPUs by
    speed and NVML by place, so only like ones have the same number (CUDA C++ Programming Guide, "Environment
    Variables").
    """
    kind, _, index = device.partition(":")
    if kind != "cuda":
        raise NotAvailable(f"{device}: only NVIDIA GPUs can be read while they work")
    number = int(index or 0)
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        named = [name.strip() for name in visible.split(",")]
        if number >= len(named):
            raise NotAvailable(f"{device}: expected one of CUDA_VISIBLE_DEVICES={visible}")
        if not named[number].isdecimal():
            return open_gpu(named[number])
        number = int(named[number])
    gpus, _ = find_gpus()
    if len({gpu.name for gpu in gpus}) > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise NotAvailable(
            f"{device}: which of several kinds of GPU this is, is known with CUDA_DEVICE_ORDER=PCI_BUS_ID"
        )
    return open_gpu(number)


def find_gpus() -> tuple[tuple[Gpu, ...], str]:
    """Return (GPUs, reason): every GPU that the driver lists; where there is none, the reason in words."""
    try:
        gpus = tuple(open_gpu(index).gpu for index in range(_started_nvml().nvmlDeviceGetCount()))
    except NotAvailable as error:
        return (), str(error)
    return gpus, "" if gpus else "the NVIDIA driver lists no GPU"


def _started_nvml() -> ModuleType:
    try:
        import pynvml
    except ImportError:
        raise NotAvailable("no NVIDIA GPU can be read: the Python package nvidia-ml-py is not installed") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NotAvailable(f"no NVIDIA GPU can be read: {error}") from error
    module: ModuleType = pynvml
    return module
