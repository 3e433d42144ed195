"""The passes of a turn on a device beside latency: throughput, transfers, end to end, memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from inferbench_lib.records import Verification
from inferbench_lib.timing.accelerator import Accelerator, wall_clock
from inferbench_lib.timing.cell import Cell, Inputs, Keyed
from inferbench_lib.timing.loop import Check, after, collect
from inferbench_lib.work.base import Runner

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def open_context(accelerator: Accelerator) -> None:
    """Make the process's first allocation on the device, which opens its context."""
    import torch

    torch.empty(1, device=accelerator.device)


def throughput(
    cell: Cell, accelerator: Accelerator, runner: Runner, placed: Sequence[Keyed], n_samples: int, check: Check
) -> None:
    """Call one batch after the other without waiting, between two instants at which the device is idle."""
    n_passes = max(1, n_samples // len(placed))
    clock = wall_clock(accelerator)
    clock.start()
    outputs = [(keyed, runner.run(keyed[1])) for _ in range(n_passes) for keyed in placed]
    window_s = clock.stop()
    for keyed, output in outputs:
        check(keyed, output)
    cell.series["throughput_per_s"].append(len(outputs) * cell.case.batch_size / window_s)


def transfers(
    cell: Cell, accelerator: Accelerator, runner: Runner, hosted: Sequence[Keyed], placed: Iterable[Keyed], n: int
) -> None:
    """Copy batches to the device and outputs back, `n` times of each kind.

    Destinations exist beforehand, so that nothing is allocated in the timed region. The `_pinned` kinds use page-locked
    host memory, where the backend has it. Every copy is compared with its source.
    """
    import torch

    inputs = [torch.from_numpy(batch) for _, batch in hosted]
    outputs: list[Tensor] = [runner.run(batch) for _, batch in placed]
    on_device = torch.empty_like(inputs[0], device=accelerator.device)
    on_host = torch.empty_like(outputs[0], device="cpu")
    ways = {"host_to_device_s": (inputs, on_device), "device_to_host_s": (outputs, on_host)}
    if accelerator.backend.pinned_memory:
        ways |= {
            "host_to_device_pinned_s": ([batch.pin_memory() for batch in inputs], on_device),
            "device_to_host_pinned_s": (outputs, on_host.pin_memory()),
        }
    for name, (sources, to) in ways.items():
        cell.series[name] += copy_times(accelerator, sources, to, n, cell.verify)


def copy_times(
    accelerator: Accelerator, sources: Sequence[Tensor], to: Tensor, n: int, verify: Callable[[Verification], None]
) -> list[float]:
    """Time copies into `to` until each is complete; one untimed copy goes before."""

    def copy(source: Tensor) -> Tensor:
        return to.copy_(source, non_blocking=True)

    copy(sources[-1])
    return _times(accelerator, copy, sources, n, lambda source, copied: verify(_compare(source, copied)))


def _compare(source: Tensor, copied: Tensor) -> Verification:
    import torch

    passed = torch.equal(source.cpu(), copied.cpu())
    detail = "" if passed else f"a copy from {source.device} to {copied.device} differs from its source"
    return Verification(passed=passed, n_checked=source.numel(), detail=detail)


def end_to_end(
    cell: Cell, accelerator: Accelerator, runner: Runner, hosted: Sequence[Keyed], n: int, inputs: Inputs
) -> None:
    """Time calls from a batch in host memory to its output in host memory."""

    def check(keyed: Keyed, output: np.ndarray) -> None:
        cell.verify(inputs.check(keyed[0], output))

    runner(hosted[-1][1])
    cell.series["end_to_end_s"] += _times(accelerator, lambda keyed: runner(keyed[1]), hosted, n, check)


def _times(
    accelerator: Accelerator, call: Callable[[Any], Any], batches: Sequence[Any], n: int, check: Check
) -> list[float]:
    """Time `n` calls on the batches in turn, each from an idle device to an idle device."""
    return collect(call, cycle(batches), clock=wall_clock(accelerator), enough=after(n), check=check)


def memory(cell: Cell, accelerator: Accelerator, runner: Runner, batch: np.ndarray) -> Any:
    """Note the peaks of one call, of tensors and of what the allocator held for them; return its output.

    Earlier peaks are forgotten, also those of cached memory. The allocator counts on the host, when work is queued, so
    there is nothing to wait for.
    """
    import torch

    placed = runner.place(batch)
    accelerator.empty_cache()
    torch.accelerator.reset_peak_memory_stats(accelerator.device)
    output = runner.run(placed)
    cell.figures["peak_allocated_bytes"] = torch.accelerator.max_memory_allocated(accelerator.device)
    cell.figures["peak_reserved_bytes"] = torch.accelerator.max_memory_reserved(accelerator.device)
    return output


def launch_bound_share(cell: Cell) -> float:
    """Return the share of calls that the host took as long to enqueue as the device to run (NVIDIA trtexec's rule)."""
    pairs = list(zip(cell.series["enqueue_s"], cell.samples_s, strict=True))
    return sum(enqueue_s >= device_s for enqueue_s, device_s in pairs) / len(pairs)
