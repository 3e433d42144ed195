"""The accelerator path below a run: finding a device, its clock, its memory. In virtual time, so to the nanosecond."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import astuple

import numpy as np
import pytest
import torch
from simulated_device import NAME, SimulatedDevice
from simulated_device.ready import ready_device

from inferbench_lib.errors import MeasurementError, NotAvailable
from inferbench_lib.measure.device_passes import launch_bound_share, memory
from inferbench_lib.records import Case, Outcome
from inferbench_lib.timing import accelerator as accelerators
from inferbench_lib.timing.accelerator import (
    BACKENDS,
    Accelerator,
    Backend,
    device_failure,
    find_accelerator,
    require_accelerator,
)
from inferbench_lib.timing.cell import Cell
from inferbench_lib.timing.clock import EventClock, WallClock
from inferbench_lib.timing.nvml import Gpu
from inferbench_lib.work.base import Runner

LAUNCH_NS, EVENT_NS, OP_NS = 50, 3, 7_000


@pytest.fixture
def device() -> Iterator[SimulatedDevice]:
    with ready_device() as ready:
        ready.configure(op_cost_ns=OP_NS, launch_ns=LAUNCH_NS, event_ns=EVENT_NS, segment_bytes=100, total_bytes=4_096)
        yield ready


@pytest.fixture
def accelerator(device: SimulatedDevice) -> Accelerator:
    return Accelerator(NAME, read_ns=device.read_ns)


def ns(seconds: float) -> int:
    """Whole nanoseconds: what virtual time counts in."""
    return round(seconds * 1e9)


# ---- the clock ----------------------------------------------------------------------------------------------------


def test_the_clock_measures_its_call_alone_from_a_dirty_start(
    device: SimulatedDevice, accelerator: Accelerator
) -> None:
    """Work queued before, on this stream and on another, is in none of the three times."""
    x = torch.empty(2, device=NAME)
    clock = accelerator.clock()
    device.occupy(1_000_000)
    side = torch.Stream(NAME)
    device.occupy(3_000_000, side)
    clock.start()
    assert side.query()
    torch.relu(torch.relu(x))
    seconds = clock.stop()
    beside = clock.side_series()
    assert ns(seconds) == LAUNCH_NS + 2 * OP_NS
    assert [ns(value) for value in beside["enqueue_s"]] == [2 * EVENT_NS + 2 * LAUNCH_NS]


def test_the_clock_follows_the_current_stream(device: SimulatedDevice, accelerator: Accelerator) -> None:
    """A call on a stream of its own is measured there, not on the default stream."""
    x = torch.empty(2, device=NAME)
    clock = accelerator.clock()
    with torch.Stream(NAME):
        clock.start()
        torch.relu(x)
        assert ns(clock.stop()) == LAUNCH_NS + OP_NS


def test_the_clock_keeps_one_value_a_sample_and_hands_them_over_once(
    device: SimulatedDevice, accelerator: Accelerator
) -> None:
    """Side series grow with the samples and are empty after they were read."""
    x = torch.empty(2, device=NAME)
    clock = accelerator.clock()
    for _ in range(3):
        clock.start()
        torch.relu(x)
        clock.stop()
    assert {name: len(values) for name, values in clock.side_series().items()} == {"enqueue_s": 3}
    assert clock.side_series() == {"enqueue_s": ()}


def test_a_host_clock_that_runs_backwards_is_refused(device: SimulatedDevice, accelerator: Accelerator) -> None:
    """Readings that fall raise, with the readings in the message."""
    torch.empty(2, device=NAME)
    readings = iter([100, 90, 120])
    clock = EventClock(accelerator.device, accelerator.synchronize, lambda: next(readings))
    clock.start()
    with pytest.raises(MeasurementError) as raised:
        clock.stop()
    assert str(raised.value) == (
        "clock: expected times that never run backwards, got host readings of 100, 90 and 120 ns and "
        "3e-09 s between two events; measure with time.perf_counter_ns, which is monotonic"
    )


def test_without_events_the_clock_is_the_wall_with_the_device_idle_at_both_ends(device: SimulatedDevice) -> None:
    """A backend without events (MPS) is timed from idle to idle: launches included, earlier work not."""
    accelerator = Accelerator(NAME, backend=BACKENDS["mps"], read_ns=device.read_ns)
    x = torch.empty(2, device=NAME)
    clock = accelerator.clock()
    assert isinstance(clock, WallClock)
    device.occupy(1_000_000)
    clock.start()
    torch.relu(x)
    assert ns(clock.stop()) == LAUNCH_NS + OP_NS
    assert clock.side_series() == {}


def test_a_call_is_launch_bound_when_enqueueing_takes_as_long_as_running() -> None:
    """At equality too; not when the device takes longer."""
    cell = Cell(case=Case(workload="x", batch_size=1), samples_s=[1e-6, 1e-6, 2e-6, 2e-6])
    cell.series["enqueue_s"] = [2e-6, 1e-6, 1e-6, 3e-6]
    assert launch_bound_share(cell) == 0.75


def test_host_times_come_from_the_monotonic_wall_clock(device: SimulatedDevice) -> None:
    """Unless a test gives another, every accelerator reads time.perf_counter_ns: wall time, not CPU time."""
    found = find_accelerator().accelerator
    assert found is not None
    for each in (found, Accelerator(NAME), Accelerator()):
        assert each.read_ns is time.perf_counter_ns


# ---- finding it ---------------------------------------------------------------------------------------------------


def test_the_accelerator_is_found_and_says_its_name(device: SimulatedDevice) -> None:
    """auto takes the one that torch has; a name takes that one; an unknown kind counts as an out-of-tree device."""
    for name in ("auto", NAME, f"{NAME}:0"):
        found = find_accelerator(name).accelerator
        assert isinstance(found, Accelerator)
        assert found.device == f"{NAME}:0"
        assert found.backend is accelerators.OUT_OF_TREE
        assert found.description() == "SIMULATED device (virtual time) (simgpu:0)"
    assert Accelerator(NAME, backend=Backend()).description() == f"{NAME}:0"
    assert Accelerator("cuda:1").device == "cuda:1"
    assert Accelerator("cuda").backend is BACKENDS["cuda"]


def test_what_each_backend_offers_is_written_down() -> None:
    """CUDA and out-of-tree devices time by events, XPU too; MPS does not; the CPU is no device and offers nothing."""
    assert all(astuple(BACKENDS["cuda"]))
    assert not any(astuple(BACKENDS["cpu"]))
    assert [name for name, backend in BACKENDS.items() if backend.events] == ["cuda", "xpu"]
    assert [name for name, backend in BACKENDS.items() if backend.memory_statistics] == ["cuda", "xpu"]
    assert BACKENDS["xpu"] == accelerators.OUT_OF_TREE


def test_a_device_that_torch_does_not_know_is_named_in_the_reason(device: SimulatedDevice) -> None:
    """Asking for another device gives the ones there are."""
    assert find_accelerator("cuda:3").reason == (
        "no accelerator: expected auto, cpu or one of simgpu, simgpu:0, got cuda:3; "
        f"torch {torch.__version__} on this machine knows no other"
    )


def test_a_build_without_its_device_says_that_device_or_driver_is_absent(device: SimulatedDevice) -> None:
    """A torch built for a device on a machine without one: a reason, not an error."""
    device.present = False
    assert find_accelerator() == accelerators.Found(
        accelerator=None,
        reason=f"no accelerator: torch {torch.__version__} is built for simgpu, but no simgpu device or driver "
        "was found; check the driver and which devices this process may see",
    )


def test_a_cpu_build_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a GPU the reason names the build to install; requiring one raises with the same words."""
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: None)
    gpus = (Gpu(name="Example GPU", driver="1"),)
    monkeypatch.setattr(accelerators, "find_gpus", lambda: (gpus, ""))
    build = f"torch {torch.__version__} is a CPU build"
    reason = f"no accelerator: {build}; install a CUDA build of torch to measure the Example GPU"
    assert find_accelerator() == accelerators.Found(accelerator=None, reason=reason)
    with pytest.raises(NotAvailable) as raised:
        require_accelerator()
    assert str(raised.value) == reason


