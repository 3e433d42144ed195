"""What the experiments have in common: cells of a network, turns, flags, and a run shown again."""

from __future__ import annotations

from dataclasses import replace

from inferbench_lib import store
from inferbench_lib.machine.usable import oversubscription_flag
from inferbench_lib.records import Case, Measurement, Run
from inferbench_lib.workloads.cnn import Cnn


def samples_a_turn(batch_size: int, inputs_a_turn: int) -> int:
    """Calls in one turn: small batches are called often enough for their tails, large ones twice."""
    return max(2, min(40, inputs_a_turn // batch_size))


def cnn_case(cnn: Cnn, device: str, batch_size: int, n_threads: int) -> Case:
    return Case(workload=cnn.name, engine="torch", device=device, batch_size=batch_size, n_threads=n_threads)


def flagged(row: Measurement, usable: int) -> Measurement:
    flag = oversubscription_flag(row.case.n_processes, row.case.n_threads, usable)
    return row if flag is None else replace(row, flags=(*row.flags, flag))


def reused(notebook: str, run_id: str) -> Run:
    """A stored run instead of measuring, kept in this run's folder too."""
    run = store.stored_run(notebook, run_id)
    store.save_run(run)
    return run
