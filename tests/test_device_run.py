"""A run on a device, driven in virtual time: every figure it reports equals one worked out by hand.

The device runs one linear layer and one activation a call. Times are in nanoseconds; `EXPECTED` formulas use the
costs below and nothing of the code under test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from simulated_device import NAME, SimulatedDevice
from simulated_device.ready import ready_device
from torch import Tensor, nn

from inferbench_lib.errors import MeasurementError, OutOfMemory
from inferbench_lib.measure.bench import Bench
from inferbench_lib.measure.calls import import_s
from inferbench_lib.measure.device_passes import copy_times
from inferbench_lib.measure.source import Source, WarmUp
from inferbench_lib.records import Case, Measurement, Outcome, Verification
from inferbench_lib.timing.accelerator import Accelerator
from inferbench_lib.timing.cell import Inputs
from inferbench_lib.work.base import Runner
from inferbench_lib.work.engines.torch import fetched, forward
from inferbench_lib.work.outputs import close

LAUNCH, EVENT = 50, 3
LINEAR_PER_ROW, RELU = 7_000, 1_100
CONTEXT, FIRST_CALL, AUTOTUNE = 70_000, 9_000, 500
PAGEABLE, PINNED = 11, 4  # per byte
N_IN, N_OUT, BATCH, N_BATCHES = 5, 3, 4, 3
INPUT_BYTES, OUTPUT_BYTES, MODEL_BYTES = 4 * BATCH * N_IN, 4 * BATCH * N_OUT, 4 * (N_IN * N_OUT + N_OUT)
SEGMENT = 100


def compute(rows: int) -> int:
    return LINEAR_PER_ROW * rows + RELU


def cost_ns(name: str, shapes: list[list[int]]) -> int:
    return {"aten::addmm": LINEAR_PER_ROW * shapes[-1][0], "aten::relu": RELU}[name]


def ns(seconds: Any) -> Any:
    """Whole nanoseconds, also of a series."""
    return round(seconds * 1e9) if isinstance(seconds, float) else [round(value * 1e9) for value in seconds]


SCRIPT: dict[str, Any] = {
    "op_cost_ns": cost_ns,
    "launch_ns": LAUNCH,
    "event_ns": EVENT,
    "context_ns": CONTEXT,
    "first_call_ns": FIRST_CALL,
    "autotune_ns": AUTOTUNE,
    "pageable_ns_per_byte": PAGEABLE,
    "pinned_ns_per_byte": PINNED,
    "segment_bytes": SEGMENT,
}


@pytest.fixture
def device() -> Iterator[SimulatedDevice]:
    with ready_device() as ready:
        ready.configure(**SCRIPT)
        yield ready


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(N_IN, N_OUT), nn.ReLU()).eval()


def case(batch_size: int = BATCH) -> Case:
    return Case(workload="linear", device=NAME, batch_size=batch_size)


def batches(batch_size: int = BATCH) -> list[np.ndarray]:
    """Distinct batches."""
    torch.manual_seed(1)
    return [torch.rand(batch_size, N_IN).numpy() for _ in range(N_BATCHES)]


def check(batch_size: int) -> Callable[[int, np.ndarray], Verification]:
    """Compare with references from the CPU."""
    with torch.inference_mode():
        references = [model()(torch.from_numpy(batch)).numpy() for batch in batches(batch_size)]
    return lambda index, output: close(output, references[index], 1e-6)


Call = Callable[[Tensor], Tensor]


class TorchSource(Source):
    """`load(device)` brings a model there; each cell has three batches, over and over."""

    def __init__(self, accelerator: Accelerator, load: Callable[[str], Call]) -> None:
        self._accelerator, self._load = accelerator, load

    @property
    def accelerator(self) -> Accelerator:
        return self._accelerator

    def to_device(self) -> None:
        self._call = self._load(self._accelerator.device)

    def runner(self, case: Case) -> Runner:
        return Runner(
            run=partial(forward, self._call),
            place=lambda batch: torch.from_numpy(batch).to(self._accelerator.device),
            fetch=fetched,
        )

    def inputs(self, case: Case) -> Inputs:
        return Inputs(batches=cycle(enumerate(batches(case.batch_size))), check=check(case.batch_size))

    def some_batch(self, n_inputs: int) -> np.ndarray:
        return torch.rand(n_inputs, N_IN).numpy()


def bench_on(device: SimulatedDevice, load: Callable[[str], Call] | None = None, **options: Any) -> Bench:
    accelerator = Accelerator(NAME, read_ns=device.read_ns)
    return Bench(TorchSource(accelerator, load or (lambda where: model().to(where))), **options)


def calls(n: int) -> WarmUp:
    """Exactly so many calls of warm-up."""
    return WarmUp(min_calls=n, max_calls=n)


def run(bench: Bench, n_warm: int = 3, turns: tuple[int, ...] = (4,)) -> Measurement:
    """All of it for one cell."""
    bench.start()
    bench.prepare(case(), calls(n_warm))
    for n_samples in turns:
        bench.turn(case(), n_samples)
    return bench.finish(case())


# ---- every figure -------------------------------------------------------------------------------------------------


def test_every_figure_of_a_run_is_exact_from_a_dirty_start(device: SimulatedDevice) -> None:
    """Queued work, work on another stream and raised memory peaks before each step leave no trace in any figure."""
    side = torch.Stream(NAME)
    held: list[Tensor] = []

    def soil() -> None:
        device.occupy(1_000_000)
        device.occupy(5_000_000, side)
        torch.empty(30_000, dtype=torch.uint8, device=NAME)

    bench = bench_on(device)
    startup_s = bench.start()
    soil()
    warmup = bench.prepare(case(), calls(3))
    samples: list[float] = []
    for n_samples in (4, 9):
        soil()
        samples += bench.turn(case(), n_samples)
    soil()
    held.append(torch.empty(60, dtype=torch.uint8, device=NAME))
    seen = bench.finish(case())

    n = 4 + 9
    latency = LAUNCH + compute(BATCH)
    assert {name: ns(value) for name, value in startup_s.items()} == {
        "context_s": CONTEXT,
        "model_to_device_s": 2 * LAUNCH + MODEL_BYTES * PAGEABLE,
    }
    assert seen.startup_s == startup_s
    assert seen.cold_s is not None
    assert ns(seen.cold_s) == FIRST_CALL + LAUNCH + compute(BATCH) + 2 * AUTOTUNE
    assert ns(seen.warmup_s) == ns(warmup) == [latency] * 3
    assert ns(seen.samples_s) == ns(samples) == [latency] * n
    assert seen.round_sizes == (4, 9)
    assert (seen.calls_per_sample, seen.inputs_per_call) == (1, BATCH)

    n_inputs = N_BATCHES * BATCH
    window = LAUNCH + N_BATCHES * compute(BATCH)
    windows, passes = [window, 3 * window - 2 * LAUNCH], [1, 3]
    series = {name: ns(values) for name, values in seen.series.items() if name.endswith("_s")}
    assert series | {"throughput_per_s": None} == {
        "enqueue_s": [2 * EVENT + 2 * LAUNCH] * n,
        "throughput_per_s": None,
        "host_to_device_s": [LAUNCH + INPUT_BYTES * PAGEABLE] * n,
        "host_to_device_pinned_s": [LAUNCH + INPUT_BYTES * PINNED] * n,
        "device_to_host_s": [LAUNCH + OUTPUT_BYTES * PAGEABLE] * n,
        "device_to_host_pinned_s": [LAUNCH + OUTPUT_BYTES * PINNED] * n,
        "end_to_end_s": [2 * LAUNCH + (INPUT_BYTES + OUTPUT_BYTES) * PAGEABLE + compute(BATCH)] * n,
    }
    assert seen.series["throughput_per_s"] == pytest.approx(
        [n_inputs * each * 1e9 / window_ns for each, window_ns in zip(passes, windows, strict=True)], rel=1e-12
    )
    baseline = 60 + MODEL_BYTES + INPUT_BYTES
    peak = baseline + 2 * OUTPUT_BYTES  # the layer's output and the activation's live at once
    assert seen.figures == {
        "launch_bound_share": 0.0,
        "peak_allocated_bytes": peak,
        "peak_reserved_bytes": -(-peak // SEGMENT) * SEGMENT,
    }
    assert seen.outcome is Outcome.OK
    assert seen.verification is not None
    assert seen.verification.passed
    assert seen.notes == {"clock": "EventClock"}


def test_the_model_stays_usable_outside_the_bench(device: SimulatedDevice) -> None:
    """Calls run in inference mode, but the model is moved outside it: its weights are ordinary tensors."""
    network, modes = model(), set[bool]()

    def load(where: str) -> Callable[[Tensor], Tensor]:
        network.to(where)

        def call(batch: Tensor) -> Tensor:
            modes.add(torch.is_inference_mode_enabled())
            output: Tensor = network(batch)
            return output

        return call

    run(bench_on(device, load))
    assert modes == {True}
    assert not any(weight.is_inference() for weight in network.parameters())


def test_a_launch_bound_model_is_told_apart(device: SimulatedDevice) -> None:
    """Where the host needs as long to enqueue as the device to run, every sample says so."""
    device.configure(**SCRIPT | {"op_cost_ns": 1, "launch_ns": 5_000, "event_ns": 10})
    seen = run(bench_on(device))
    assert ns(seen.samples_s) == [2 * 5_000 + 10] * 4  # the end event is recorded after the device went idle
    assert ns(seen.series["enqueue_s"]) == [2 * 5_000 + 2 * 10] * 4
    assert seen.figures["launch_bound_share"] == 1.0


def test_the_clock_ramp_ends_in_the_warm_up(device: SimulatedDevice) -> None:
    """A cold clock makes the first calls slow; they are in the warm-up, and every sample is at full speed."""
    per_call = compute(BATCH)
    device.configure(**SCRIPT | {"ramp_ns": 5 * 3 * per_call, "ramp_factor": 3, "autotune_ns": 0})
    seen = run(bench_on(device), n_warm=8)
    slow, fast = LAUNCH + 3 * per_call, LAUNCH + per_call
    assert ns(seen.warmup_s) == [slow] * 4 + [fast] * 4  # the first of five slow calls is the cold one
    assert ns(seen.samples_s) == [fast] * 4


def test_each_call_gets_another_batch(device: SimulatedDevice) -> None:
    """In every timed path, successive calls run on different inputs: batch 0, 1, 2, 0, ..."""
    known = {batch[0, 0].item(): index for index, batch in enumerate(batches())}
    called: list[int] = []

    def load(where: str) -> Callable[[Tensor], Tensor]:
        network = model().to(where)

        def call(batch: Tensor) -> Tensor:
            called.append(known[batch.cpu()[0, 0].item()])
            output: Tensor = network(batch)
            return output

        return call

    bench = bench_on(device, load)
    bench.start()
    bench.prepare(case(), calls(4))
    assert called == [0, *(0, 1, 2, 0)]
    called.clear()
    bench.turn(case(), 8)
    warm, latency, window = [0, 1, 2], [0, 1, 2, 0, 1, 2, 0, 1], [0, 1, 2] * 2
    outputs_to_copy, end_to_end = [0, 1, 2], [2, 0, 1, 2, 0, 1, 2, 0, 1]
    assert called == warm + latency + window + outputs_to_copy + end_to_end


def test_the_cpu_takes_the_same_way_without_a_devices_figures() -> None:
    """On a fake host clock: latency as on a device; no throughput window, transfers, events or device memory."""
    ticks = count(0, 1_000)
    accelerator = Accelerator(read_ns=lambda: next(ticks))
    seen = run(Bench(TorchSource(accelerator, lambda where: model().to(where))), turns=(4, 5))
    assert seen.startup_s == {}
    assert seen.cold_s == 1e-6
    assert seen.samples_s == (1e-6,) * 9
    assert seen.round_sizes == (4, 5)
    assert set(seen.series) == {"minor_faults", "involuntary_switches"}
    assert seen.figures == {}
    assert seen.notes == {"clock": "WallClock"}
    assert seen.verification is not None
    assert seen.verification.passed


def test_an_import_is_timed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first import of a module costs what the clock says; a second one is no cold start and has no figure."""
    (tmp_path / "a_framework_of_the_test.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    ticks = iter([100, 2_600])
    assert import_s("a_framework_of_the_test", lambda: next(ticks)) == 2.5e-6
    assert import_s("a_framework_of_the_test", lambda: next(ticks)) == 0.0


# ---- what goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "tried", "allocated"),
    [
        (32, 32 * N_IN * 4, MODEL_BYTES + 32 * N_IN * 4),  # the second batch of inputs finds no room
        (12, 12 * N_OUT * 4, MODEL_BYTES + 3 * 12 * N_IN * 4 + 12 * N_OUT * 4),  # the second layer's output
    ],
)
def test_a_batch_that_does_not_fit_is_a_row_and_the_others_go_on(
    device: SimulatedDevice, rows: int, tried: int, allocated: int
) -> None:
    """Out of memory ends its own cell, with the reason; its memory is given back; the next cell is measured."""
    bench = bench_on(device, memory_cap_bytes=1 << 10)
    bench.start()
    bench.prepare(case(), calls(3))
    with pytest.raises(OutOfMemory) as raised:
        bench.prepare(case(rows), calls(3))
    reason = (
        "out of memory on simgpu:0: simgpu out of memory. "
        f"Tried to allocate {tried} bytes; {1_024 - allocated} bytes of 1024 are free."
    )
    assert str(raised.value) == reason
    assert torch.accelerator.memory_allocated() == MODEL_BYTES
    assert torch.accelerator.memory_reserved() == SEGMENT
    with pytest.raises(OutOfMemory):
        bench.turn(case(rows), 4)
    bench.turn(case(), 4)
    lost, kept = bench.finish(case(rows)), bench.finish(case())
    assert (lost.outcome, lost.reason, lost.samples_s) == (Outcome.OOM, reason, ())
    assert lost.figures == {"memory_cap_bytes": 1_024}
    assert (kept.outcome, ns(kept.samples_s)) == (Outcome.OK, [LAUNCH + compute(BATCH)] * 4)


