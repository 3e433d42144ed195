"""The limits of a device: exact on the simulated one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from simulated_device import NAME, Shapes, SimulatedDevice
from simulated_device.autoload import environment
from simulated_device.build import build
from simulated_device.ready import ready_device

from inferbench_lib.errors import WrongOutput
from inferbench_lib.machine import device as device_module
from inferbench_lib.machine.device import DeviceGemm, DeviceLimits, device_limits, limits_of
from inferbench_lib.machine.limit import Limit, call_in_a_process
from inferbench_lib.timing.accelerator import Accelerator

MIB = 1 << 20
LAUNCH_NS = 10
NS_PER_MM = {256: 1_000_000, 512: 8_000_000}  # 33.6 GFLOP/s, whatever the precision


@pytest.fixture
def device() -> Iterator[SimulatedDevice]:
    def cost_ns(name: str, shapes: Shapes) -> int:
        return {"aten::mm": lambda: NS_PER_MM[shapes[0][0]], "aten::copy_": lambda: 4 * shapes[0][0]}.get(
            name, lambda: 100
        )()

    with ready_device() as ready:
        ready.configure(op_cost_ns=cost_ns, launch_ns=LAUNCH_NS, pageable_ns_per_byte=5, pinned_ns_per_byte=2)
        yield ready


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "SMALLEST", 256)


def measured(device: SimulatedDevice, **arguments: Any) -> DeviceLimits:
    """Two rounds of everything, small."""
    accelerator = Accelerator(NAME, read_ns=device.read_ns)
    usual: dict[str, Any] = {"dtypes": ("fp32", "bf16"), "copy_bytes": MIB, "transfer_bytes": (4096,), "largest": 512}
    return device_limits(accelerator, budget_s=0.0, now_s=lambda: device.read_ns() / 1e9, **usual | arguments)


def rate(value: float, unit: str) -> Limit:
    return Limit(value=value, low=value, high=value, unit=unit, repeats=2)


def rounded(limit: Limit) -> Limit:
    return replace(limit, value=round(limit.value, 9), low=round(limit.low, 9), high=round(limit.high, 9))


def test_every_limit_of_a_device_is_exact(device: SimulatedDevice) -> None:
    """Products at the size that takes 5 ms; copies by bytes read and written; transfers by kind of memory."""
    found = measured(device)
    gemm = rate(round(2 * 512**3 / (8e6 + LAUNCH_NS), 9), "GFLOP/s")
    assert found.device == "SIMULATED device (virtual time) (simgpu:0)"
    assert [replace(one, limit=rounded(one.limit)) for one in found.gemm] == [
        DeviceGemm(dtype="fp32", n=512, limit=gemm),
        DeviceGemm(dtype="bf16", n=512, limit=gemm),
    ]
    # half a MiB to another half: 4 ns an element of 4 bytes, each read and written
    copied = rate(round(MIB / (MIB / 2 + LAUNCH_NS), 9), "GB/s")
    assert rounded(found.memory_copy) == copied
    assert [(one.direction, one.is_pinned, one.size_bytes) for one in found.transfers] == [
        ("host to device", False, 4096), ("host to device", True, 4096),
        ("device to host", False, 4096), ("device to host", True, 4096),
    ]  # fmt: skip
    pageable, pinned = (round(4096 / (4096 * ns + LAUNCH_NS), 9) for ns in (5, 2))
    assert [round(one.limit.value, 9) for one in found.transfers] == [pageable, pinned, pageable, pinned]
    # a thousand additions of 100 ns, queued faster than they run: the first launch shows
    assert found.launch.value == pytest.approx((1000 * 100 + LAUNCH_NS) / 1000 / 1e9, rel=1e-9)
    assert found.not_measured == {}


def test_a_device_without_pinned_memory_has_pageable_transfers_only(device: SimulatedDevice) -> None:
    """What the backend does not offer is not asked of it."""
    accelerator = Accelerator(NAME, read_ns=device.read_ns)
    accelerator.backend = replace(accelerator.backend, pinned_memory=False)
    found = device_limits(accelerator, dtypes=(), copy_bytes=MIB, transfer_bytes=(4096,), budget_s=0.0)
    assert [(one.direction, one.is_pinned) for one in found.transfers] == [
        ("host to device", False),
        ("device to host", False),
    ]


def test_nothing_takes_more_than_an_eighth_of_the_free_memory(device: SimulatedDevice) -> None:
    """A card of 4 MB gets small products, a small copy, and only the transfers that fit."""
    device.configure(op_cost_ns=100, pageable_ns_per_byte=5, pinned_ns_per_byte=2, total_bytes=4_000_000)
    found = measured(device, transfer_bytes=(4096, MIB), dtypes=("fp32",))
    assert [one.n for one in found.gemm] == [256]
    assert {one.size_bytes for one in found.transfers} == {4096}
    assert found.memory_copy.value == pytest.approx(2 * 250_000 / 100)


def test_a_precision_that_the_device_refuses_is_named(device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are measured."""
    mm = torch.mm

    def refuse(a: torch.Tensor, b: torch.Tensor, **fields: torch.Tensor) -> torch.Tensor:
        if a.dtype is torch.bfloat16:
            raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED\nwhen calling cublasGemmEx")
        return mm(a, b, **fields)

    monkeypatch.setattr(torch, "mm", refuse)
    found = measured(device)
    assert [one.dtype for one in found.gemm] == ["fp32"]
    assert found.not_measured == {"bf16": "the device refused: CUBLAS_STATUS_NOT_SUPPORTED"}


def test_a_wrong_copy_is_no_limit(device: SimulatedDevice) -> None:
    """What arrived is looked at."""
    with pytest.raises(WrongOutput) as caught:
        device_module._check_copy(None, torch.tensor([1.0, 2.0]))
    assert str(caught.value) == "copy of 8 bytes: expected 1 as its last element, got 2"


def test_a_process_of_its_own_says_the_same(
    device: SimulatedDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is plain values; a simulated device, for which the CPU computes, gets small products."""
    build()
    for name, value in environment(tmp_path, {"launch_ns": 10, "pageable_ns_per_byte": 5}).items():
        monkeypatch.setenv(name, value)
    found = call_in_a_process(limits_of, "auto", 0.0, timeout_s=90)
    assert found["device"] == "SIMULATED device (virtual time) (simgpu:0)"
    assert {one["n"] for one in found["gemm"]} == {512}
    assert [one["dtype"] for one in found["gemm"]] == list(device_module.DTYPES)
    assert found["launch"]["unit"] == "s"
