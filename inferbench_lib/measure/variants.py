"""The variants that are measured: the forest, alone or through an executor, and the networks on a device."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import repeat

import numpy as np

from inferbench_lib.measure.benches import CellSeries, LoopBench, WarmUp
from inferbench_lib.records import Case, Measurement
from inferbench_lib.timing.accelerator import CpuAccelerator, require_accelerator
from inferbench_lib.timing.clock import WallClock
from inferbench_lib.timing.cold_import import import_s
from inferbench_lib.timing.device_cell import DeviceInputs
from inferbench_lib.timing.device_memory import largest_batch_that_fits
from inferbench_lib.timing.device_run import DeviceBench
from inferbench_lib.timing.loop import collect
from inferbench_lib.timing.rules import after
from inferbench_lib.work.cnn import Cnn
from inferbench_lib.work.engines.native import load_forest
from inferbench_lib.work.forest import Forest


def windows(n_rows: int, n_pool: int, seed: int) -> Iterator[slice]:
    """Endless windows of `n_rows` consecutive rows at random places in a pool of `n_pool` rows."""
    rng = np.random.default_rng(seed)
    while True:
        start = int(rng.integers(0, n_pool - n_rows + 1))
        yield slice(start, start + n_rows)


class ForestBench(LoopBench):
    """The forest in this process, one call a sample."""

    @staticmethod
    def prepare_files(forest: Forest, largest_batch: int) -> int:
        """Make what the benches read, before any of them is timed; the number of rows in the pool."""
        n_pool = 2 * largest_batch + 1000
        forest.reference_path(n_pool)
        return n_pool

    def __init__(self, forest: Forest, n_pool: int, n_threads: int) -> None:
        super().__init__()
        self._agree, self._seed, self._n_pool = forest.agree, forest.seed, n_pool
        started_s = time.perf_counter()
        self._predict = load_forest(forest.model_path, n_threads)
        self.startup_s = {"load_s": time.perf_counter() - started_s}
        self._rows = np.array(np.load(forest.inputs_path(n_pool), mmap_mode="r"))
        self._reference = np.load(forest.reference_path(n_pool))

    def open(self, case: Case) -> CellSeries:
        return CellSeries(
            case=case,
            call=lambda rows: self._predict(self._rows[rows]),
            batches=windows(case.batch_size, self._n_pool, self._seed),
            agree=lambda rows, output: self._agree(output, self._reference[rows]),
            inputs_per_call=case.batch_size,
        )


class CnnBench:
    """A network on one device. The cap is on a device's own memory; the processor has none."""

    def __init__(self, cnn: Cnn, device: str, n_threads: int, memory_cap_bytes: int | None = None) -> None:
        imported_s = import_s("torch") or 0.0
        import torch

        torch.set_num_threads(n_threads)
        self._cnn, self._images, self._reference = cnn, cnn.images(), cnn.reference()
        started_s = time.perf_counter()
        model = cnn.build()
        built_s = time.perf_counter() - started_s
        accelerator = CpuAccelerator() if device == "cpu" else require_accelerator(device)
        self._bench = DeviceBench(
            accelerator,
            model.to,
            memory_cap_bytes=None if device == "cpu" else memory_cap_bytes,
            startup_s={"import_s": imported_s, "build_s": built_s},
        )

    def start(self) -> None:
        """The device's context, and the model there."""
        self._bench.cold_start()

    def prepare(self, case: Case, warmup: WarmUp) -> tuple[float, ...]:
        """First call, then warm-up of the cell's shape."""
        return self._bench.prepare(case, self._inputs(case.batch_size), warmup.rule)

    def turn(self, case: Case, n_samples: int) -> tuple[float, ...]:
        """One round's samples of a cell: seconds per call."""
        return self._bench.turn(case, n_samples)

    def finish(self, case: Case) -> Measurement:
        """The cell as it was measured."""
        return self._bench.finish(case)

    def run(self, case: Case, n_calls: int) -> None:
        """Calls that nobody times, for the memory pass."""
        batch = self._inputs(case.batch_size).batches[0]
        for _ in range(n_calls):
            self._bench.fits(batch)

    def largest_batch(self, low: int, high: int) -> int | None:
        """The largest batch in low..high that fits into the device's memory, None when not even `low` does."""
        return largest_batch_that_fits(lambda n: self._bench.fits(self._inputs(n).batches[0]), low, high)

    def _inputs(self, batch_size: int) -> DeviceInputs:
        """Different batches of consecutive images, each image's logits known."""
        n_images = len(self._images)
        picks = [(np.arange(batch_size) + start) % n_images for start in range(0, 3 * 7, 7)]
        return DeviceInputs(
            batches=[self._images[pick].clone() for pick in picks],
            check=lambda index, output: self._cnn.agree(output.numpy(), self._reference[picks[index]]),
        )


class ControlBench:
    """A fixed small piece of work, by which the machine's own drift is seen."""

    def __init__(self) -> None:
        self._matrix = np.random.default_rng(0).standard_normal((256, 256), dtype=np.float32)

    def seconds(self) -> float:
        """Seconds of one piece of work, the quickest of three so that a single interruption does not count."""
        return min(collect(self._work, repeat(None), clock=WallClock(), enough=after(3), check=lambda *_: None))

    def _work(self, _: None) -> float:
        product: np.ndarray = self._matrix
        for _round in range(8):
            product = product @ self._matrix / 16
        return float(product[0, 0]) + sum(number * number for number in range(20_000))
