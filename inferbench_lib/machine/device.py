"""Measure the limits of an accelerator: products by precision, copies in its memory, transfers, a kernel launch.

Products and copies are device time between two events where the device has events. Transfers and launches are host
time between two instants at which the device is idle. Bytes of a copy count as read plus written (STREAM's rule, see
bandwidth.py), bytes of a transfer once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from inferbench_lib.errors import WrongOutput
from inferbench_lib.machine.gemm import Product, long_enough, product_of
from inferbench_lib.machine.limit import Limit, ceiling, cost
from inferbench_lib.timing.accelerator import Accelerator, require_accelerator, wall_clock
from inferbench_lib.timing.loop import Budget, Probe, interleave

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = ("fp32", "fp16", "bf16", "fp64")
SMALLEST, LARGEST = 512, 8192
LONG_ENOUGH_S = 0.005
COPY_BYTES = 256 << 20
SHARE_OF_MEMORY = 8
TRANSFER_BYTES = (4 << 10, 256 << 10, 4 << 20, 64 << 20)
LAUNCHES = 1000


@dataclass(frozen=True, kw_only=True)
class DeviceGemm:
    """The rate of a product of two n × n matrices on the device, in GFLOP/s."""

    dtype: str
    n: int
    limit: Limit


@dataclass(frozen=True, kw_only=True)
class DeviceTransfer:
    """GB/s of one copy between host and device; `direction` is "host to device" or "device to host"."""

    direction: str
    is_pinned: bool
    size_bytes: int
    limit: Limit


@dataclass(frozen=True, kw_only=True)
class DeviceLimits:
    """The limits of one device; `not_measured` says why a precision has no peak there."""

    device: str
    gemm: tuple[DeviceGemm, ...]
    memory_copy: Limit
    transfers: tuple[DeviceTransfer, ...]
    launch: Limit
    not_measured: Mapping[str, str]


def limits_of(device: str, budget_s: float) -> dict[str, Any]:
    """Return the limits of the device of that name as plain values, for a process that frees its memory by ending."""
    accelerator = require_accelerator(device)
    # The CPU computes for a simulated device.
    small: dict[str, Any] = {"largest": SMALLEST, "copy_bytes": 1 << 20, "transfer_bytes": TRANSFER_BYTES[:1]}
    sizes = small if accelerator.is_simulated else {}
    return asdict(device_limits(accelerator, budget_s=budget_s, **sizes))


def device_limits(
    accelerator: Accelerator,
    *,
    dtypes: Sequence[str] = DTYPES,
    copy_bytes: int = COPY_BYTES,
    transfer_bytes: Sequence[int] = TRANSFER_BYTES,
    largest: int = LARGEST,
    budget_s: float = 5.0,
    now_s: Callable[[], float] = monotonic,
) -> DeviceLimits:
    """Measure every limit of a device; no probe takes more than an eighth of its free memory.

    Raises WrongOutput when a product or a copy is wrong.
    """
    import torch

    budget, allowed = Budget(budget_s, now_s), _free_bytes(accelerator) // SHARE_OF_MEMORY
    # Three matrices of eight bytes per element.
    products, not_measured = _products(accelerator, dtypes, min(largest, math.isqrt(allowed // 24)))
    on_device = [Probe(key=name, call=of.call, check=of.check) for name, of in products.items()]
    copy_bytes = min(copy_bytes, allowed) // 16 * 8  # two arrays
    on_device.append(_copy("copy", *(torch.empty(copy_bytes // 4, device=accelerator.device) for _ in range(2))))
    transfers = [
        (direction, is_pinned, size)
        for size in transfer_bytes
        if size <= allowed
        for direction in ("host to device", "device to host")
        for is_pinned in (False, True)[: 1 + accelerator.backend.pinned_memory]
    ]
    one = torch.ones(1, device=accelerator.device)
    launch = Probe(key="launch", call=lambda _: one.add_(1.0), block_size=LAUNCHES)
    on_host = [*(_transfer(accelerator, *key) for key in transfers), launch]
    seconds = interleave(on_device, budget_s=budget.left_s / 2, clock=accelerator.clock(), now_s=now_s)
    seconds |= interleave(on_host, budget_s=budget.left_s, clock=wall_clock(accelerator), now_s=now_s)
    return DeviceLimits(
        device=accelerator.description(),
        gemm=tuple(DeviceGemm(dtype=name, n=of.n, limit=of.peak(seconds[name])) for name, of in products.items()),
        memory_copy=ceiling(seconds["copy"], 2 * copy_bytes / 1e9, "GB/s"),
        transfers=tuple(
            DeviceTransfer(
                direction=direction,
                is_pinned=is_pinned,
                size_bytes=size,
                limit=ceiling(seconds[direction, is_pinned, size], size / 1e9, "GB/s"),
            )
            for direction, is_pinned, size in transfers
        ),
        launch=cost(seconds["launch"]),
        not_measured=not_measured,
    )


def _free_bytes(accelerator: Accelerator) -> int:
    import torch

    if accelerator.backend.memory_statistics:
        return int(torch.accelerator.get_memory_info(accelerator.device)[0])
    return 1 << 30


def _products(
    accelerator: Accelerator, dtypes: Sequence[str], largest: int
) -> tuple[dict[str, Product], dict[str, str]]:
    """Return, by precision, a product that takes at least 5 ms, and the reason where the device has none."""
    products, not_measured = {}, {}
    for dtype in dtypes:
        make = partial(product_of, "torch", dtype, device=accelerator.device)
        try:
            n = long_enough(
                make, smallest=SMALLEST, largest=largest, shortest_s=LONG_ENOUGH_S, clock=accelerator.clock()
            )
            product = make(n)
            product.check(None, product.multiply())
            products[dtype] = product
        except RuntimeError as error:  # torch's error for an unsupported product
            not_measured[dtype] = f"the device refused: {str(error).splitlines()[0]}"
    return products, not_measured


def _transfer(accelerator: Accelerator, direction: str, is_pinned: bool, size: int) -> Probe:
    import torch

    host = torch.empty(size // 4, pin_memory=is_pinned)
    device = torch.empty(size // 4, device=accelerator.device)
    ends = (host, device) if direction == "host to device" else (device, host)
    return _copy((direction, is_pinned, size), *ends)


def _copy(key: Hashable, source: Tensor, target: Tensor) -> Probe:
    source.fill_(1.0)
    target.fill_(0.0)
    return Probe(key=key, call=lambda _: target.copy_(source, non_blocking=True), check=_check_copy)


def _check_copy(_: object, target: Tensor) -> None:
    if (last := float(target[-1])) != 1.0:
        raise WrongOutput(f"copy of {target.nbytes:,} bytes: expected 1 as its last element, got {last:g}")
