"""The simulated device itself: a yardstick must be exact before anything is measured with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from simulated_device import NAME, SimulatedDevice
from simulated_device.autoload import environment
from simulated_device.build import NoCompiler, compiler
from simulated_device.ready import ready_device


@pytest.fixture
def device() -> Iterator[SimulatedDevice]:
    with ready_device() as ready:
        yield ready


def test_the_host_goes_on_while_the_device_works(device: SimulatedDevice) -> None:
    """Enqueueing costs the host the launch alone; synchronizing takes it to the end of the queued work."""
    device.configure(op_cost_ns=1_000, launch_ns=10)
    x = torch.empty(2, device=NAME)
    torch.relu(torch.relu(x))
    assert device.read_ns() == 20
    torch.accelerator.synchronize()
    assert device.read_ns() == 10 + 1_000 + 1_000
    assert device.operations == 2


def test_work_that_is_shorter_than_its_launch_leaves_the_device_idle(device: SimulatedDevice) -> None:
    """An operation starts when it is launched and its stream is free, whichever is later."""
    device.configure(op_cost_ns=4, launch_ns=10)
    x = torch.empty(2, device=NAME)
    torch.relu(torch.relu(x))
    torch.accelerator.synchronize()
    assert device.read_ns() == 10 + 10 + 4


def test_a_script_charges_by_operation_and_shape(device: SimulatedDevice) -> None:
    """The cost hook sees each operation's name and the shapes of its inputs."""
    seen: list[tuple[str, list[list[int]]]] = []

    def cost_ns(name: str, shapes: list[list[int]]) -> int:
        seen.append((name, shapes))
        return 100 * shapes[0][0]

    device.configure(op_cost_ns=cost_ns)
    torch.relu(torch.empty(3, 2, device=NAME))
    torch.accelerator.synchronize()
    assert seen == [("aten::relu", [[3, 2]])]
    assert device.read_ns() == 300


def test_streams_run_side_by_side_and_events_join_them(device: SimulatedDevice) -> None:
    """Each stream has a clock of its own; waiting for an event carries one stream's clock to another."""
    device.configure(op_cost_ns=100)
    x = torch.empty(1, device=NAME)
    side = torch.Stream(NAME)
    device.occupy(1_000, side)
    event = side.record_event()
    torch.relu(x)
    torch.accelerator.current_stream().synchronize()
    assert device.read_ns() == 100
    assert not event.query()
    torch.accelerator.current_stream().wait_event(event)
    torch.relu(x)
    torch.accelerator.synchronize()
    assert device.read_ns() == 1_100


def test_operations_run_on_the_current_stream(device: SimulatedDevice) -> None:
    """Entering a stream sends operations there."""
    device.configure(op_cost_ns=100)
    x = torch.empty(1, device=NAME)
    side = torch.Stream(NAME)
    with side:
        torch.relu(x)
    assert torch.accelerator.current_stream().query()
    assert not side.query()


def test_events_give_device_time_once_they_are_complete(device: SimulatedDevice) -> None:
    """Elapsed time is asked for too early: torch's own error; after synchronizing: milliseconds, exactly."""
    device.configure(op_cost_ns=1_500_000, event_ns=7)
    begin, end = (torch.Event(NAME, enable_timing=True) for _ in range(2))
    x = torch.empty(1, device=NAME)
    begin.record()
    torch.relu(x)
    end.record()
    with pytest.raises(RuntimeError, match=r"^Both events must be completed before calculating elapsed time\."):
        begin.elapsed_time(end)
    torch.accelerator.synchronize()
    assert begin.elapsed_time(end) == 1.5
    assert device.read_ns() == 7 + 1_500_000


@pytest.mark.parametrize(("pinned", "non_blocking", "host_ns"), [(0, 0, 43), (0, 1, 43), (1, 0, 19), (1, 1, 3)])
def test_only_copies_from_pinned_memory_leave_the_host_free(
    device: SimulatedDevice, pinned: bool, non_blocking: bool, host_ns: int
) -> None:
    """A copy of 8 bytes costs its rate; the host waits for it unless the memory is pinned and waiting was waived."""
    device.configure(launch_ns=3, pageable_ns_per_byte=5, pinned_ns_per_byte=2)
    source = torch.tensor([1.0, 2.0])
    source = source.pin_memory() if pinned else source
    target = torch.empty(2, device=NAME)
    target.copy_(source, non_blocking=bool(non_blocking))
    assert device.read_ns() == host_ns
    torch.accelerator.synchronize()
    assert device.read_ns() == 3 + 8 * (2 if pinned else 5)
    assert target.tolist() == [1.0, 2.0]


def test_reading_a_value_waits_for_it(device: SimulatedDevice) -> None:
    """`item()` takes the host to the end of the queued work."""
    device.configure(op_cost_ns=100)
    assert torch.relu(torch.ones(1).to(NAME)).item() == 1.0
    assert device.read_ns() == 100


