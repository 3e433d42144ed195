"""Measure what this machine can do at most, where the workloads stand against that, and what they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from inferbench_lib.errors import MeasurementError
from inferbench_lib.machine import limits
from inferbench_lib.machine.default_threads import default_threads
from inferbench_lib.machine.libraries import LIBRARIES
from inferbench_lib.measure.calls import Calls, pool_size
from inferbench_lib.measure.host import Host
from inferbench_lib.measure.rounds import Entry
from inferbench_lib.measure.session import Session, plan_of
from inferbench_lib.records import Case, Run
from inferbench_lib.studies.common import operations, samples_a_turn
from inferbench_lib.studies.hardware_analysis.params import Params
from inferbench_lib.studies.hardware_analysis.profile import bench_for
from inferbench_lib.timing.usable import usable_cpus
from inferbench_lib.work import workload
from inferbench_lib.work.base import Workload
from inferbench_lib.work.cnn import Cnn
from inferbench_lib.work.engines import ENGINES
from inferbench_lib.work.forest import Forest

INPUTS_A_TURN = 32
SMALL_FOREST = Forest(n_features=20, n_trees=50, n_train=2_000)
"""The forest whose default threads are measured, whatever the workloads."""
Pass = tuple[str, str, tuple[Any, ...]]
"""What is measured apart from the rounds: the bench's method and the table that it fills, in words, its arguments."""


def measure(params: Params) -> Run:
    """Measure the machine's limits, the workloads in interleaved rounds, then each of them taken apart."""
    usable, _ = usable_cpus()
    works = [workload(name, params) for name in params.workloads]
    with Session("hardware_analysis", params) as session:
        cells = [
            (work, cases, list(_passes(work, cases, params))) for work in works for cases in [cases_of(work, usable)]
        ]
        n_calls = sum(plan_of(params).steps(len(cases)) + len(passes) for _, cases, passes in cells)
        n_libraries = len(LIBRARIES) if params.default_threads_s else 0
        session.progress.expect(len(limits.PARTS) + n_libraries + n_calls)

        def on_part(name: str) -> None:
            session.progress.now(f"measuring {name}")
            session.progress.step()

        measured = limits.measure_limits(session.machine, session.sampler, budget_s=params.budget_s, on_part=on_part)
        threads = () if params.default_threads_s is None else default_threads(
            usable, SMALL_FOREST.model_path, session.sampler, budget_s=params.default_threads_s, seed=params.seed,
            on_library=lambda name: on_part(f"the default threads of {name}"),
        )  # fmt: skip
        entries: list[Entry] = []
        hosted: list[tuple[Host, Pass]] = []
        for work, cases, passes in cells:
            session.progress.now(f"preparing {work.name}, its inputs and references")
            source = Calls(workload=work, engine=ENGINES[work.engine], n_pool=pool_size(work, max(work.batches)))
            host = session.host(partial(bench_for, source), work.name, n_threads=usable)
            entries += [
                Entry(case=case, host=host, n_samples=samples_a_turn(INPUTS_A_TURN, case.batch_size)) for case in cases
            ]
            hosted += [(host, of) for of in passes]
        rows = session.measure(entries).measurements
        tables = {
            "limits": asdict(measured),
            "default_threads": [asdict(row) for row in threads],
            "operations": {work.name.removeprefix("cnn-"): operations(work) for work in works if work.operators()},
            **_taken_apart(session, hosted),
        }
        return session.finish(rows, tables)


def cases_of(work: Workload, usable: int) -> list[Case]:
    """Return every batch on the engine's own threads, and the largest on other threads and in other precisions."""
    engine = ENGINES[work.engine]
    own = engine.threads(usable)
    case = partial(Case, workload=work.name, engine=engine.name)
    cases = [case(batch_size=batch, n_threads=own) for batch in work.batches]
    most = max(work.batches)
    cases += [case(batch_size=most, n_threads=n) for n in sorted({1, usable} - {own})]
    return cases + [case(batch_size=most, n_threads=own, precision=of) for of in engine.precisions(work.kind)[1:]]


def _passes(work: Workload, cases: Sequence[Case], params: Params) -> Iterator[Pass]:
    """Yield what a workload is taken apart into, a network's layers and growth or a forest's nodes and growth."""
    n = params.profile_rounds
    if isinstance(work, Cnn):
        plain = [case for case in cases if case.precision == "fp32"]
        for case in plain:
            yield "layers", f"each layer of {case}", (case, n)
        if work.name == next(name for name in params.workloads if name.startswith("cnn-")):
            threads = max(case.n_threads for case in plain)
            yield "growth", "growth with images", (params.image_sides, threads, n)
    if isinstance(work, Forest):
        yield "visits", "the forest's node visits", ()
        sizes = (params.feature_counts, params.tree_counts, params.tree_depths)
        yield "growth", "growth with rows and trees", (*sizes, n)


def _taken_apart(session: Session, passes: Sequence[tuple[Host, Pass]]) -> dict[str, Any]:
    """Make every pass; one that fails leaves its reason and the others go on."""
    tables: dict[str, Any] = {"layers": [], "visits": {}, "growth": []}
    reasons: list[str] = []
    for host, (table, what, arguments) in passes:
        session.progress.now(f"measuring {what}")
        try:
            found = host.call(table, *arguments)
        except MeasurementError as error:
            reasons.append(f"{what} was not measured: {error}")
        else:
            tables[table] = found if table == "visits" else [*tables[table], *(found if table == "growth" else [found])]
        session.progress.step()
    return {**tables, "not_profiled": reasons}
