"""`cpu_multiprocess`: from parameters to a stored run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

from inferbench_lib.errors import ConfigError
from inferbench_lib.measure.benches import WarmUp
from inferbench_lib.measure.rounds import Entry
from inferbench_lib.measure.session import Session
from inferbench_lib.processes.remote import Remote
from inferbench_lib.records import Case, Measurement, Run
from inferbench_lib.studies.common import flagged, process_counts
from inferbench_lib.studies.cpu_multiprocess import study as multiprocess
from inferbench_lib.studies.cpu_multiprocess.bench import ColdBench, ExecutorBench, NetworkPassBench, ScalingBench
from inferbench_lib.studies.cpu_multiprocess.params import Params
from inferbench_lib.timing.usable import usable_cpus
from inferbench_lib.work.cnn import Cnn
from inferbench_lib.work.forest import Forest

WARM_UP = WarmUp(min_calls=1, max_calls=5, time_limit_s=1.0)
SHORT_WARM_UP = WarmUp(min_calls=1, max_calls=2, time_limit_s=1.0)
NO_WARM_UP = WarmUp(min_calls=0, max_calls=0)
"""For what begins anew with every call: the first is like all others."""
OWN_BATCHES = 0
"""The shared-memory pool sees what calls cost and sizes its batches by that."""
NETWORK_BATCH = 16
SPAWNS = ("naive_pool", "process_pool", "shared_pool", "ceiling")
"""The executors whose processes are of our making, by `start_method`."""


@dataclass(frozen=True, kw_only=True)
class _Way:
    """One executor in a process of its own, the cells that it is measured in, and how they warm up."""

    cases: tuple[Case, ...]
    bench: Callable[[], Any]
    warmup: WarmUp = WARM_UP

    def host(self, session: Session) -> Remote:
        """Its process, started."""
        return session.host(self.bench, str(self.cases[0]), n_threads=self.cases[0].n_threads)


def measure(cfg: Params) -> Run:
    """One process against several: the forest over many rows by every executor, in interleaved rounds."""
    forest = Forest(n_features=cfg.n_features, n_trees=cfg.n_trees, n_train=cfg.n_train, seed=cfg.seed)
    usable, _ = usable_cpus()
    parts = {
        multiprocess.WAYS: _ways(forest, cfg, usable),
        multiprocess.SCALING: _scaling(forest, cfg.scaling_processes or (*process_counts(usable), 2 * usable), cfg),
        multiprocess.NETWORK: _network(cfg),
    }
    steps = {name: sum(len(way.cases) for way in ways) * (1 + cfg.max_rounds) for name, ways in parts.items()}
    rows: list[Measurement] = []
    with Session("cpu_multiprocess", cfg, steps=sum(steps.values())) as session:
        session.progress.now("preparing the forest and its rows")
        for n_rows in {cfg.n_samples, max(cfg.scaling_rows, default=cfg.n_samples)}:
            ExecutorBench.prepare_files(forest, n_rows)
        for name, ways in parts.items():
            if ways:
                session.progress.expect(session.progress.done + sum(steps.values()))
                rows += _measured(session, name, ways, usable, memory=name == multiprocess.WAYS and cfg.measure_memory)
            del steps[name]
        return session.finish(rows, {})


def _measured(session: Session, name: str, ways: Sequence[_Way], usable: int, *, memory: bool) -> list[Measurement]:
    """The rows of one part, whose processes then end: the next part has the machine to itself."""
    hosts = [way.host(session) for way in ways]
    entries = [
        Entry(case=case, host=host, warmup=way.warmup)
        for way, host in zip(ways, hosts, strict=True)
        for case in way.cases
    ]
    rows = session.measure(entries, name=name, memory=memory).measurements
    for host in hosts:
        host.hang_up()
    return [replace(flagged(row, usable), notes={**row.notes, "part": name}) for row in rows]


def _ways(forest: Forest, cfg: Params, usable: int) -> list[_Way]:
    """Every executor over all rows, and some of them from a cold start too, with no more processes than CPUs."""

    def way(name: str, *, cold: bool) -> _Way:
        n_processes = min(cfg.n_processes, usable) if cold else cfg.n_processes
        case = Case(
            workload=forest.name,
            engine="sklearn",
            executor=name,
            batch_size=OWN_BATCHES if name == multiprocess.MULTI else cfg.batch_size,
            n_processes=1 if name in ("single", "threads") else n_processes,
            n_threads=n_processes if name == "threads" else 1,
            cold=cold,
        )
        bench = partial(ColdBench if cold else ExecutorBench, forest, case, cfg.n_samples, _options(name, cfg))
        return _Way(cases=(case,), bench=bench, warmup=NO_WARM_UP if cold or name == "naive_pool" else WARM_UP)

    return [way(name, cold=False) for name in cfg.executors] + [way(name, cold=True) for name in cfg.cold_executors]


def _scaling(forest: Forest, counts: Sequence[int], cfg: Params) -> list[_Way]:
    """One process, and a pool of each number of them, over each number of rows in equal parts."""
    ways = []
    for n in counts if cfg.scaling_rows else ():
        name = "single" if n == 1 else "shared_pool"
        try:
            n_rows = cfg.scaled_rows(n)
        except ValueError as error:  # counts that follow from the CPUs are first known here
            raise ConfigError(f"cpu_multiprocess: {error}; or set scaling_processes") from None
        cases = tuple(
            Case(workload=forest.name, engine="sklearn", executor=name, batch_size=batch_size, n_processes=n)
            for batch_size in n_rows
        )
        bench = partial(ScalingBench, forest, cases[0], n_rows, _all_at_once(cases[0], cfg))
        ways.append(_Way(cases=cases, bench=bench, warmup=SHORT_WARM_UP))
    return ways


def _network(cfg: Params) -> list[_Way]:
    """The small network over its images, by processes and by threads of each."""
    cnn = Cnn(seed=cfg.seed, n_images=2 * NETWORK_BATCH * max(cfg.network_processes, default=1))
    if cfg.network_processes and cfg.network_threads:
        cnn.reference()  # made before any bench is timed
    ways = []
    for n_processes, n_threads in product(cfg.network_processes, cfg.network_threads):
        case = Case(
            workload=cnn.name,
            engine="torch",
            executor="single" if n_processes == 1 else "shared_pool",
            batch_size=NETWORK_BATCH,
            n_processes=n_processes,
            n_threads=n_threads,
        )
        ways.append(_Way(cases=(case,), bench=partial(NetworkPassBench, cnn, case, _all_at_once(case, cfg))))
    return ways


def _options(name: str, cfg: Params) -> dict[str, Any]:
    """What an executor takes beside its processes and threads."""
    if name == "dask":
        return {"scheduler": cfg.scheduler}
    options: dict[str, Any] = {"start_method": cfg.start_method} if name in SPAWNS else {}
    return options | ({"on_worker_death": cfg.on_worker_death} if name == multiprocess.MULTI else {})


def _all_at_once(case: Case, cfg: Params) -> dict[str, Any]:
    """The same where the cost of more processes than CPUs is asked for: the pool would let the others stand by."""
    options = _options(case.executor, cfg)
    return options | ({"n_at_once": case.n_processes} if case.executor == multiprocess.MULTI else {})
