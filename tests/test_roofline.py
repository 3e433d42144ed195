"""The roofline and the model of a device that is not there."""

from __future__ import annotations

import pytest

from inferbench_lib.analysis.gpus import GPUS, Gpu
from inferbench_lib.analysis.roofline import Operation, attainable_flops_per_s, device_model, place

ROUND = Gpu(
    name="round numbers",
    fp32_flops_per_s=1e12,
    memory_bytes_per_s=1e11,
    memory_bytes=10**9,
    pcie_bytes_per_s=1e10,
    source="none",
)


def test_the_roof_is_the_lower_of_peak_and_bandwidth() -> None:
    """At 100 GFLOP/s and 10 GB/s the ridge lies at 10 FLOPs a byte."""
    assert attainable_flops_per_s(5, 100e9, 10e9) == 50e9
    assert attainable_flops_per_s(10, 100e9, 10e9) == 100e9
    assert attainable_flops_per_s(50, 100e9, 10e9) == 100e9


@pytest.mark.parametrize(
    ("flops", "bytes_moved", "overhead_s", "bound", "share"),
    [
        (100e9, 1e9, 0.0, "compute", 0.5),
        (10e9, 10e9, 0.0, "bandwidth", 0.5),
        (1e9, 1e8, 1.0, "overhead", 0.005),
    ],
)
def test_what_takes_longest_at_the_ceilings_binds(
    flops: float, bytes_moved: float, overhead_s: float, bound: str, share: float
) -> None:
    """Two seconds for what the roof allows in one is half of it; fixed cost above both is named."""
    point = place(
        flops=flops,
        bytes_moved=bytes_moved,
        seconds=2.0,
        peak_flops_per_s=100e9,
        bytes_per_s=10e9,
        overhead_s=overhead_s,
    )
    assert point.bound == bound
    assert point.share == pytest.approx(share)
    assert point.reached_flops_per_s == flops / 2
    assert point.intensity_flops_per_byte == flops / bytes_moved


def test_a_point_without_time_is_refused() -> None:
    """Zero seconds raise by name."""
    with pytest.raises(ValueError, match=r"^place: expected seconds above 0, got 0\.0$"):
        place(flops=1.0, bytes_moved=1.0, seconds=0.0, peak_flops_per_s=1.0, bytes_per_s=1.0)


def test_the_model_adds_what_binds_each_operator() -> None:
    """One operator bound by compute, one by traffic, one by its launches, and the transfer, by hand."""
    operations = [
        Operation(name="conv", flops=1e12, bytes=1e9),
        Operation(name="copy", flops=1e3, bytes=1e11),
        Operation(name="tiny", flops=1e3, bytes=1e3, launches=1000),
    ]
    band = device_model(operations, ROUND, transfer_bytes=1e10, memory_bytes=2e9)
    assert band.low_s == pytest.approx(1 / 0.85 + 1 / 0.9 + 0.004 + 1 / 0.85)
    assert band.high_s == pytest.approx(1 / 0.35 + 1 / 0.6 + 0.02 + 1 / 0.3)
    assert (band.device, band.bound, band.fits, band.tag) == ("round numbers", "compute", False, "MODEL")


def test_many_tiny_operators_are_bound_by_their_launches() -> None:
    """A thousand operators of a thousand FLOPs cost their launches."""
    band = device_model([Operation(name="tiny", flops=1e3, bytes=1e3)] * 1000, ROUND)
    assert (band.bound, band.fits) == ("overhead", True)
    assert (band.low_s, band.high_s) == (pytest.approx(0.004), pytest.approx(0.02))


def test_the_reference_card_stands_in_the_table() -> None:
    """GTX 750 Ti: 640 cores × 2 × 1.02 GHz, 5.4 GHz × 128 bit, 2 GB, as its whitepaper says."""
    card = GPUS["GTX 750 Ti"]
    assert card.fp32_flops_per_s == pytest.approx(640 * 2 * 1.02e9, rel=1e-3)
    assert card.memory_bytes_per_s == pytest.approx(5.4e9 * 128 / 8)
    assert card.memory_bytes == 2 * 2**30


def test_every_card_cites_its_document_without_an_address() -> None:
    """At least eight cards, each with figures above 0 and a source that is no URL."""
    assert len(GPUS) >= 8
    for gpu in GPUS.values():
        assert min(gpu.fp32_flops_per_s, gpu.memory_bytes_per_s, gpu.memory_bytes, gpu.pcie_bytes_per_s) > 0
        assert gpu.source.startswith("NVIDIA ")
        assert "//" not in gpu.source
