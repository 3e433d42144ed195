"""The roofline, and the model of a GPU that is not there."""

from __future__ import annotations

import pytest
import sample_runs as samples

from inferbench_lib.records import Case
from inferbench_lib.stats.roofline import Work, flat_roofs, operator_work
from inferbench_lib.studies.cpu_vs_gpu.model import GPUS, IMAGE_BYTES, Gpu, Network, Prediction, break_even, predict
from inferbench_lib.studies.hardware_analysis.bounds import place_network

ROUND = Gpu(
    name="round numbers",
    fp32_flops_per_s=1e12,
    memory_bytes_per_s=1e11,
    memory_bytes=10**9,
    pcie_bytes_per_s=1e10,
    source="none",
)


def network(*operators: tuple[float, float], n_parameters: int = 100) -> Network:
    """A network of operators with so many FLOPs and bytes per image, and all its weights in the first."""
    rows = [{"flops_per_image": flops, "bytes_fixed": 0, "bytes_per_image": n_bytes} for flops, n_bytes in operators]
    rows[0]["bytes_fixed"] = 4 * n_parameters
    return Network(name="small", operators=rows)


@pytest.mark.parametrize(
    ("flops", "bytes_moved", "launch_s", "bound", "seconds"),
    [
        (100e9, 1e9, 0.0, "compute", 1.0),
        (10e9, 10e9, 0.0, "bandwidth", 1.0),
        (100e9, 10e9, 0.0, "compute", 1.0),
        (1e9, 1e8, 2.0, "launch", 2.0),
    ],
)
def test_the_limit_under_which_work_takes_longest_binds(
    flops: float, bytes_moved: float, launch_s: float, bound: str, seconds: float
) -> None:
    """At 100 GFLOP/s and 10 GB/s the ridge is at 10 FLOPs per byte; a launch above both binds."""
    roof = flat_roofs(flops_per_s=100e9, bytes_per_s=10e9, launch_s=launch_s).over(Work(flops=flops, bytes=bytes_moved))
    assert (roof.bound, roof.seconds) == (bound, seconds)


def test_weights_count_once_per_batch_and_activations_per_image() -> None:
    """Three images: three times the FLOPs and activations, the weights once."""
    rows = [{"flops_per_image": 5, "bytes_fixed": 100, "bytes_per_image": 7}]
    assert operator_work(rows, 3) == [Work(flops=15, bytes=121)]


def test_a_whole_network_is_placed_by_its_sums() -> None:
    """Two seconds for what the roof allows in one is half of it; two launches of 3 s above both are named."""
    limits = {
        "gemm": [{"dtype": "fp32", "limit": {"value": 100.0}}, {"dtype": "bf16", "limit": {"value": 900.0}}],
        "memory": {"limit": {"value": 10.0}},
        "calls": {"torch operator": {"value": 1e-6}},
    }
    operators = network((60e9, 1e8), (40e9, 1e8)).operators
    cell = samples.cell(Case(workload="cnn-small", batch_size=1), 2.0)
    point = place_network("cnn-small", cell, operators, limits)
    assert point is not None
    assert (point.roof_share, point.roof.bound, point.bound) == (pytest.approx(0.5, rel=0.01), "compute", "compute")
    slow = place_network("cnn-small", cell, operators, limits | {"calls": {"torch operator": {"value": 3.0}}})
    assert slow is not None
    assert (slow.roof_share, slow.roof.bound) == (pytest.approx(0.5, rel=0.01), "launch")
    assert place_network("cnn-small", samples.wrong(cell), operators, limits) is None


def test_the_model_adds_what_binds_each_operator() -> None:
    """One operator bound by compute, one by traffic, one by its launch, and the images' transfer, by hand."""
    images_s = IMAGE_BYTES / 1e10
    band = predict(network((1e12, 1e9), (1e3, 1e11), (1e3, 1e3)), 1, ROUND)
    assert band.low_s == pytest.approx(1 / 0.85 + 1 / 0.9 + 4e-6 + images_s / 0.85)
    assert band.high_s == pytest.approx(1 / 0.35 + 1 / 0.6 + 20e-6 + images_s / 0.3)
    assert (band.low_per_s, band.high_per_s) == (1 / band.high_s, 1 / band.low_s)
    assert (band.device, band.fits) == ("round numbers", False)
    assert predict(network((1e3, 1e3)), 1, ROUND).fits


def test_a_measured_time_is_held_by_the_band_or_lies_outside_by_a_factor() -> None:
    """Inside the factor is 1; twice the slow end is 2, half the fast end is a half."""
    band = Prediction(network="small", device="card", batch_size=1, low_s=1.0, high_s=3.0, fits=True)
    assert [band.factor_outside(s) for s in (0.5, 1.0, 2.0, 6.0)] == [0.5, 1.0, 1.0, 2.0]


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
    """100 floats of weights; of two layers the one with 80 bytes in and out; 49,152 bytes per image of the batch."""
    need = network((0, 80), (0, 40))
    assert (need.weight_bytes, need.image_bytes) == (400.0, 49_232.0)
    assert need.counted_bytes(2) == 400 + 2 * 49_232
    assert need.card_bytes(2) == pytest.approx(500e6 + 1.1 * (400 + 2 * 49_232))


def test_the_largest_batch_just_fits() -> None:
    """One more would not; and a card that the allowance fills holds none."""
    need = network((0, 950_848), n_parameters=25_000_000)
    batch = need.largest_batch(2e9)
    assert need.card_bytes(batch) <= 2e9 < need.card_bytes(batch + 1)
    assert need.largest_batch(5e8) == 0


def bands(here_s: dict[int, float], low_s: float, high_s: float) -> list[Prediction]:
    """The same band at every batch size."""
    return [
        Prediction(network="small", device="card", batch_size=batch, low_s=low_s, high_s=high_s, fits=True)
        for batch in here_s
    ]


def test_a_device_breaks_even_where_it_is_faster() -> None:
    """10 ms per image here, 12 to 30 ms per batch there: from batch 2 at best, 4 at worst; 5 images pay the weights."""
    here = {1: 0.010, 2: 0.020, 4: 0.040}
    weights = network((0, 80), n_parameters=9_375_000)  # 37.5 MB over 3 GB/s: 12.5 ms
    found = break_even(ROUND, weights, here_s=here, there=bands(here, 0.012, 0.030))
    assert (found.early_batch, found.late_batch) == (2, 4)
    assert found.late_images == 5  # 12.5 ms over (40 − 30) / 4 ms per image
    slow = break_even(ROUND, weights, here_s=here, there=bands(here, 1.0, 2.0))
    assert (slow.early_batch, slow.late_batch, slow.late_images) == (None, None, None)
