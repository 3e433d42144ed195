"""What the makers' datasheets say of some GPUs, for the model of a device that is not there.

FP32 is the plain (not tensor-core) rate at the boost clock, except where only the base clock's is stated; the PCIe
rate is the slot's in one direction after line coding (3.0: 15.75, 4.0: 31.5, 5.0: 63.0 GB/s with 16 lanes).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """Datasheet figures: FLOP/s, bytes/s, bytes; `source` names the document."""

    name: str
    fp32_flops_per_s: float
    memory_bytes_per_s: float
    memory_bytes: int
    pcie_bytes_per_s: float
    source: str


def _gpu(name: str, tflops: float, gb_per_s: float, gb: int, pcie_gb_per_s: float, source: str) -> Gpu:
    return Gpu(
        name=name,
        fp32_flops_per_s=tflops * 1e12,
        memory_bytes_per_s=gb_per_s * 1e9,
        memory_bytes=gb * 2**30,
        pcie_bytes_per_s=pcie_gb_per_s * 1e9,
        source=source,
    )


GPUS = {
    gpu.name: gpu
    for gpu in (
        # 640 cores × 2 × 1.020 GHz base clock = 1.306 TFLOP/s
        _gpu("GTX 750 Ti", 1.306, 86.4, 2, 15.75, "NVIDIA GeForce GTX 750 Ti whitepaper, 2014 (base clock)"),
        # 3584 cores × 2 × 1.582 GHz = 11.34
        _gpu("GTX 1080 Ti", 11.34, 484, 11, 15.75, "NVIDIA GeForce GTX 1080 Ti specifications, 2017"),
        # 4352 cores × 2 × 1.545 GHz = 13.45
        _gpu("RTX 2080 Ti", 13.45, 616, 11, 15.75, "NVIDIA Turing architecture whitepaper, 2018"),
        _gpu("Tesla T4", 8.1, 320, 16, 15.75, "NVIDIA T4 datasheet, 2018"),
        _gpu("Tesla V100 PCIe", 14.0, 900, 16, 15.75, "NVIDIA V100 datasheet, 2017"),
        # 3584 cores × 2 × 1.777 GHz = 12.74
        _gpu("RTX 3060", 12.74, 360, 12, 31.5, "NVIDIA GeForce RTX 3060 specifications, 2021"),
        # 10496 cores × 2 × 1.695 GHz = 35.58
        _gpu("RTX 3090", 35.58, 936, 24, 31.5, "NVIDIA Ampere GA102 architecture whitepaper, 2020"),
        _gpu("A100 PCIe 40 GB", 19.5, 1555, 40, 31.5, "NVIDIA A100 datasheet, 2020"),
        _gpu("L4", 30.3, 300, 24, 31.5, "NVIDIA L4 datasheet, 2023"),
        # 16384 cores × 2 × 2.520 GHz = 82.58
        _gpu("RTX 4090", 82.58, 1008, 24, 31.5, "NVIDIA Ada GPU architecture whitepaper, 2022"),
        _gpu("H100 SXM", 67.0, 3350, 80, 63.0, "NVIDIA H100 datasheet, 2023"),
        # 21760 cores × 2 × 2.407 GHz = 104.8
        _gpu("RTX 5090", 104.8, 1792, 32, 63.0, "NVIDIA RTX Blackwell GPU architecture whitepaper, 2025"),
    )
}
