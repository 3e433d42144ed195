"""The protocols of what is measured: a workload is computed by an engine, which loads its model into a runner.

A workload says what is computed and which outputs are right; an engine says by which library. Each is one file and a
line in the dictionary of its folder's `__init__.py`. `fake.py` has a small one of each.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from inferbench_lib.errors import NotAvailable
from inferbench_lib.records import Verification


@dataclass(frozen=True)
class Work:
    """FLOPs and least traffic of one operator: `bytes_fixed` per call (weights), the others per input."""

    name: str
    flops: float
    bytes_fixed: float
    bytes_per_input: float


def _same(value: Any) -> Any:
    return value


def _nothing() -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A loaded model. `place` puts a host batch where the model is, `run` computes, `fetch` brings the output back.

    Only `run` is timed as latency. `activate` sets what belongs to the whole process, such as its number of threads:
    it is called before the runner's turn. A runner called like a function takes and gives host arrays. `scores` gives
    the score of each class, `(n_inputs, n_classes)`, where the output is the class alone.
    """

    run: Callable[[Any], Any]
    place: Callable[[np.ndarray], Any] = _same
    fetch: Callable[[Any], np.ndarray] = _same
    activate: Callable[[], None] = _nothing
    scores: Callable[[np.ndarray], np.ndarray] | None = None

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return self.fetch(self.run(self.place(batch)))


class Workload(ABC):
    """A model, its inputs and its right outputs. Subclasses are frozen dataclasses, drawn from their `seed`.

    A sentence calls it `title` and one of its inputs `unit`. `kind` says which engines can load it: an "estimator" has
    scikit-learn's `predict`, a "network" is a torch module. `engine` is its own library's.
    `n_spare` inputs are kept beyond the largest batch, so that calls take different ones.
    `batches` are the sizes at which it is compared with the machine's limits. With `has_scores` its outputs are
    classes, and `scores` are behind them. Beyond `n_different` inputs, where there is a limit, they repeat.
    """

    name: str
    title: str
    unit: str
    seed: int
    kind: ClassVar[str]
    engine: ClassVar[str]
    depends_on: ClassVar[tuple[str, ...]] = ()
    n_spare: ClassVar[int] = 1000
    batches: ClassVar[tuple[int, ...]] = (1, 16)
    has_scores: ClassVar[bool] = False
    n_different: ClassVar[int | None] = None

    @abstractmethod
    def model(self) -> Any:
        """Return the model as its own library holds it, ready for inference on one thread of the CPU."""

    @abstractmethod
    def draw(self, n_inputs: int) -> np.ndarray:
        """Return `(n_inputs, ...)` inputs, the same for the same seed."""

    @abstractmethod
    def answers(self, inputs: np.ndarray) -> np.ndarray:
        """Return the `(n_inputs, ...)` outputs that are right, from one plain and careful computation."""

    @abstractmethod
    def agree(self, output: np.ndarray, reference: np.ndarray, precision: str = "fp32") -> Verification:
        """Compare outputs with the reference, as strictly as the precision allows."""

    def scores(self, inputs: np.ndarray) -> np.ndarray:
        """Return the `(n_inputs, n_classes)` scores behind the right outputs: the outputs, unless they are classes."""
        return self.answers(inputs)

    def other_inputs(self, n_inputs: int) -> np.ndarray:
        """Return inputs like those of `draw` but not among them, to calibrate int8 with."""
        return replace(self, seed=self.seed + 1).draw(n_inputs)  # type: ignore[type-var]

    def truth(self, n_inputs: int) -> np.ndarray | None:
        """Return the `(n_inputs,)` true classes of `draw(n_inputs)`; None where no truth is known."""
        return None

    def operators(self) -> tuple[Work, ...]:
        """Count FLOPs and bytes, operator by operator; empty where they cannot be counted."""
        return ()

    def n_parameters(self) -> int:
        """Count weights and biases in float32 from the operators; 0 where they cannot be counted."""
        return sum(int(of.bytes_fixed) for of in self.operators()) // 4

    def inputs_path(self, n_inputs: int) -> Path:
        """Return the `.npy` file of `n_inputs` inputs, made on first use; processes map it rather than copy it."""
        key = self.key() | {"n_rows": n_inputs}
        return cached(f"{self.name}-inputs", ".npy", key, lambda path: np.save(path, self.draw(n_inputs)))

    def reference_path(self, n_inputs: int) -> Path:
        """Return the `.npy` file of the right outputs of `inputs_path(n_inputs)`, made on first use."""

        return self._computed("outputs", n_inputs, self.answers)

    def scores_path(self, n_inputs: int) -> Path:
        """Return the `.npy` file of the scores behind the right outputs, made on first use."""
        return self._computed("scores", n_inputs, self.scores) if self.has_scores else self.reference_path(n_inputs)

    def _computed(self, what: str, n_inputs: int, compute: Callable[[np.ndarray], Any]) -> Path:
        def write(path: Path) -> None:
            np.save(path, compute(np.load(self.inputs_path(n_inputs), mmap_mode="r")))

        return cached(f"{self.name}-{what}", ".npy", self.key() | {"n_rows": n_inputs}, write)

    def key(self) -> dict[str, Any]:
        """Return all that the workload's files depend on: its fields, its source file, and the libraries it uses."""
        libraries = {name: version(name) for name in ("numpy", *self.depends_on)}
        source = hashlib.sha256(Path(inspect.getfile(type(self))).read_bytes()).hexdigest()
        return asdict(self) | libraries | {"source": source}  # type: ignore[call-overload, no-any-return]