def test_the_largest_batch_that_fits_is_found(device: SimulatedDevice) -> None:
    """A call on n rows needs 20 n bytes of input and twice 12 n of outputs beside the model: 21 rows in 1,024 bytes,
    whose cap counts whole segments of 100."""
    bench = bench_on(device, memory_cap_bytes=1 << 10)
    bench.start()
    assert bench.largest_batch(case(), 1, 64) == (1_000 - MODEL_BYTES) // 44
    assert torch.accelerator.memory_allocated() == MODEL_BYTES
    bench.prepare(case(), calls(1))


@given(low=st.integers(1, 50), span=st.integers(0, 1_000), limit=st.integers(0, 1_100))
def test_bisection_finds_the_largest_batch_that_fits(low: int, span: int, limit: int) -> None:
    """The same answer as trying every size, in about log2 of the tries."""
    tried: list[int] = []

    class Trying(Bench):
        def fits(self, n_inputs: int, case: Case) -> bool:
            tried.append(n_inputs)
            return n_inputs <= limit

    expected = max((size for size in range(low, low + span + 1) if size <= limit), default=None)
    bench = Trying(TorchSource(Accelerator(), lambda where: model()))
    assert bench.largest_batch(case(), low, low + span) == expected
    assert len(tried) <= 2 + span.bit_length()


