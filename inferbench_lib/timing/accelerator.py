"""The devices that can be timed, and how one is found.

Everything rests on `torch.accelerator` and `torch.Event`, which serve CUDA, ROCm, XPU and out-of-tree devices alike.
`BACKENDS` says what a kind of device can do beyond that. Trying out would mislead: a build without the device answers
many questions with a silent 0 (`torch.cuda.max_memory_allocated()` on a CPU build does).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from inferbench_lib.errors import NotAvailable
from inferbench_lib.records import CPU, Outcome
from inferbench_lib.timing.clock import Clock, EventClock, ReadNs, WallClock
from inferbench_lib.timing.nvml import find_gpus


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The features that torch offers on one kind of device."""

    is_device: bool = True  # has a queue and memory of its own: there are transfers, and calls return before the work
    events: bool = False  # torch.Event measures device time
    memory_statistics: bool = False  # torch.accelerator.memory_stats counts this device's memory
    memory_cap: bool = False  # its module has set_per_process_memory_fraction
    pinned_memory: bool = False  # copies from page-locked host memory are faster and asynchronous
    cuda_math: bool = False  # cuDNN (on ROCm MIOpen) and TF32 settings apply
    named: bool = False  # its module has get_device_name


BACKENDS: Mapping[str, Backend] = {
    CPU: Backend(is_device=False),
    # ROCm builds of torch call their devices "cuda" too.
    "cuda": Backend(
        events=True, memory_statistics=True, memory_cap=True, pinned_memory=True, cuda_math=True, named=True
    ),
    "xpu": Backend(events=True, memory_statistics=True, memory_cap=True, pinned_memory=True, named=True),
    # Event timing was reported to hang on MPS, and its allocator keeps no peaks.
    "mps": Backend(),
}
# A device that joins torch from outside (PrivateUse1) and follows the interface of the built-in ones.
OUT_OF_TREE = Backend(events=True, memory_statistics=True, memory_cap=True, pinned_memory=True, named=True)


class Accelerator:
    """The CPU, or a device of `torch.accelerator` such as "cuda", "cuda:1" or "xpu".

    `clock()` times one call there, with the synchronization inside. `backend` overrides what is known of it.
    """

    def __init__(
        self, device: str = CPU, *, backend: Backend | None = None, read_ns: ReadNs = time.perf_counter_ns
    ) -> None:
        kind, _, index = device.partition(":")
        self.backend = backend or BACKENDS.get(kind, OUT_OF_TREE)
        self.device = f"{kind}:{index or 0}" if self.backend.is_device else kind
        self.read_ns = read_ns

    @property
    def is_simulated(self) -> bool:
        """Return whether the device says of itself that its times are made up, as the one in the tests does."""
        import torch

        return bool(getattr(torch.get_device_module(self.device), "is_simulated", False))

    def synchronize(self) -> None:
        """Wait until a device has finished everything, on every stream."""
        if self.backend.is_device:
            import torch

            torch.accelerator.synchronize(self.device)

    def clock(self) -> Clock:
        """Return a clock of device time, by events; of wall time to the end of the work where there are none."""
        if self.backend.events:
            return EventClock(self.device, self.synchronize, self.read_ns)
        return wall_clock(self) if self.backend.is_device else WallClock(self.read_ns)

    def description(self) -> str:
        """Return the device's own name where torch tells it."""
        import torch

        if not self.backend.named:
            return self.device
        return f"{torch.get_device_module(self.device).get_device_name(self.device)} ({self.device})"

    def empty_cache(self) -> None:
        """Give back the memory that a device's allocator holds without need."""
        if self.backend.is_device:
            import torch

            self.synchronize()
            torch.accelerator.empty_cache()

    def cap_memory(self, cap_bytes: int) -> None:
        """Let this process's allocator hold at most `cap_bytes`.

        A memory cap, not a smaller card: it leaves out the device's own context and changes no speed.
        Raises NotAvailable where the backend has no cap.
        """
        import torch

        if not self.backend.memory_cap:
            raise NotAvailable(
                f"memory cap: expected a device whose memory can be capped, got {self.device}; "
                "leave the cap out to measure it with all its memory"
            )
        _, total_bytes = torch.accelerator.get_memory_info(self.device)
        fraction = min(1.0, cap_bytes / total_bytes)
        torch.get_device_module(self.device).set_per_process_memory_fraction(fraction, self.device)


def wall_clock(accelerator: Accelerator) -> WallClock:
    """Return a clock of host time between two instants at which the device is idle."""
    return WallClock(accelerator.read_ns, accelerator.synchronize)


@dataclass(frozen=True, kw_only=True)
class Found:
    """An accelerator, or the reason why there is none."""

    accelerator: Accelerator | None
    reason: str = ""

    @property
    def is_simulated(self) -> bool:
        """Return whether the accelerator is no real device."""
        return self.accelerator is not None and self.accelerator.is_simulated


def find_accelerator(name: str = "auto") -> Found:
    """Return what `require_accelerator` does, or the reason why there is none."""
    try:
        return Found(accelerator=require_accelerator(name))
    except NotAvailable as error:
        return Found(accelerator=None, reason=str(error))


def require_accelerator(name: str = "auto") -> Accelerator:
    """Return an accelerator that this torch can use: any with "auto", else the one named.

    Raises NotAvailable, with the reason, where there is none; for "cpu" too.
    """
    import torch

    if name == CPU:
        raise NotAvailable("no accelerator: the device asked for is the CPU")
    current = torch.accelerator.current_accelerator()
    if current is None:
        gpus, _ = find_gpus()
        build = f"torch {torch.__version__} is a CPU build"
        if not gpus:
            raise NotAvailable(f"no accelerator: no GPU was found; {build}, and the NVIDIA driver lists none")
        raise NotAvailable(f"no accelerator: {build}; install a CUDA build of torch to measure the {gpus[0].name}")
    if not torch.accelerator.is_available():
        raise NotAvailable(
            f"no accelerator: torch {torch.__version__} is built for {current.type}, but no {current.type} "
            "device or driver was found; check the driver and which devices this process may see"
        )
    known = [current.type, *(f"{current.type}:{index}" for index in range(torch.accelerator.device_count()))]
    if name not in ("auto", *known):
        raise NotAvailable(
            f"no accelerator: expected auto, cpu or one of {', '.join(known)}, got {name}; "
            f"torch {torch.__version__} on this machine knows no other"
        )
    return Accelerator(current.type if name == "auto" else name)


def math_settings(backend: Backend) -> dict[str, str]:
    """Return the settings of a device's math library, as words. TF32 rounds inputs to 10 mantissa bits."""
    import torch

    if not backend.cuda_math:
        return {}
    return {
        "cudnn_benchmark": str(torch.backends.cudnn.benchmark),
        "cudnn_deterministic": str(torch.backends.cudnn.deterministic),
        "tf32_convolution": str(torch.backends.cudnn.conv.fp32_precision == "tf32"),  # type: ignore[attr-defined]
        "tf32_matmul": str(torch.backends.cuda.matmul.fp32_precision == "tf32"),
    }


def device_failure(error: BaseException, device: str) -> tuple[Outcome, str] | None:
    """Return the outcome and its reason where memory ran out or the device was lost; None for any other error."""
    torch = sys.modules.get("torch")
    is_full = isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))
    # torch's CPU allocator raises a bare RuntimeError that only its text identifies.
    is_full |= isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)
    if is_full:
        return Outcome.OOM, f"out of memory on {device}: {error}"
    if torch is not None and isinstance(error, torch.AcceleratorError):
        return Outcome.FAILED, f"{device} failed: {error}"
    return None
