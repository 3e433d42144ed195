"""A device's memory: peaks, a cap, running out of it, and the largest batch that fits."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from inferbench_lib.errors import NotAvailable
from inferbench_lib.records import Outcome
from inferbench_lib.timing.accelerator import Accelerator


@dataclass(frozen=True, kw_only=True)
class PeakMemory:
    """Peaks since `reset_peak_memory`: what tensors held, and what torch's allocator held for them."""

    allocated_bytes: int
    reserved_bytes: int


def empty_cache(accelerator: Accelerator) -> None:
    """Give back the memory that the allocator holds without need. Nothing to do on the CPU."""
    if accelerator.backend.is_device:
        import torch

        accelerator.synchronize()
        torch.accelerator.empty_cache()


def reset_peak_memory(accelerator: Accelerator) -> int:
    """Forget earlier peaks, also those of cached memory; return the bytes that tensors hold now (the baseline).

    Raises NotAvailable where the backend keeps no statistics.
    """
    import torch

    _require_statistics(accelerator)
    empty_cache(accelerator)
    torch.accelerator.reset_peak_memory_stats(accelerator.device)
    return torch.accelerator.memory_allocated(accelerator.device)


def peak_memory(accelerator: Accelerator) -> PeakMemory:
    """Return the peaks since `reset_peak_memory`. Raises NotAvailable where the backend keeps no statistics.

    Nothing to wait for: the allocator counts on the host, when work is queued.
    """
    import torch

    _require_statistics(accelerator)
    return PeakMemory(
        allocated_bytes=torch.accelerator.max_memory_allocated(accelerator.device),
        reserved_bytes=torch.accelerator.max_memory_reserved(accelerator.device),
    )


def cap_memory(accelerator: Accelerator, cap_bytes: int) -> None:
    """Let this process's allocator hold at most `cap_bytes`.

    A memory cap, not a smaller card: it leaves out the device's own context and changes no speed.
    Raises NotAvailable where the backend has no cap.
    """
    import torch

    if not accelerator.backend.memory_cap:
        raise NotAvailable(
            f"memory cap: expected a device whose memory can be capped, got {accelerator.device}; "
            "leave the cap out to measure it with all its memory"
        )
    _, total_bytes = torch.accelerator.get_memory_info(accelerator.device)
    fraction = min(1.0, cap_bytes / total_bytes)
    torch.get_device_module(accelerator.device).set_per_process_memory_fraction(fraction, accelerator.device)


def device_failure(error: BaseException, device: str) -> tuple[Outcome, str] | None:
    """Return the outcome and its reason where memory ran out or the device was lost; None for any other error."""
    if is_out_of_memory(error):
        return Outcome.OOM, f"out of memory on {device}: {error}"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.AcceleratorError):
        return Outcome.FAILED, f"{device} failed: {error}"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on a device or on the host."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    # torch's CPU allocator raises a bare RuntimeError that only its text identifies.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)


def largest_batch_that_fits(fits: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return the largest batch size in low..high that fits, by bisection; None when not even `low` does.

    Takes for granted that whatever is smaller than a batch that fits, fits.
    """
    n_fitting = bisect_left(range(low, high + 1), True, key=lambda size: not fits(size))
    return low + n_fitting - 1 if n_fitting else None


def _require_statistics(accelerator: Accelerator) -> None:
    if not accelerator.backend.memory_statistics:
        raise NotAvailable(
            f"memory statistics: expected a device that keeps them, got {accelerator.device}; "
            "read the process's own memory from outside instead"
        )
