"""Model of a GPU that is not there: throughput, memory by batch size, and the batch from which its transfers pay off.

Every value here is a MODEL from datasheet figures (`gpus.json`), never a measurement. FP32 is the plain (not
tensor-core) rate at the boost clock, except where a note says otherwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from inferbench_lib.stats.roofline import flat_roofs, operator_work

# Assumed shares of the datasheet's peaks, pessimistic and optimistic. Compute: CNN inference was measured to reach 0.35
# (a framework's plain path) to 0.95 (a tuned engine) of a CPU's GEMM peak; a GPU's datasheet peak, at a boost clock
# that is not held, lies further off, so 0.85. Bandwidth: short kernels to a long copy.
COMPUTE_EFFICIENCY = (0.35, 0.85)
BANDWIDTH_EFFICIENCY = (0.6, 0.9)
# PCIe: pageable memory, staged by the driver, to pinned memory. Launch: a framework's dispatch to a bare kernel launch.
TRANSFER_EFFICIENCY = (0.3, 0.85)
LAUNCH_S = (20e-6, 4e-6)
# PCI-SIG base specifications 3.0, 4.0, 5.0: 8, 16, 32 GT/s per lane in one direction, 128 bits sent as 130.
LANE_BYTES_PER_S = {3: 8e9 / 8 * 128 / 130, 4: 16e9 / 8 * 128 / 130, 5: 32e9 / 8 * 128 / 130}
ALLOWANCE_BYTES = 500_000_000
"""Assumed for the driver's context, the libraries and their workspaces, which no allocator counts."""
ALLOWANCE_SHARE = 0.1
"""Assumed for what the allocator rounds up and keeps."""
CARDS_BYTES = {"2 GB": 2e9, "4 GB": 4e9, "8 GB": 8e9, "24 GB": 24e9}
IMAGE_BYTES = 4 * 3 * 64 * 64


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """Datasheet figures of one device; PCIe in one direction; `source` names document and table."""

    name: str
    fp32_flops_per_s: float
    memory_bytes_per_s: float
    memory_bytes: int
    pcie_bytes_per_s: float
    source: str


def _gpu(row: Mapping[str, Any]) -> Gpu:
    source = row["source"]
    return Gpu(
        name=row["name"],
        fp32_flops_per_s=row["fp32_tflops"] * 1e12,
        memory_bytes_per_s=row["memory_gb_per_s"] * 1e9,
        memory_bytes=row["memory_gib"] * 2**30,
        pcie_bytes_per_s=row["pcie_lanes"] * LANE_BYTES_PER_S[row["pcie_generation"]],
        source="; ".join(filter(None, (source["document"], source["table"], source["note"]))),
    )


GPUS = {row["name"]: _gpu(row) for row in json.loads((files(__package__) / "gpus.json").read_text(encoding="utf-8"))}
"""By name, oldest first."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """The work and memory of one network, from the FLOPs and bytes of its operators.

    Weights stay on the card. Of the activations, one layer's input and output live at once beside the batch itself, and
    the largest such pair counts.
    """

    name: str
    operators: Sequence[Mapping[str, Any]]

    @property
    def weight_bytes(self) -> float:
        """Return the bytes of the float32 weights."""
        return float(sum(row["bytes_fixed"] for row in self.operators))

    @property
    def n_parameters(self) -> int:
        """Return the number of weights and biases."""
        return int(self.weight_bytes) // 4

    @property
    def image_bytes(self) -> float:
        """Return the bytes that each image of a batch takes."""
        return float(max(row["bytes_per_image"] for row in self.operators) + IMAGE_BYTES)

    @property
    def flops_per_image(self) -> float:
        """Return the FLOPs of one image."""
        return float(sum(row["flops_per_image"] for row in self.operators))

    def counted_bytes(self, batch_size: int) -> float:
        """Return the bytes of weights and activations."""
        return self.weight_bytes + self.image_bytes * batch_size

    def card_bytes(self, batch_size: int) -> float:
        """Return the bytes on the card, with the allowance for what is not counted."""
        return ALLOWANCE_BYTES + (1 + ALLOWANCE_SHARE) * self.counted_bytes(batch_size)

    def largest_batch(self, card_bytes: float) -> int:
        """Return the most images that a card of this memory holds; 0 where not even one fits."""
        free = (card_bytes - ALLOWANCE_BYTES) / (1 + ALLOWANCE_SHARE) - self.weight_bytes
        return max(0, math.floor(free / self.image_bytes))


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predicted seconds per batch of one network on one device, from the optimistic to the pessimistic end."""

    network: str
    device: str
    batch_size: int
    low_s: float
    high_s: float
    fits: bool

    @property
    def low_per_s(self) -> float:
        """Return images per second at the pessimistic end."""
        return self.batch_size / self.high_s

    @property
    def high_per_s(self) -> float:
        """Return images per second at the optimistic end."""
        return self.batch_size / self.low_s

    def factor_outside(self, measured_s: float) -> float:
        """Return 1 for a time inside the band, else the time over the end of the band that it missed."""
        return measured_s / min(max(measured_s, self.low_s), self.high_s)


def predict(network: Network, batch_size: int, device: Gpu) -> Prediction:
    """Return the predicted time of a batch, its images' transfer included; expect an error of a factor of 1.5 to 3.

    It is the sum over operators of max(FLOPs / (η peak), bytes / (η bandwidth), launch), plus the images over PCIe.
    """
    high_s, low_s = (_predicted_s(network, batch_size, device, end) for end in (0, 1))
    return Prediction(
        network=network.name,
        device=device.name,
        batch_size=batch_size,
        low_s=low_s,
        high_s=high_s,
        fits=network.card_bytes(batch_size) <= device.memory_bytes,
    )


def _predicted_s(network: Network, batch_size: int, device: Gpu, end: int) -> float:
    roofs = flat_roofs(
        flops_per_s=device.fp32_flops_per_s * COMPUTE_EFFICIENCY[end],
        bytes_per_s=device.memory_bytes_per_s * BANDWIDTH_EFFICIENCY[end],
        launch_s=LAUNCH_S[end],
    )
    work_s = sum(roofs.over(work).seconds for work in operator_work(network.operators, batch_size))
    return work_s + batch_size * IMAGE_BYTES / (device.pcie_bytes_per_s * TRANSFER_EFFICIENCY[end])


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """The batch size from which a GPU is faster than this CPU, transfers included.

    `early_batch` is by the optimistic end, `late_batch` by the pessimistic one; None where it never is. Copying the
    weights pays off after `late_images`, by the pessimistic end.
    """

    device: str
    network: str
    early_batch: int | None
    late_batch: int | None
    late_images: int | None


def break_even(device: Gpu, network: Network, *, here_s: Mapping[int, float], there: Iterable[Prediction]) -> BreakEven:
    """Return the break-even of a device from measured seconds here and predictions there, by batch size.

    The job's images are counted at the largest batch and the pessimistic end, the copy of the weights included.
    """
    bands = {band.batch_size: band for band in there}
    most = max(here_s, default=0)
    saved_s = (here_s[most] - bands[most].high_s) / most if most else 0.0
    weights_s = network.weight_bytes / (device.pcie_bytes_per_s * TRANSFER_EFFICIENCY[0])
    return BreakEven(
        device=device.name,
        network=network.name,
        early_batch=min((batch for batch, s in here_s.items() if bands[batch].low_s < s), default=None),
        late_batch=min((batch for batch, s in here_s.items() if bands[batch].high_s < s), default=None),
        late_images=math.ceil(weights_s / saved_s) if saved_s > 0 else None,
    )
