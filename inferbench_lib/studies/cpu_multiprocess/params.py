"""The parameters of `cpu_multiprocess`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from inferbench_lib.config import Counts, Each, PositiveInt, Rounds
from inferbench_lib.executors import listed
from inferbench_lib.work import known_workload

Workload = Annotated[str, AfterValidator(known_workload)]

NAMES = list(listed())
COLD_NAMES = [name for name, kind in listed().items() if kind.has_cold_start]


def _one_of(names: list[str], name: str) -> str:
    if name not in names:
        raise ValueError(f"one of {', '.join(names)}")
    return name


ExecutorName = Annotated[str, AfterValidator(partial(_one_of, NAMES))]
ColdName = Annotated[str, AfterValidator(partial(_one_of, COLD_NAMES))]


class Params(Rounds):
    """Compare one process with several, for many rows through one model."""

    title = "One process against several"
    position = 10

    workload: Workload = Field("forest", description="forest, or another workload")
    n_samples: PositiveInt = Field(500_000, description="inputs to predict")
    n_features: Annotated[int, Field(ge=2)] = Field(50, description="features per row of the forest")
    n_processes: PositiveInt | None = Field(
        None, description="processes, and threads of the threaded way; None: the usable CPUs"
    )
    reference_processes: PositiveInt | None = Field(
        None, description="processes of one more row, in the way of the published reference; None: no row"
    )
    batch_size: PositiveInt | None = Field(
        None, description="rows per batch, at most n_samples; None: an equal part for each process"
    )
    n_trees: PositiveInt = Field(100, description="trees of the forest")
    n_train: Annotated[int, Field(ge=100)] = Field(20_000, description="rows that the forest was trained on")
    executors: Annotated[list[ExecutorName], Each, Field(min_length=1)] = Field(
        ["single", "threads", "naive_pool", "shared_pool", "loky", "ceiling"], description="also process_pool, dask"
    )
    cold_executors: Annotated[list[ColdName], Each] = Field(
        ["shared_pool", "loky"], description="executors to measure from a cold start too"
    )
    start_method: Literal["spawn", "forkserver", "fork"] = Field("spawn", description="spawn, forkserver or fork")
    on_worker_death: Literal["raise", "retry"] = Field("raise", description="or retry: the others do its rows")
    scheduler: str | None = Field(None, description="address of a Dask scheduler; None starts workers here")
    measure_memory: bool = Field(True, description="measure memory in a pass of its own")
    scaling_rows: Counts = Field([], description="rows per call, by each number of processes; empty: not measured")
    scaling_processes: Counts = Field([], description="numbers of processes; empty: 1, doubled, to twice the CPUs")
    network_processes: Counts = Field([], description="processes for the small network; empty: not measured")
    network_threads: Counts = Field([], description="threads of each of these processes")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield each parameter that has no effect beside the others, and the reason."""
        if self.workload != "forest":
            for name in ("n_features", "n_trees", "n_train"):
                yield name, "workload is not the forest"
        used = {*self.executors, *self.cold_executors, *(["naive_pool"] if self.reference_processes else [])}
        if self.scaling_rows or max(self.network_processes, default=1) > 1:
            used.add("shared_pool")
        starting = [name for name in NAMES if "start_method" in listed()[name].options()]
        if "dask" not in used:
            yield "scheduler", "executors holds no dask"
        if not used & set(starting):
            yield "start_method", f"executors holds none of {', '.join(starting)}"
        if "shared_pool" not in used:
            yield "on_worker_death", "executors holds no shared_pool"
        if not self.scaling_rows:
            yield "scaling_processes", "scaling_rows is empty"
        if not self.network_processes:
            yield "network_threads", "network_processes is empty"
        if not self.network_threads:
            yield "network_processes", "network_threads is empty"

    @model_validator(mode="after")
    def _batch_fits(self) -> Self:
        return self._at_most("batch_size", "n_samples") if self.batch_size else self

    @model_validator(mode="after")
    def _calls_differ(self) -> Self:
        for n in self.scaling_processes:
            self.scaled_rows(n)
        return self

    def scaled_rows(self, n_processes: int) -> dict[int, int]:
        """Map the rows of each process to `scaling_rows`; raises ValueError for two alike, which would be one cell."""
        rows_of: dict[int, int] = {}
        for rows in self.scaling_rows:
            each = -(-rows // n_processes)
            if (other := rows_of.setdefault(each, rows)) != rows:
                raise ValueError(
                    f"scaling_rows: expected entries that differ for each of {n_processes} processes, "
                    f"got {other} and {rows}, both {each} rows each"
                )
        return rows_of
