"""What a device could do at most, what a workload reaches of it, and what a device that is not there would do.

The roofline (Williams, Waterman & Patterson 2009): attainable FLOP/s = min(peak, arithmetic intensity × bandwidth).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from inferbench_lib.studies.cpu_vs_gpu.gpus import Gpu

Bound = Literal["compute", "bandwidth", "overhead"]

# Assumed shares of the datasheet's peaks, pessimistic and optimistic. Compute: CNN inference was measured to reach 0.35
# (a framework's plain path) to 0.95 (a tuned engine) of a CPU's GEMM peak; a GPU's datasheet peak, at a boost clock
# that is not held, lies further off, so 0.85. Bandwidth: short kernels to a long copy.
COMPUTE_EFFICIENCY = (0.35, 0.85)
BANDWIDTH_EFFICIENCY = (0.6, 0.9)
# PCIe: pageable memory, staged by the driver, to pinned memory. Launch: a framework's dispatch to a bare kernel launch.
TRANSFER_EFFICIENCY = (0.3, 0.85)
LAUNCH_S = (20e-6, 4e-6)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operator of a model: its work and its least memory traffic for one batch."""

    name: str
    flops: float
    bytes: float
    launches: int = 1


@dataclass(frozen=True, kw_only=True)
class RooflinePoint:
    """A measured workload under a measured roof. `share` is reached over attainable; `bound` names what binds."""

    intensity_flops_per_byte: float
    reached_flops_per_s: float
    attainable_flops_per_s: float
    share: float
    bound: Bound


@dataclass(frozen=True, kw_only=True)
class ModelBand:
    """Seconds a device that was not measured would take: a model, never a measurement."""

    device: str
    low_s: float
    high_s: float
    bound: Bound
    fits: bool
    tag: str = "MODEL"


def attainable_flops_per_s(intensity_flops_per_byte: float, peak_flops_per_s: float, bytes_per_s: float) -> float:
    """The roof above an arithmetic intensity (FLOPs per byte moved)."""
    return min(peak_flops_per_s, intensity_flops_per_byte * bytes_per_s)


def place(
    *,
    flops: float,
    bytes_moved: float,
    seconds: float,
    peak_flops_per_s: float,
    bytes_per_s: float,
    overhead_s: float = 0.0,
) -> RooflinePoint:
    """Where a workload of `seconds` stands under the roof.

    What binds is whatever takes longest at the ceilings: the arithmetic, the traffic, or `overhead_s`, the measured
    time of a call that does no work (launches, dispatch). Raises ValueError for a figure not above 0.
    """
    given = {
        "flops": flops,
        "bytes_moved": bytes_moved,
        "seconds": seconds,
        "peak_flops_per_s": peak_flops_per_s,
        "bytes_per_s": bytes_per_s,
    }
    for name, value in given.items():
        if not value > 0:
            raise ValueError(f"place: expected {name} above 0, got {value}")
    intensity = flops / bytes_moved
    attainable = attainable_flops_per_s(intensity, peak_flops_per_s, bytes_per_s)
    return RooflinePoint(
        intensity_flops_per_byte=intensity,
        reached_flops_per_s=flops / seconds,
        attainable_flops_per_s=attainable,
        share=flops / seconds / attainable,
        bound=_bound(flops / peak_flops_per_s, bytes_moved / bytes_per_s, overhead_s),
    )


def device_model(
    operations: Sequence[Operation], device: Gpu, *, transfer_bytes: float = 0.0, memory_bytes: float = 0.0
) -> ModelBand:
    """Seconds for one batch on a named device, as a band from the optimistic to the pessimistic efficiencies.

    The sum over operators of max(FLOPs / (η peak), bytes / (η bandwidth), launches), plus `transfer_bytes` over PCIe.
    `fits` says whether `memory_bytes` is at most the device's memory. Expect to be off by a factor of 1.5 to 3.
    """
    high_s, low_s = (_model_s(operations, device, transfer_bytes, end) for end in (0, 1))
    compute_s = sum(op.flops for op in operations) / (device.fp32_flops_per_s * COMPUTE_EFFICIENCY[1])
    traffic_s = sum(op.bytes for op in operations) / (device.memory_bytes_per_s * BANDWIDTH_EFFICIENCY[1])
    launch_s = sum(op.launches for op in operations) * LAUNCH_S[1]
    return ModelBand(
        device=device.name,
        low_s=low_s,
        high_s=high_s,
        bound=_bound(compute_s, traffic_s, launch_s),
        fits=memory_bytes <= device.memory_bytes,
    )


def _model_s(operations: Sequence[Operation], device: Gpu, transfer_bytes: float, end: int) -> float:
    work_s = sum(
        max(
            op.flops / (device.fp32_flops_per_s * COMPUTE_EFFICIENCY[end]),
            op.bytes / (device.memory_bytes_per_s * BANDWIDTH_EFFICIENCY[end]),
            op.launches * LAUNCH_S[end],
        )
        for op in operations
    )
    return work_s + transfer_bytes / (device.pcie_bytes_per_s * TRANSFER_EFFICIENCY[end])


def _bound(compute_s: float, traffic_s: float, overhead_s: float) -> Bound:
    longest = max(compute_s, traffic_s, overhead_s)
    if longest == overhead_s:
        return "overhead"
    return "compute" if longest == compute_s else "bandwidth"
