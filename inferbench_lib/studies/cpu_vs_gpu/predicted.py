"""What devices that are not here would do with a network, and how far off the same model is on this processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferbench_lib.records import Figure
from inferbench_lib.studies.cpu_vs_gpu.devices import CPU, DeviceStudy
from inferbench_lib.studies.cpu_vs_gpu.gpu_model import (
    CARDS_BYTES,
    IMAGE_BYTES,
    BreakEven,
    MemoryNeed,
    break_even,
    memory_need,
)
from inferbench_lib.studies.cpu_vs_gpu.gpus import GPUS, Gpu
from inferbench_lib.studies.hardware_analysis.roofline import TRANSFER_EFFICIENCY, ModelBand, Operation, device_model


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """MODEL, never measured: images per second of one network on one named device at one batch size, as a band."""

    size: str
    batch_size: int
    device: str
    low_per_s: float
    high_per_s: float
    fits: bool

    @property
    def low_s(self) -> float:
        """Seconds of a batch at the optimistic end."""
        return self.batch_size / self.high_per_s

    @property
    def high_s(self) -> float:
        """Seconds of a batch at the pessimistic end."""
        return self.batch_size / self.low_per_s


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


def memory_needs(said: DeviceStudy) -> list[MemoryNeed]:
    """What each network needs by batch."""
    tables = said.run.tables["operations"]
    return [memory_need(size, said.parameters[size], tables[size]) for size in said.sizes()]


def break_evens(said: DeviceStudy) -> list[BreakEven]:
    """When each named GPU would pay for its transfers, for each network measured on this processor."""
    found = []
    for size in said.sizes():
        cells = [cell for cell in said.of(size, CPU) if cell.summary.is_measured]
        here_s = {cell.batch_size: cell.summary.median_s.value for cell in cells}
        for gpu in GPUS.values() if here_s else ():
            bands = {batch: _predict(said, size, batch, gpu) for batch in here_s}
            weights_s = 4.0 * said.parameters[size] / (gpu.pcie_bytes_per_s * TRANSFER_EFFICIENCY[0])
            there_s = {batch: (band.low_s, band.high_s) for batch, band in bands.items()}
            found.append(break_even(gpu.name, size, here_s=here_s, there_s=there_s, weights_s=weights_s))
    return found


def figures(said: DeviceStudy) -> dict[str, Figure]:
    """The entries of `summary.json` that are a model's, each with MODEL as its verdict."""
    batch_size = max((cell.batch_size for cell in said.cells), default=1)
    found = {
        f"model_throughput[{band.device},{band.size}]": Figure(
            value=(band.low_per_s * band.high_per_s) ** 0.5,
            low=band.low_per_s,
            high=band.high_per_s,
            unit="images/s",
            verdict=f"MODEL, batch {batch_size}" + ("" if band.fits else ", does not fit its memory"),
        )
        for band in predictions(said, batch_size)
    }
    for need in memory_needs(said):
        for card, card_bytes in CARDS_BYTES.items():
            name = f"model_largest_batch[{need.size},{card.replace(' ', '').lower()}]"
            found[name] = Figure(value=need.largest_batch(card_bytes), unit="images", verdict="MODEL")
    return found


def _predict(said: DeviceStudy, size: str, batch_size: int, gpu: Gpu) -> Prediction:
    operations = _operations(said, size, batch_size)
    need = memory_need(size, said.parameters[size], said.run.tables["operations"][size])
    band: ModelBand = device_model(
        operations,
        gpu,
        transfer_bytes=float(batch_size * IMAGE_BYTES),
        memory_bytes=need.with_allowance(batch_size),
    )
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