def test_without_a_gpu_nothing_is_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without a GPU a CPU build of torch lacks nothing."""
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: None)
    monkeypatch.setattr(accelerators, "find_gpus", lambda: ((), "the NVIDIA driver lists no GPU"))
    assert find_accelerator().reason == (
        f"no accelerator: no GPU was found; torch {torch.__version__} is a CPU build, and the NVIDIA driver lists none"
    )


def test_asking_for_the_cpu_finds_no_accelerator() -> None:
    """device: cpu is an answer, not a lack."""
    assert find_accelerator("cpu").reason == "no accelerator: the device asked for is the CPU"


@pytest.fixture
def math_settings() -> Iterator[None]:
    """cuDNN's search on, TF32 for matrices only; put back by hand, for __getattr__ answers and monkeypatch cannot."""
    convolution = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    matmul = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    yield
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.conv.fp32_precision = convolution  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = matmul


def test_math_settings_are_recorded_where_they_apply(math_settings: None) -> None:
    """TF32 and cuDNN settings go with CUDA devices only, as torch has them at that moment."""
    assert accelerators.math_settings(BACKENDS["cpu"]) == {}
    assert accelerators.math_settings(BACKENDS["cuda"]) == {
        "cudnn_benchmark": "True",
        "cudnn_deterministic": "False",
        "tf32_convolution": "False",
        "tf32_matmul": "True",
    }


