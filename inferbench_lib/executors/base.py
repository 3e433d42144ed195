"""Base class of the executors, which run a model over many rows."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self, TypeAlias

import numpy as np

from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.processes.spans import CALLER, now, spent
from inferbench_lib.processes.task import LoadRunner
from inferbench_lib.records import Span

Rows: TypeAlias = np.ndarray | SharedArray


class Executor(ABC):
    """A way to run a model over many rows: `ready`, any number of `map`, `close`.

    As a context manager it calls `ready` and `close`. `start_s` is the time that `ready` waited, the loading of the
    model included; a `map` without `ready` pays it.
    """

    name: ClassVar[str] = ""
    """As in parameters and records; without one, the class is a base of others and is not listed."""
    title: ClassVar[str] = ""
    """As in sentences and figures."""
    has_cold_start: ClassVar[bool] = False
    """Whether starting it for one call is a case of its own."""
    starts_per_call: ClassVar[bool] = False
    """Whether every `map` starts new processes, so that no call warms up the next."""
    is_one_process: ClassVar[bool] = False
    """Whether it computes in the calling process alone."""
    has_threads: ClassVar[bool] = False
    """Whether threads of the model take the place of processes."""
    sizes_batches: ClassVar[bool] = False
    """Whether it sizes its batches itself, by the measured cost of calls, where `batch_size` is None."""
    keeps_input: ClassVar[bool] = False
    """Whether the first `map` of an input copies it, so that later calls should get the same one."""
    start_s = 0.0
    _began_s = 0.0

    def __init__(self, load_runner: LoadRunner, *, n_processes: int = 1, n_threads: int = 1) -> None:
        if n_processes < 1:
            raise ValueError(f"{self.name}.n_processes: expected at least 1, got {n_processes}")
        if n_processes > 1 and self.is_one_process:
            raise ValueError(f"{self.name}.n_processes: expected 1, got {n_processes}; use a pool for more")
        self._load_runner, self._n_processes, self._n_threads = load_runner, n_processes, n_threads
        self._start_spans: list[Span] = []
        self._map_spans: tuple[Span, ...] = ()

    @classmethod
    def options(cls) -> frozenset[str]:
        """Return the names of the keyword arguments beside `n_processes` and `n_threads`."""
        return frozenset(inspect.signature(cls).parameters) - {"load_runner", "n_processes", "n_threads"}

    def ready(self) -> None:
        """Start and load what stays from one `map` to the next; once."""
        if not self.start_s:
            began_s = self._began_s or now()
            with self._ended_on_error():
                self._start()
            self.start_s = now() - began_s

    @abstractmethod
    def _start(self) -> None:
        """Start and load what stays from one `map` to the next."""

    @abstractmethod
    def map(self, x: Rows, batch_size: int) -> np.ndarray:
        """Return the outputs of all rows of `x`, in order, computed `batch_size` rows at a time."""

    def spans(self) -> tuple[Span, ...]:
        """Return the spans of the start and of the last `map`, with kinds of `SPAN_KINDS`."""
        return (*self._start_spans, *self._map_spans)

    def close(self) -> None:
        """End what `ready` started."""
        return

    def _abandon(self) -> None:
        """End what `ready` started, after an error."""
        self.close()

    @contextmanager
    def _ended_on_error(self) -> Iterator[None]:
        """Leave no worker behind when the block fails or is interrupted."""
        try:
            yield
        except BaseException:
            self._abandon()
            raise

    def __enter__(self) -> Self:
        self.ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def in_memory(x: Rows) -> np.ndarray:
    """Return the array of a shared one, or the array itself."""
    return x.array if isinstance(x, SharedArray) else x


def share(x: Rows | Path | str, spans: list[Span], worker: int = CALLER) -> SharedArray:
    """Return `x` if it is shared, a map of the file that holds it, or else a shared copy, whose time is recorded."""
    if isinstance(x, SharedArray):
        return x
    if isinstance(x, Path | str):
        return SharedArray.map_file(Path(x))
    if isinstance(x, np.memmap) and (mapped := SharedArray.map_memmap(x)):
        return mapped
    with spent(spans, worker, "share", len(x)):
        return SharedArray.of(x)