def test_a_model_that_does_not_fit_gives_every_batch_its_row(device: SimulatedDevice) -> None:
    """Out of memory while the model is moved: no batch size can be measured, each says why."""
    bench = bench_on(device, memory_cap_bytes=64)
    bench.start()
    with pytest.raises(OutOfMemory):
        bench.prepare(case(), calls(1))
    seen = bench.finish(case())
    assert seen.outcome is Outcome.OOM
    assert seen.reason.startswith("out of memory on simgpu:0: simgpu out of memory. Tried to allocate 60 bytes;")


def test_a_lost_device_fails_the_cell_and_keeps_what_was_measured(device: SimulatedDevice) -> None:
    """A device that fails in the second turn: the first turn's samples stay, the row says what happened."""
    before_second_turn = 2 * (1 + 3) + 2 * (3 + 4 + 3 + 3 + 5)
    device.configure(**SCRIPT | {"fail_after": before_second_turn + 9})
    bench = bench_on(device)
    bench.start()
    bench.prepare(case(), calls(3))
    bench.turn(case(), 4)
    for _ in range(2):
        with pytest.raises(MeasurementError, match=r"^simgpu:0 failed: simulated device lost"):
            bench.turn(case(), 4)
    seen = bench.finish(case())
    assert seen.outcome is Outcome.FAILED
    assert ns(seen.samples_s) == [LAUNCH + compute(BATCH)] * 4
    assert {len(values) for name, values in seen.series.items() if name == "enqueue_s"} == {4}


