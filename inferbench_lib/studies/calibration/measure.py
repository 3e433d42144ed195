"""Measure the harness on this machine, by the same code that measures everything else.

It times work of known length, compares identical variants with each other, and times the same calls by another timer.
The figures are written to `reports/calibration.json` too, where every later page of this machine finds them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from inferbench_lib import store
from inferbench_lib.measure.bench import Bench
from inferbench_lib.measure.calls import Calls, pool_size
from inferbench_lib.measure.rounds import Entry, Plan
from inferbench_lib.measure.session import Session
from inferbench_lib.records import Case, Measurement, Outcome, Run
from inferbench_lib.studies.calibration import study as analysis
from inferbench_lib.studies.calibration.false_alarms import IN_A_ROW, N_VARIANTS, ROW
from inferbench_lib.studies.calibration.params import Params
from inferbench_lib.studies.calibration.probes import AgreementBench, HarnessBench
from inferbench_lib.work import workload
from inferbench_lib.work.engines import ENGINES

HARNESS_ROUNDS = 12
AGREEMENT_ROUNDS = 40
AGREEMENT_CALLS = 5
STRETCHES = 3
N_WORKLOADS = 2
RESERVED_S = 15.0
"""Time for what follows the rounds of identical variants: their calls in a row, and the telemetry."""

Variant = tuple[Case, Calls]


def measure(params: Params) -> Run:
    """Measure how true the clock, the loop and the verdicts are on this machine."""
    ends_s = time.monotonic() + params.time_limit_s - RESERVED_S
    n_turns = N_WORKLOADS * N_VARIANTS * (1 + _plan(params, ends_s).max_rounds)
    steps = n_turns + HARNESS_ROUNDS + N_WORKLOADS * AGREEMENT_ROUNDS
    with Session("calibration", params, steps=steps) as session:
        session.progress.now("preparing the forest, its rows and the network's reference")
        work = [
            _variant(params, "forest", params.forest_batch_size),
            _variant(params, "cnn-small", params.cnn_batch_size),
        ]
        spins, looks = _probe(session, partial(HarnessBench, params.seed), HARNESS_ROUNDS, "spins of known length")
        rows = _noted(spins, analysis.SPIN)
        for case, source in work:
            bench = partial(AgreementBench, source, case, params.seed, AGREEMENT_CALLS)
            agreed = _probe(session, bench, AGREEMENT_ROUNDS, f"{case.workload} by our loop and by torch's timer")
            rows += _noted(agreed, analysis.AGREEMENT)
        rows += _noted(_identical(session, work, params, ends_s), analysis.IDENTICAL)
        return session.finish(rows, {"overhead": looks})


def _plan(params: Params, ends_s: float) -> Plan:
    """Plan rounds for comparisons that share no call, as far as time allows until `ends_s`; at least one block."""
    blocks = -(-params.comparisons // (N_WORKLOADS * N_VARIANTS // 2))
    return Plan(
        min_rounds=params.rounds_a_comparison,
        max_rounds=blocks * params.rounds_a_comparison,
        target_width=0.0,
        time_limit_s=max(0.0, ends_s - time.monotonic()),
        seed=params.seed,
    )


def _variant(params: Params, name: str, batch_size: int) -> Variant:
    """Return a batch of a workload by its own library, with the source of its calls."""
    work = workload(name, params)
    source = Calls(workload=work, engine=ENGINES[work.engine], n_pool=pool_size(work, batch_size))
    return Case(workload=work.name, engine=work.engine, batch_size=batch_size), source


def _probe(session: Session, bench: Callable[[], Any], n_rounds: int, name: str) -> Any:
    """Let a bench take its turns in a process of its own; return what it finishes with."""
    host = session.host(bench, name)
    for number in range(n_rounds):
        session.progress.now(f"round {number + 1}: {name}")
        host.call("turn")
        session.progress.step()
    found = host.call("finish")
    host.close()
    return found


def _noted(rows: Iterable[Measurement], part: str) -> list[Measurement]:
    return [replace(row, notes={**row.notes, "part": part}) for row in rows]


def _identical(session: Session, work: Sequence[Variant], params: Params, ends_s: float) -> list[Measurement]:
    """Measure each workload in several identical processes, in rounds; then each process alone, many calls in a row."""
    entries = [
        Entry(
            case=case,
            host=session.host(partial(Bench, source), f"{case.workload} {number + 1}"),
            n_samples=params.samples_a_turn,
        )
        for case, source in work
        for number in range(N_VARIANTS)
    ]
    for entry in entries:
        entry.host.ready()  # so that the plan knows what time is left
    rows = session.measure(entries, plan=_plan(params, ends_s)).measurements
    in_a_row: list[list[float]] = [[] for _ in rows]
    for stretch in range(STRETCHES):
        for entry, row, seconds in zip(entries, rows, in_a_row, strict=True):
            if row.outcome is Outcome.OK:
                session.progress.now(f"{entry.case}: {ROW} calls in a row, {stretch + 1} of {STRETCHES}")
                seconds += entry.host.call("turn", entry.case, ROW)
    return [replace(row, series={IN_A_ROW: tuple(of)}) for row, of in zip(rows, in_a_row, strict=True)]


def publish(run: Run) -> None:
    """Write the figures to `reports/calibration.json`, where every later page of this machine finds them."""
    figures = {name: figure.value for name, figure in run.summary.items()}
    about = {"run_id": run.run_id, "started_at": run.started_at, "processor": run.machine.cpu_model}
    text = json.dumps({**figures, **about}, indent=1, ensure_ascii=False)
    store.write_file(store.reports_folder() / analysis.FILE, text)