class Engine(ABC):
    """One library's way of running a workload's model, in the process that made it.

    A sentence calls it `title`. It loads workloads of these `kinds` and with `on_devices` runs on accelerators too.
    `library` is the module whose import is timed as the engine's; `package` is its name for `pip install`.
    `environment` holds variables that must be set before the process starts.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    library: ClassVar[str]
    package: ClassVar[str] = ""
    kinds: ClassVar[tuple[str, ...]]
    on_devices: ClassVar[bool] = False
    environment: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def precisions(cls, kind: str, device: str = "cpu") -> tuple[str, ...]:
        """Return the precisions that it offers for workloads of this kind on a device, fp32 first."""
        return ("fp32",)

    @classmethod
    def threads(cls, usable: int) -> int:
        """Return the threads that the library takes when nothing is set, of so many usable CPUs."""
        return usable

    def __init__(self, workload: Workload) -> None:
        if workload.kind not in self.kinds:
            raise NotAvailable(
                f"{self.name}: expected a workload of kind {' or '.join(self.kinds)}, got {workload.name} "
                f"of kind {workload.kind}; choose another engine"
            )
        self.workload = workload

    @abstractmethod
    def load(self) -> None:
        """Import the library and load the model on the host; called once, timed as `load_s`."""

    @abstractmethod
    def runner(self, *, device: str = "cpu", precision: str = "fp32", n_threads: int = 1) -> Runner:
        """Return the loaded model as a runner; raises NotAvailable for what the engine cannot do."""

    def settings(self) -> Mapping[str, str]:
        """Return the library's settings that change what is computed or how fast, as words."""
        return {}

    def price(self, precision: str = "fp32") -> Mapping[str, float]:
        """Return what it costs to have the model: `conversion_s`, and `model_bytes` of its file; where it has them."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Load:
    """Make a runner in whichever process calls it; it can be pickled."""

    workload: Workload
    engine: type[Engine]
    n_threads: int = 1
    precision: str = "fp32"

    def __call__(self) -> Runner:
        engine = self.engine(self.workload)
        engine.load()
        runner = engine.runner(precision=self.precision, n_threads=self.n_threads)
        runner.activate()
        return runner


def cache_folder() -> Path:
    """Return the folder of models and data: `$INFERBENCH_CACHE`, else `.cache/inferbench` in the project."""
    default = Path(__file__).parents[2] / ".cache" / "inferbench"
    return Path(os.environ.get("INFERBENCH_CACHE", default))


def cached(name: str, suffix: str, key: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
    """Return the file `name-<hash of key><suffix>`, made by `make(path)` where it is missing, whole or not at all."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    path = cache_folder() / f"{name}-{digest}{suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=suffix)
        os.close(handle)
        try:
            make(Path(temporary))
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    return path