def test_the_first_touch_the_first_call_and_a_first_shape_cost_extra(device: SimulatedDevice) -> None:
    """Context, loading and autotuning are charged once each: at first touch, first operation, first use of a shape."""
    device.configure(op_cost_ns=100, context_ns=10_000, first_call_ns=2_000, autotune_ns=300)
    stamps = [device.read_ns()]

    def stamp() -> None:
        torch.accelerator.synchronize()
        stamps.append(device.read_ns())

    x, y = torch.empty(1, device=NAME), torch.empty(2, device=NAME)
    stamp()
    for tensor in (x, x, y, y):
        torch.relu(tensor)
        stamp()
    steps = [after - before for before, after in pairwise(stamps)]
    assert steps == [10_000, 2_000 + 300 + 100, 100, 300 + 100, 100]


def test_the_clock_ramps_up_with_work(device: SimulatedDevice) -> None:
    """Until the device has worked for `ramp_ns`, operations take `ramp_factor` times as long."""
    device.configure(op_cost_ns=100, ramp_ns=500, ramp_factor=3)
    x = torch.empty(1, device=NAME)
    stamps = [0]
    for _ in range(4):
        torch.relu(x)
        torch.accelerator.synchronize()
        stamps.append(device.read_ns())
    assert [after - before for before, after in pairwise(stamps)] == [300, 300, 100, 100]


def test_memory_is_counted_as_torch_counts_it(device: SimulatedDevice) -> None:
    """Allocated follows the tensors, reserved grows in segments and falls in `empty_cache`; peaks stay until reset."""
    device.configure(segment_bytes=100, total_bytes=1_000)
    x = torch.empty(40, dtype=torch.uint8, device=NAME)
    y = torch.empty(130, dtype=torch.uint8, device=NAME)
    del y
    accelerator = torch.accelerator
    assert (accelerator.memory_allocated(), accelerator.max_memory_allocated()) == (40, 170)
    assert (accelerator.memory_reserved(), accelerator.max_memory_reserved()) == (200, 200)
    assert accelerator.get_memory_info() == (800, 1_000)
    accelerator.empty_cache()
    accelerator.reset_peak_memory_stats()
    assert (accelerator.max_memory_allocated(), accelerator.max_memory_reserved()) == (40, 100)
    del x


def test_a_batch_beyond_the_memory_raises_torchs_own_error(device: SimulatedDevice) -> None:
    """The cap raises torch.OutOfMemoryError and leaves the device usable."""
    device.configure(total_bytes=1_000)
    torch.get_device_module(NAME).set_per_process_memory_fraction(0.5)
    expected = "simgpu out of memory. Tried to allocate 501 bytes; 500 bytes of 500 are free."
    with pytest.raises(torch.OutOfMemoryError) as raised:
        torch.empty(501, dtype=torch.uint8, device=NAME)
    assert str(raised.value) == expected
    torch.empty(500, dtype=torch.uint8, device=NAME)


def test_the_device_can_be_lost(device: SimulatedDevice) -> None:
    """After `fail_after` operations every further one raises torch.AcceleratorError."""
    device.configure(fail_after=1)
    x = torch.empty(1, device=NAME)
    torch.relu(x)
    for _ in range(2):
        with pytest.raises(torch.AcceleratorError, match=r"^simulated device lost"):
            torch.relu(x)


def test_a_network_gives_the_same_output_as_on_the_cpu(device: SimulatedDevice) -> None:
    """Convolution, activation, pooling, linear layer and dropout: computed by the CPU, so equal to the last bit."""
    layers = [torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(64, 5), torch.nn.Dropout()).eval()
    images = torch.randn(4, 3, 8, 8)
    with torch.inference_mode():
        expected = network(images)
        output = network.to(NAME)(images.to(NAME))
    assert output.device.type == NAME
    assert torch.equal(output.cpu(), expected)


def test_without_a_compiler_the_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """No compiler on the path: an error that says what was looked for and how to get it."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(NoCompiler) as raised:
        compiler()
    assert str(raised.value) == (
        "simulated device: expected a C++ compiler ($CXX, c++, g++ or clang++), found none; "
        "install one (Debian: apt install g++) to test the accelerator path"
    )


def test_another_process_finds_the_device_by_itself(device: SimulatedDevice, tmp_path: Path) -> None:
    """With the entry point on its path, `import torch` brings the device, and the host's clock follows its time."""
    script = {"op_cost_ns": 3_600 * 10**9, "total_bytes": 1 << 20}  # an hour a call: no real time comes near it
    program = (
        "import torch\n"
        "from inferbench_lib.timing.accelerator import require_accelerator, wall_clock\n"
        "found = require_accelerator()\n"
        "clock, x = wall_clock(found), torch.ones(2).to(found.device)\n"
        "clock.start()\n"
        "torch.relu(x)\n"
        "print(found.description(), round(clock.stop() / 3_600, 3))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment(tmp_path / "site", script),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "SIMULATED device (virtual time) (simgpu:0) 1.0\n"