def test_other_errors_of_the_model_are_not_hidden(device: SimulatedDevice) -> None:
    """An error that is neither memory nor device is the caller's to see."""
    bench = Bench(TorchSource(Accelerator(NAME), lambda where: nn.Linear(N_IN + 1, N_OUT).to(where)))
    bench.start()
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        bench.prepare(case(), calls(1))
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        bench.fits(2, case())


def half_batch(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda batch: network(batch[: len(batch) // 2])


def nan_output(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda batch: network(batch * float("nan"))


def no_op(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda batch: batch[:, :N_OUT]


def cached_result(network: nn.Module) -> Callable[[Tensor], Tensor]:
    answers: dict[int, Tensor] = {}
    return lambda batch: answers.setdefault(len(batch), network(batch))


@pytest.mark.parametrize(
    ("runner", "detail"),
    [
        (half_batch, "shape: expected (4, 3), got (2, 3)"),
        (nan_output, "12 of 12 values are not finite"),
        (no_op, "12 of 12 values differ"),
        (cached_result, "values differ"),
    ],
)
def test_a_runner_that_does_not_do_its_work_is_invalid(
    runner: Callable[[nn.Module], Callable[[Tensor], Tensor]], detail: str
) -> None:
    """Half a batch, NaN, nothing at all or an old answer: the row is invalid and says how the outputs differ."""
    bench = Bench(TorchSource(Accelerator(), lambda where: runner(model().to(where))))
    seen = run(bench)
    assert seen.outcome is Outcome.INVALID
    assert seen.reason.startswith("outputs differ from the reference: ")
    assert detail in seen.reason
    assert seen.verification is not None
    assert not seen.verification.passed


def wrong_from(call_number: int) -> Callable[[str], Callable[[Tensor], Tensor]]:
    """A model whose outputs are wrong in one call only."""

    def load(where: str) -> Callable[[Tensor], Tensor]:
        network, calls = model().to(where), count(1)
        return lambda batch: network(batch) + (1.0 if next(calls) == call_number else 0.0)

    return load


COLD, WARM, PLACED, LATENCY, WINDOW, COPIED, END_TO_END = 1, 3, 3, 4, 3, 3, 5
IN_ORDER = {"cold": COLD, "warm-up": WARM, "placed": PLACED, "latency": LATENCY, "window": WINDOW, "copied": COPIED}


@pytest.mark.parametrize("path", ["cold", "warm-up", "latency", "window", "end-to-end", "memory"])
def test_one_wrong_output_in_any_timed_path_is_seen(device: SimulatedDevice, path: str) -> None:
    """A single wrong output makes the row invalid, be it in the first call, a sample, the window or a pass apart."""
    device.configure(pageable_ns_per_byte=1, op_cost_ns=10)
    last_of = {name: sum(list(IN_ORDER.values())[: place + 1]) for place, name in enumerate(IN_ORDER)}
    last_of |= {"end-to-end": last_of["copied"] + END_TO_END, "memory": last_of["copied"] + END_TO_END + 1}
    bench = bench_on(device, wrong_from(last_of[path]))
    assert run(bench).outcome is Outcome.INVALID


def test_a_copy_that_differs_from_its_source_is_seen() -> None:
    """Transfers are verified as well: a copy that loses its values does not pass."""
    copied: list[float] = []

    def copy(source: Tensor, non_blocking: bool) -> Tensor:
        copied.append(source[0].item())
        return torch.zeros_like(source)

    seen: list[Verification] = []
    target: Any = SimpleNamespace(copy_=copy)
    copy_times(Accelerator(), [torch.zeros(3), torch.ones(3)], target, 2, seen.append)
    assert copied == [1.0, 0.0, 1.0]  # the first one, untimed, warms the way
    assert seen == [
        Verification(passed=True, n_checked=3),
        Verification(passed=False, n_checked=3, detail="a copy from cpu to cpu differs from its source"),
    ]
