"""Measure one process against several: many inputs by every executor, how that scales, and a network's spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from inferbench_lib.errors import ConfigError
from inferbench_lib.executors import listed
from inferbench_lib.measure.bench import Bench
from inferbench_lib.measure.executor_passes import ColdPasses, Passes, prepare_files
from inferbench_lib.measure.rounds import Entry
from inferbench_lib.measure.session import Session, plan_of
from inferbench_lib.measure.source import WarmUp
from inferbench_lib.records import Case, Measurement, Run
from inferbench_lib.studies.common import engines_for, flagged
from inferbench_lib.studies.cpu_multiprocess import study
from inferbench_lib.studies.cpu_multiprocess.params import Params
from inferbench_lib.studies.cpu_multiprocess.ways import CEILING
from inferbench_lib.timing.usable import usable_cpus
from inferbench_lib.work import workload
from inferbench_lib.work.base import Workload

WARM_UP = WarmUp(min_calls=1, max_calls=5, time_limit_s=1.0)
SHORT_WARM_UP = WarmUp(min_calls=1, max_calls=2, time_limit_s=1.0)
NO_WARM_UP = WarmUp(min_calls=0, max_calls=0)
"""For what begins anew with every call: the first is like all others."""
REFERENCE = "naive_pool"
"""The way of the published reference: new processes for each call."""
OWN_BATCHES = 0
"""Leaves the batches to an executor that sizes them by what calls cost."""
NETWORK = "cnn-small"
NETWORK_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class _Way:
    """One executor in a process of its own, and how it warms up."""

    passes: Passes
    warmup: WarmUp = WARM_UP

    def entries(self, session: Session) -> list[Entry]:
        """Start its process; return its cells, one per batch size."""
        case = self.passes.case
        host = session.host(partial(Bench, self.passes), str(case), n_threads=case.n_threads)
        sizes = self.passes.by_batch or (case.batch_size,)
        return [Entry(case=replace(case, batch_size=size), host=host, warmup=self.warmup) for size in sizes]


def measure(params: Params) -> Run:
    """Measure each part in interleaved rounds, one part after the other."""
    usable, _ = usable_cpus()
    work = workload(params.workload, params)
    parts = {
        study.WAYS: _ways(work, params, usable),
        study.SCALING: _scaling(work, params.scaling_processes or (*process_counts(usable), 2 * usable), params),
        study.NETWORK: _network(params),
    }
    steps = {
        name: plan_of(params).steps(sum(len(way.passes.by_batch) or 1 for way in ways)) for name, ways in parts.items()
    }
    rows: list[Measurement] = []
    with Session("cpu_multiprocess", params, steps=sum(steps.values())) as session:
        session.progress.now("preparing models, inputs and references")
        for way in (way for ways in parts.values() for way in ways):
            prepare_files(way.passes.workload, way.passes.n_inputs)
        for name, ways in parts.items():
            if ways:
                session.progress.expect(session.progress.done + sum(steps.values()))
                rows += _measured(session, name, ways, usable, memory=name == study.WAYS and params.measure_memory)
            del steps[name]
        return session.finish(rows, {})


def process_counts(usable: int) -> tuple[int, ...]:
    """Return 1, doubled up to the usable CPUs, and those themselves."""
    return tuple(sorted({usable, *(2**n for n in range(usable.bit_length()))}))


def _measured(session: Session, name: str, ways: Sequence[_Way], usable: int, *, memory: bool) -> list[Measurement]:
    """Measure one part, whose processes then end: the next part has the machine to itself."""
    entries = [entry for way in ways for entry in way.entries(session)]
    rows = session.measure(entries, name=name, memory=memory).measurements
    for entry in entries:
        entry.host.hang_up()
    return [replace(flagged(row, usable), notes={**row.notes, "part": name}) for row in rows]


def _ways(work: Workload, params: Params, usable: int) -> list[_Way]:
    """Take every executor over all inputs, some from a cold start too, then the way of the published reference.

    The ceiling and whatever starts cold have no more processes than CPUs.
    """
    n_asked = params.n_processes or usable
    asked = [(name, n_asked, False) for name in params.executors]
    asked += [(name, n_asked, True) for name in params.cold_executors]
    if params.reference_processes:
        asked.append((REFERENCE, params.reference_processes, False))
    ways = {}
    for name, n, cold in asked:
        kind = listed()[name]
        n_processes = min(n, usable) if cold or name == CEILING else n
        case = Case(
            workload=work.name,
            engine=work.engine,
            executor=name,
            batch_size=OWN_BATCHES if kind.sizes_batches else params.batch_size or -(-params.n_samples // n),
            n_processes=1 if kind.is_one_process else n_processes,
            n_threads=n_processes if kind.has_threads else 1,
            cold=cold,
        )
        warmup = NO_WARM_UP if cold or kind.starts_per_call else WARM_UP
        ways[case] = _Way(passes=_passes(work, case, params.n_samples, params), warmup=warmup)
    return list(ways.values())


def _scaling(work: Workload, counts: Sequence[int], params: Params) -> list[_Way]:
    """Take one process, and a pool of each number of them, over each number of inputs in equal parts."""
    ways = []
    for n in counts if params.scaling_rows else ():
        try:
            n_rows = params.scaled_rows(n)
        except ValueError as error:  # counts that follow from the CPUs are first known here
            raise ConfigError(f"cpu_multiprocess: {error}; or set scaling_processes") from None
        case = _case(work, n, batch_size=next(iter(n_rows)))
        passes = _passes(work, case, max(params.scaling_rows), params, n_at_once=n, by_batch=n_rows)
        ways.append(_Way(passes=passes, warmup=SHORT_WARM_UP))
    return ways


def _network(params: Params) -> list[_Way]:
    """Take the small network over its images, by processes and by threads of each."""
    work = workload(NETWORK, params)
    n_images = 2 * NETWORK_BATCH * max(params.network_processes, default=1)
    return [
        _Way(passes=_passes(work, _case(work, n, NETWORK_BATCH, n_threads), n_images, params, n_at_once=n))
        for n, n_threads in product(params.network_processes, params.network_threads)
    ]


def _case(work: Workload, n_processes: int, batch_size: int, n_threads: int = 1) -> Case:
    """Return one process alone, or a pool of several."""
    return Case(
        workload=work.name,
        engine=work.engine,
        executor="single" if n_processes == 1 else study.MULTI,
        batch_size=batch_size,
        n_processes=n_processes,
        n_threads=n_threads,
    )


def _passes(
    work: Workload,
    case: Case,
    n_inputs: int,
    params: Params,
    *,
    n_at_once: int | None = None,
    by_batch: Mapping[int, int] | None = None,
) -> Passes:
    """Return an executor's passes; with `n_at_once` so many of its processes work, even on fewer CPUs."""
    (engine,) = engines_for(work)
    values = params.model_dump() | ({"n_at_once": n_at_once} if n_at_once else {})
    options = {name: values[name] for name in listed()[case.executor].options() & values.keys()}
    kind = ColdPasses if case.cold else Passes
    return kind(workload=work, engine=engine, case=case, n_inputs=n_inputs, options=options, by_batch=by_batch or {})
