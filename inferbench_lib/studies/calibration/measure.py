"""Measure the harness on this machine, by the same code that measures everything else.

It times work of known length, compares identical variants with each other, and times the same calls by another timer.
The figures are written to `reports/calibration.json` too, where every later page of this machine finds them.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial

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
from inferbench_lib.studies.common import engines_for
from inferbench_lib.work import workload

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
        work = _work(params)
        spins, looks = _harness(session, params.seed)
        agreements = [row for variant in work for row in _agreement(session, variant, params.seed)]
        identical = _identical(session, work, params, ends_s)
        return session.finish([*spins, *agreements, *identical], {"overhead": looks})


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


def _work(params: Params) -> tuple[Variant, ...]:
    """Return a batch of the forest and a batch of the small network, each with what makes its source."""
    found = []
    for name, batch_size in (("forest", params.forest_batch_size), ("cnn-small", params.cnn_batch_size)):
        work = workload(name, params)
        for engine in engines_for(work):
            source = Calls(workload=work, engine=engine, n_pool=pool_size(work, batch_size))
            found.append((Case(workload=work.name, engine=engine.name, batch_size=batch_size), source))
    return tuple(found)


def _harness(session: Session, seed: int) -> tuple[tuple[Measurement, ...], dict[str, list[float]]]:
    host = session.host(partial(HarnessBench, seed), "harness")
    for number in range(HARNESS_ROUNDS):
        session.progress.now(f"round {number + 1}: spins of known length")
        host.call("turn")
        session.progress.step()
    rows, looks = host.call("finish")
    host.close()
    return tuple(replace(row, notes={"part": analysis.SPIN}) for row in rows), looks


def _agreement(session: Session, variant: Variant, seed: int) -> tuple[Measurement, ...]:
    case, source = variant
    host = session.host(partial(AgreementBench, source, case, seed), f"{case.workload} by two timers")
    for number in range(1 + AGREEMENT_ROUNDS):
        session.progress.now(f"round {number}: {case.workload} by our loop and by torch's timer")
        host.call("turn", AGREEMENT_CALLS)
        session.progress.step(1 if number else 0)
    rows = host.call("finish", AGREEMENT_CALLS)
    host.close()
    return tuple(replace(row, notes={**row.notes, "part": analysis.AGREEMENT}) for row in rows)


def _identical(session: Session, work: tuple[Variant, ...], params: Params, ends_s: float) -> tuple[Measurement, ...]:
    """Measure each workload in several identical processes, in rounds; then each process alone, many calls in a row."""
    hosts = [
        (case, session.host(partial(Bench, source), f"{case.workload} {number + 1}"))
        for case, source in work
        for number in range(N_VARIANTS)
    ]
    for _, host in hosts:
        host.ready()  # so that the plan knows what time is left
    entries = [Entry(case=case, host=host, n_samples=params.samples_a_turn) for case, host in hosts]
    rows = session.measure(entries, plan=_plan(params, ends_s)).measurements
    living = [number for number, row in enumerate(rows) if row.outcome is not Outcome.FAILED]
    in_a_row: dict[int, list[float]] = {number: [] for number in range(len(rows))}
    for stretch in range(STRETCHES):
        for number in living:
            session.progress.now(f"{entries[number].case}: {ROW} calls in a row, {stretch + 1} of {STRETCHES}")
            in_a_row[number] += entries[number].host.call("turn", entries[number].case, ROW)
    return tuple(
        replace(row, notes={**row.notes, "part": analysis.IDENTICAL}, series={IN_A_ROW: tuple(in_a_row[number])})
        for number, row in enumerate(rows)
    )


def publish(run: Run) -> None:
    """Write the figures to `reports/calibration.json`, where every later page of this machine finds them."""
    figures = {name: figure.value for name, figure in run.summary.items()}
    about = {"run_id": run.run_id, "started_at": run.started_at, "processor": run.machine.cpu_model}
    text = json.dumps({**figures, **about}, indent=1, ensure_ascii=False)
    store.write_file(store.reports_folder() / analysis.FILE, text)
