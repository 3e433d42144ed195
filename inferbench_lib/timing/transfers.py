"""Copies between host and device, timed on their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from inferbench_lib.records import Verification
from inferbench_lib.timing.accelerator import Accelerator, wall_clock
from inferbench_lib.timing.loop import collect
from inferbench_lib.timing.rules import after

if TYPE_CHECKING:
    from torch import Tensor

Verify = Callable[[Verification], None]


def transfer_times(
    accelerator: Accelerator, inputs: Sequence[Tensor], outputs: Sequence[Tensor], n_samples: int, verify: Verify
) -> dict[str, list[float]]:
    """Seconds to copy one batch to the device and one output back, `n_samples` of each kind.

    `inputs` lie on the host, `outputs` on the device. Destinations exist beforehand, so that nothing is allocated
    in the timed region. The `_pinned` kinds use page-locked host memory, where the backend has it.
    `verify` gets the verification of every copy.
    """
    on_device, on_host = _like(inputs[0], accelerator.device), _like(outputs[0], "cpu")
    times = {
        "host_to_device_s": copy_times(accelerator, inputs, on_device, n_samples, verify),
        "device_to_host_s": copy_times(accelerator, outputs, on_host, n_samples, verify),
    }
    if accelerator.backend.pinned_memory:
        pinned = [batch.pin_memory() for batch in inputs]
        times |= {
            "host_to_device_pinned_s": copy_times(accelerator, pinned, on_device, n_samples, verify),
            "device_to_host_pinned_s": copy_times(accelerator, outputs, on_host.pin_memory(), n_samples, verify),
        }
    return times


def copy_times(
    accelerator: Accelerator, sources: Sequence[Tensor], to: Tensor, n_samples: int, verify: Verify
) -> list[float]:
    """Seconds until each copy into `to` is complete; one untimed copy goes before."""

    def copy(source: Tensor) -> Tensor:
        return to.copy_(source, non_blocking=True)

    copy(sources[-1])
    return collect(
        copy,
        cycle(sources),
        clock=wall_clock(accelerator),
        enough=after(n_samples),
        check=lambda source, copied: verify(_compare(source, copied)),
    )


def _compare(source: Tensor, copied: Tensor) -> Verification:
    import torch

    passed = torch.equal(source.cpu(), copied.cpu())
    detail = "" if passed else f"a copy from {source.device} to {copied.device} differs from its source"
    return Verification(passed=passed, n_checked=source.numel(), detail=detail)


def _like(tensor: Tensor, device: str) -> Tensor:
    import torch

    return torch.empty_like(tensor, device=device)
