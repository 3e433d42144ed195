"""The roofline and the model of a device that is not there."""

from __future__ import annotations

import pytest

from inferbench_lib.studies.cpu_vs_gpu.gpu_model import MemoryNeed, break_even, memory_need
from inferbench_lib.studies.cpu_vs_gpu.gpus import GPUS, Gpu
from inferbench_lib.studies.hardware_analysis.roofline import Operation, attainable_flops_per_s, device_model, place

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


def test_lanes_carry_what_the_bus_allows() -> None:
    """16 lanes of 8, 16 and 32 GT/s, 128 bits of 130: 15.75, 31.5 and 63.0 GB/s in one direction."""
    rates = [GPUS[name].pcie_bytes_per_s / 1e9 for name in ("GTX 750 Ti", "L4", "RTX 5090")]
    assert rates == [pytest.approx(15.75, abs=0.01), pytest.approx(31.5, abs=0.01), pytest.approx(63.0, abs=0.02)]


def test_memory_is_weights_and_the_largest_pair() -> None:
    """100 floats of weights; of two layers the one with 80 bytes in and out; 49,152 bytes an image of the batch."""
    need = memory_need("small", 100, [{"bytes_per_image": 80}, {"bytes_per_image": 40}])
    assert (need.weight_bytes, need.image_bytes) == (400.0, 49_232.0)
    assert need.counted(2) == 400 + 2 * 49_232
    assert need.with_allowance(2) == pytest.approx(500e6 + 1.1 * (400 + 2 * 49_232))


def test_the_largest_batch_just_fits() -> None:
    """One more would not; and a card that the allowance fills holds none."""
    need = MemoryNeed(size="small", weight_bytes=1e8, image_bytes=1e6)
    batch = need.largest_batch(2e9)
    assert need.with_allowance(batch) <= 2e9 < need.with_allowance(batch + 1)
    assert need.largest_batch(5e8) == 0


def test_a_device_breaks_even_where_it_is_faster() -> None:
    """10 ms an image here, 12 to 30 ms a batch there: from batch 2 at best, 4 at worst; 5 images pay the weights."""
    here = {1: 0.010, 2: 0.020, 4: 0.040}
    found = break_even("card", "small", here_s=here, there_s=dict.fromkeys(here, (0.012, 0.030)), weights_s=0.0125)
    assert (found.early_batch, found.late_batch) == (2, 4)
    assert found.late_images == 5  # 12.5 ms over (40 − 30) / 4 ms an image
    assert found.late_bytes == 5 * 49_152
    slow = break_even("card", "small", here_s=here, there_s=dict.fromkeys(here, (1.0, 2.0)), weights_s=0.01)
    assert (slow.early_batch, slow.late_batch, slow.late_images, slow.late_bytes) == (None, None, None, None)
