"""A workload, one batch per call, by one engine on one device."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

import numpy as np

from inferbench_lib.errors import NotAvailable
from inferbench_lib.measure.source import Source
from inferbench_lib.records import CPU, Case, Verification
from inferbench_lib.timing.accelerator import Accelerator, math_settings, require_accelerator
from inferbench_lib.timing.cell import Inputs
from inferbench_lib.work.agreement import agreement, tied
from inferbench_lib.work.base import Engine, Runner, Workload


def pool_size(workload: Workload, largest_batch: int, engine: type[Engine] | None = None) -> int:
    """Make the files of enough inputs for different batches, before anything is timed; return how many inputs.

    Another `engine` than the workload's own is compared by the scores too.
    """
    n_pool = largest_batch + workload.n_spare
    workload.reference_path(n_pool)
    if engine is not None and engine.name != workload.engine:
        workload.scores_path(n_pool)
    return n_pool


def import_s(module: str, read_ns: Callable[[], int] = time.perf_counter_ns) -> float:
    """Return the seconds to import a module in this process; 0 when it is loaded already."""
    if module in sys.modules:
        return 0.0
    started_ns = read_ns()
    importlib.import_module(module)
    return (read_ns() - started_ns) / 1e9


@dataclass(kw_only=True)
class Calls(Source):
    """The calls of one workload by one engine. Cells may differ in batch size, threads and precision."""

    workload: Workload
    engine: type[Engine]
    n_pool: int
    device: str = CPU
    _runner_s: dict[Case, float] = field(default_factory=dict, init=False)

    @cached_property
    def accelerator(self) -> Accelerator:
        """The device; raises NotAvailable where it is not here."""
        return Accelerator() if self.device == CPU else require_accelerator(self.device)

    def imports(self) -> Mapping[str, float]:
        """Import the engine's library; raises NotAvailable where it is not installed."""
        try:
            return {"import_s": import_s(self.engine.library)}
        except ImportError as error:
            package = self.engine.package or self.engine.library
            raise NotAvailable(
                f"{self.engine.name}: not installed ({str(error).splitlines()[0]}); pip install {package}"
            ) from None

    def load(self) -> Mapping[str, float]:
        """Load the model on the host."""
        started_s = time.perf_counter()
        self._engine = self.engine(self.workload)
        self._engine.load()
        loaded_s = time.perf_counter() - started_s
        self._pool = np.load(self.workload.inputs_path(self.n_pool))
        self._reference = np.load(self.workload.reference_path(self.n_pool))
        is_own = self.engine.name == self.workload.engine
        self._ties = None if is_own or not self.workload.has_scores else tied(self._scores())
        return {"load_s": loaded_s}

    def to_device(self) -> None:
        """Make the first runner, which moves the model to the device."""
        if self.accelerator.backend.is_device:
            self._engine.runner(device=self.accelerator.device)

    def runner(self, case: Case) -> Runner:
        """Return the model on the device, in the case's precision and with its threads; its first making is timed."""
        started_s = time.perf_counter()
        runner = self._engine.runner(device=self.accelerator.device, precision=case.precision, n_threads=case.n_threads)
        self._runner_s.setdefault(replace(case, batch_size=0), time.perf_counter() - started_s)
        return runner

    def figures(self, case: Case) -> Mapping[str, float]:
        """Return the seconds that the first runner of a precision and its threads took."""
        made_s = self._runner_s.get(replace(case, batch_size=0))
        return {} if made_s is None else {"runner_s": made_s}

    def inputs(self, case: Case) -> Inputs:
        """Return windows of the inputs at random places; a key is the first row of its window."""
        size = case.batch_size
        starts = places(self.n_pool - size + 1, self.workload.seed)
        return Inputs(
            batches=((start, self._pool[start : start + size]) for start in starts),
            check=lambda start, output: self._check(slice(start, start + size), output, case.precision),
        )

    def agreement(self, case: Case) -> Mapping[str, float]:
        """Compare classes and scores of all inputs with the reference's, and classes with the truth if known."""
        runner = self.runner(case)
        runner.activate()
        size = max(self.workload.batches)
        batches = [self._pool[start : start + size] for start in range(0, self.n_pool, size)]
        outputs = np.concatenate([runner(batch) for batch in batches])
        if self.workload.has_scores:
            scores = runner.scores and np.concatenate([runner.scores(batch) for batch in batches])
            seen = agreement(outputs, self._reference, self._scores(), scores)
            return asdict(seen) | self._accuracy(outputs)
        classes = outputs.argmax(axis=1)
        seen = agreement(classes, self._reference.argmax(axis=1), self._reference, outputs)
        return asdict(seen) | self._accuracy(classes)

    def _accuracy(self, classes: np.ndarray) -> dict[str, float]:
        """Count the classes that are true among different inputs; nothing where no truth is known."""
        n = min(self.n_pool, self.workload.n_different or self.n_pool)
        truth = self.workload.truth(n)
        return {} if truth is None else {"n_correct": float((classes[:n] == truth).sum()), "n_judged": float(n)}

    def _scores(self) -> np.ndarray:
        scores: np.ndarray = np.load(self.workload.scores_path(self.n_pool), mmap_mode="r")
        return scores

    def _check(self, rows: slice, output: np.ndarray, precision: str) -> Verification:
        """Compare an output with its reference; in a tie either class is right."""
        reference = self._reference[rows]
        if self._ties is None or np.shape(output) != reference.shape:
            return self.workload.agree(output, reference, precision)
        is_tie = self._ties[rows]
        seen = self.workload.agree(np.where(is_tie, reference, output), reference, precision)
        return replace(seen, n_ties=int((is_tie & (output != reference)).sum()))

    def some_batch(self, n_inputs: int) -> np.ndarray:
        """Return the inputs over and over, as many as asked for."""
        return np.resize(self._pool, (n_inputs, *self._pool.shape[1:]))

    def notes(self) -> Mapping[str, str]:
        """Return the settings of the engine and of the device's math library."""
        backend = self.accelerator.backend
        return {**self._engine.settings(), **(math_settings(backend) if backend.is_device else {})}


def places(n_places: int, seed: int) -> Iterator[int]:
    """Draw places below `n_places` without end, each unlike the one before."""
    rng, last = np.random.default_rng(seed), -1
    while True:
        place = int(rng.integers(0, n_places))
        if place != last or n_places == 1:
            last = place
            yield place
