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

    index: int
    name: str
    uuid: str
    driver: str
    memory_bytes: int | None = None
    default_clock_hz: float | None = None
    max_clock_hz: float | None = None


@dataclass(frozen=True, kw_only=True)
class GpuReading:
    """The state of a GPU at one moment; with `lost_reason` nothing else is known."""

    temperature_c: float | None = None
    power_w: float | None = None
    sm_clock_hz: float | None = None
    memory_used_bytes: int | None = None
    performance_state: int | None = None
    throttle_reasons: tuple[str, ...] = ()
    lost_reason: str = ""


def throttle_names(bits: int) -> tuple[str, ...]:
    """Return the names of the reasons in a throttle bit field, unknown bits as "unknown (0x…)"."""
    known = tuple(name for bit, name in THROTTLE_BITS.items() if bits & bit)
    rest = bits & ~sum(THROTTLE_BITS)
    return (*known, f"unknown ({rest:#x})") if rest else known


class GpuProbe:
    """A reader of one GPU, made by `open_gpu`: `gpu` holds its facts, `read()` returns its state."""

    def __init__(self, nvml: ModuleType, handle: Any, index: int) -> None:
        self._nvml, self._handle = nvml, handle
        max_clock_hz = self._mhz(nvml.nvmlDeviceGetMaxClockInfo, nvml.NVML_CLOCK_SM)
        default_clock_hz = self._mhz(nvml.nvmlDeviceGetDefaultApplicationsClock, nvml.NVML_CLOCK_SM)
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo)
        self.gpu = Gpu(
            index=index,
            name=nvml.nvmlDeviceGetName(handle),
            uuid=self._ask(nvml.nvmlDeviceGetUUID) or "",
            driver=nvml.nvmlSystemGetDriverVersion(),
            memory_bytes=None if memory is None else memory.total,
            default_clock_hz=max_clock_hz if default_clock_hz is None else default_clock_hz,
            max_clock_hz=max_clock_hz,
        )

    def read(self) -> GpuReading:
        """Return the state now; it has a `lost_reason` where the GPU no longer answers (lost, driver gone)."""
        nvml = self._nvml
        try:
            memory = self._ask(nvml.nvmlDeviceGetMemoryInfo)
            power_mw = self._ask(nvml.nvmlDeviceGetPowerUsage)
            return GpuReading(
                temperature_c=self._ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
                power_w=None if power_mw is None else power_mw / 1e3,
                sm_clock_hz=self._mhz(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM),
                memory_used_bytes=None if memory is None else memory.used,
                performance_state=self._ask(nvml.nvmlDeviceGetPerformanceState),
                throttle_reasons=throttle_names(self._throttle_bits() or 0),
            )
        except nvml.NVMLError as error:
            return GpuReading(lost_reason=str(error))

    def _throttle_bits(self) -> int | None:
        bits: int | None = self._ask(self._nvml.nvmlDeviceGetCurrentClocksEventReasons)
        if bits is None:  # its name in drivers before 535
            bits = self._ask(self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons)
        return bits

    def _mhz(self, function: Callable[..., int], kind: int) -> float | None:
        clock_mhz = self._ask(function, kind)
        return None if clock_mhz is None else clock_mhz * 1e6

    def _ask(self, function: Callable[..., Any], *arguments: int) -> Any:
        nvml = self._nvml
        unknown = (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, nvml.NVMLError_NoPermission)
        try:
            return function(self._handle, *arguments)
        except unknown:
            return None


def open_gpu(gpu: int | str = 0) -> GpuProbe:
    """Return a probe for the GPU of that NVML index or UUID; CUDA may number GPUs differently, so prefer the UUID.

    Raises NotAvailable with the reason: no nvidia-ml-py, no driver, no such GPU.
    """
    nvml = _started_nvml()
    try:
        if isinstance(gpu, str):
            handle = nvml.nvmlDeviceGetHandleByUUID(gpu if gpu.startswith("GPU-") else f"GPU-{gpu}")
        else:
            handle = nvml.nvmlDeviceGetHandleByIndex(gpu)
        return GpuProbe(nvml, handle, nvml.nvmlDeviceGetIndex(handle))
    except nvml.NVMLError as error:
        raise NotAvailable(f"GPU {gpu}: expected one that NVML can read, got: {error}") from error


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
