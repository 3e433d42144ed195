"""What devices that are not here would do with a network, and how far off the same model is on this processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferbench_lib.analysis.devices import CPU, DeviceStudy
from inferbench_lib.analysis.gpus import GPUS, Gpu
from inferbench_lib.analysis.roofline import ModelBand, Operation, device_model


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """MODEL, never measured: images per second of one network on one named device at one batch size, as a band."""

    size: str
    batch_size: int
    device: str
    low_per_s: float
    high_per_s: float
    fits: bool


@dataclass(frozen=True, kw_only=True)
class ModelCheck:
    """The same model on this processor, where the truth is measured: seconds of one batch."""

    size: str
    batch_size: int
    low_s: float
    high_s: float
    measured_s: float

    @property
    def is_inside(self) -> bool:
        """Whether the measured time lies in the band."""
        return self.low_s <= self.measured_s <= self.high_s

    @property
    def factor(self) -> float:
        """How far the measurement lies outside the band: 1 inside, else measured over the nearer end."""
        return self.measured_s / min(max(self.measured_s, self.low_s), self.high_s)


def predictions(said: DeviceStudy, batch_size: int) -> list[Prediction]:
    """Every named GPU and every network at one batch size."""
    return [_predict(said, size, batch_size, gpu) for size in said.sizes() for gpu in GPUS.values()]


def checks(said: DeviceStudy) -> list[ModelCheck]:
    """The model against this processor's measurements, from its measured GEMM peak and memory bandwidth."""
    limits = said.run.tables["cpu_limits"]
    here = Gpu(
        name="this processor",
        fp32_flops_per_s=float(limits["peak_flops_per_s"]),
        memory_bytes_per_s=float(limits["bytes_per_s"]),
        memory_bytes=int(said.run.machine.memory_bytes or 0),
        pcie_bytes_per_s=float("inf"),
        source="measured",
    )
    found = []
    for cell in said.cells:
        if cell.device == CPU and cell.summary.is_measured:
            band = device_model(_operations(said, cell.size, cell.batch_size), here)
            found.append(
                ModelCheck(
                    size=cell.size,
                    batch_size=cell.batch_size,
                    low_s=band.low_s,
                    high_s=band.high_s,
                    measured_s=cell.summary.median_s.value,
                )
            )
    return found


def _predict(said: DeviceStudy, size: str, batch_size: int, gpu: Gpu) -> Prediction:
    operations = _operations(said, size, batch_size)
    image_bytes, weight_bytes = 4.0 * 3 * 64 * 64, 4.0 * said.parameters[size]
    needed = weight_bytes + max(operation.bytes for operation in operations)
    band: ModelBand = device_model(operations, gpu, transfer_bytes=batch_size * image_bytes, memory_bytes=needed)
    return Prediction(
        size=size,
        batch_size=batch_size,
        device=gpu.name,
        low_per_s=batch_size / band.high_s,
        high_per_s=batch_size / band.low_s,
        fits=band.fits,
    )


def _operations(said: DeviceStudy, size: str, batch_size: int) -> list[Operation]:
    """FLOPs and bytes grow as a + b · batch: weights once, activations for each image."""
    table: Mapping[str, Sequence[Mapping[str, Any]]] = said.run.tables["operations"]
    return [
        Operation(
            name=row["name"],
            flops=row["flops_per_image"] * batch_size,
            bytes=row["bytes_fixed"] + row["bytes_per_image"] * batch_size,
        )
        for row in table[size]
    ]
