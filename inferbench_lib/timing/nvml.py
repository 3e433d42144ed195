"""Read an NVIDIA GPU through nvidia-ml-py: facts once, a reading at any moment.

A missing library, driver or GPU is a reason in words. A value that the GPU or driver does not provide is None. A GPU
that is lost while it is watched gives a reading with that reason.
"""

from __future__ import annotations

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
IDLE = THROTTLE_BITS[0x1]
THERMAL_OR_POWER = frozenset(THROTTLE_BITS[bit] for bit in (0x4, 0x8, 0x20, 0x40, 0x80, 0x200, 0x400))


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The facts of a GPU; `default_clock_hz` is the highest clock where the driver has no default."""

    name: str
    driver: str
    memory_bytes: int | None = None
    default_clock_hz: float | None = None


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

    def read(self) -> dict[str, Any]:
        """Return the GPU's part of a `Reading`; only a reason where the GPU no longer answers (lost, driver gone)."""
        nvml = self._nvml
        try:
            memory = self._ask(nvml.nvmlDeviceGetMemoryInfo)
            power_mw = self._ask(nvml.nvmlDeviceGetPowerUsage)
            clock_mhz = self._ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM)
            bits = self._ask(nvml.nvmlDeviceGetCurrentClocksEventReasons)
            if bits is None:  # its name in drivers before 535
                bits = self._ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons)
            return {
                "gpu_temperature_c": self._ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
                "gpu_power_w": None if power_mw is None else power_mw / 1e3,
                "gpu_clock_hz": None if clock_mhz is None else clock_mhz * 1e6,
                "gpu_memory_bytes": None if memory is None else memory.used,
                "gpu_throttle_reasons": throttle_names(bits or 0),
            }
        except nvml.NVMLError as error:
            return {"gpu_lost_reason": str(error)}

    def _ask(self, function: Callable[..., Any], *arguments: int) -> Any:
        nvml = self._nvml
        unknown = (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, nvml.NVMLError_NoPermission)
        try:
            return function(self._handle, *arguments)
        except unknown:
            return None


def open_gpu(index: int = 0) -> GpuProbe:
    """Return a probe for the GPU of that NVML index; raise NotAvailable without nvidia-ml-py, a driver or that GPU."""
    nvml = _started_nvml()
    try:
        return GpuProbe(nvml, nvml.nvmlDeviceGetHandleByIndex(index))
    except nvml.NVMLError as error:
        raise NotAvailable(f"GPU {index}: expected one that NVML can read, got: {error}") from error


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