# ---- memory -------------------------------------------------------------------------------------------------------


def test_peaks_are_those_since_the_reset(device: SimulatedDevice, accelerator: Accelerator) -> None:
    """Earlier peaks and cached memory are forgotten; what tensors still hold is the baseline."""
    kept = torch.empty(40, dtype=torch.uint8, device=NAME)
    torch.empty(2_000, dtype=torch.uint8, device=NAME)
    cell = Cell(case=Case(workload="x", batch_size=1))
    call = Runner(run=lambda _: torch.empty(130, dtype=torch.uint8, device=NAME))
    memory(cell, accelerator, call, np.zeros(1))
    assert cell.figures == {"peak_allocated_bytes": 170, "peak_reserved_bytes": 200}
    del kept


def test_a_memory_cap_makes_a_large_batch_fail(device: SimulatedDevice, accelerator: Accelerator) -> None:
    """A cap of 1 KiB lets 1,000 bytes through and not 1,001 (memory is held in segments of 100); a larger one than
    the device has, changes nothing."""
    accelerator.cap_memory(1_024)
    torch.empty(1_000, dtype=torch.uint8, device=NAME)
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(1_001, dtype=torch.uint8, device=NAME)
    accelerator.cap_memory(1 << 40)
    torch.empty(4_000, dtype=torch.uint8, device=NAME)


def test_emptying_the_cache_waits_for_the_device(device: SimulatedDevice, accelerator: Accelerator) -> None:
    """Cached memory goes back once the queue is empty; on the CPU there is nothing to do."""
    torch.empty(500, dtype=torch.uint8, device=NAME)
    device.occupy(1_000)
    accelerator.empty_cache()
    assert device.read_ns() == 1_000
    assert torch.accelerator.memory_reserved() == 0
    Accelerator().empty_cache()


def test_what_a_backend_lacks_is_refused_by_name() -> None:
    """No cap on the CPU: an error that says what to do."""
    with pytest.raises(NotAvailable) as raised:
        Accelerator().cap_memory(1_024)
    assert str(raised.value) == (
        "memory cap: expected a device whose memory can be capped, got cpu; "
        "leave the cap out to measure it with all its memory"
    )


def test_running_out_of_memory_is_told_from_other_errors() -> None:
    """The device's error, Python's and the CPU allocator's count; other runtime errors do not."""
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60)
    for error in (raised.value, MemoryError(), torch.OutOfMemoryError("simgpu")):
        assert device_failure(error, "cpu") == (Outcome.OOM, f"out of memory on cpu: {error}")
    for other in (RuntimeError("shape mismatch"), ValueError("DefaultCPUAllocator: can't allocate memory")):
        assert device_failure(other, "cpu") is None
