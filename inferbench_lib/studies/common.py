"""What the experiments have in common: cells of a network, turns, flags, and a run shown again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from inferbench_lib.errors import WorkerError
from inferbench_lib.measure.rounds import Entry
from inferbench_lib.records import Case, Measurement, Outcome
from inferbench_lib.studies.cpu_vs_gpu.study import CPU, LARGEST_BATCH
from inferbench_lib.timing.usable import oversubscription_flag
from inferbench_lib.work.cnn import Cnn


def samples_a_turn(batch_size: int, inputs_a_turn: int) -> int:
    """Calls in one turn: small batches are called often enough for their tails, large ones twice."""
    return max(2, min(40, inputs_a_turn // batch_size))


def process_counts(usable: int) -> tuple[int, ...]:
    """Return 1, 2, 4, … up to the usable CPUs, and the usable CPUs themselves."""
    counts, n = {usable}, 1
    while n < usable:
        counts.add(n)
        n *= 2
    return tuple(sorted(counts))


def cnn_case(cnn: Cnn, device: str, batch_size: int, n_threads: int) -> Case:
    return Case(workload=cnn.name, engine="torch", device=device, batch_size=batch_size, n_threads=n_threads)


def flagged(row: Measurement, usable: int) -> Measurement:
    flag = oversubscription_flag(row.case.n_processes, row.case.n_threads, usable)
    return row if flag is None else replace(row, flags=(*row.flags, flag))


def with_largest_batches(entries: Sequence[Entry], rows: Sequence[Measurement]) -> list[Measurement]:
    """The rows; one that was out of memory on a device says which batch is the largest that fits there."""
    hosts = {(entry.case.workload, entry.case.device): entry.host for entry in entries}

    @cache
    def what_fits(workload: str, device: str) -> tuple[str, dict[str, float]]:
        beside = [row for row in rows if (row.case.workload, row.case.device) == (workload, device)]
        low = max((row.case.batch_size for row in beside if row.samples_s), default=1)
        high = min(row.case.batch_size for row in beside if row.outcome is Outcome.OOM)
        try:
            largest = hosts[workload, device].call("largest_batch", low, high) or 0
        except WorkerError as error:
            return f"the largest batch that fits was not found: {error}", {}
        words = f"the largest batch that fits is {largest}" if largest else "not even one input fits"
        return words, {LARGEST_BATCH: largest}

    def told(row: Measurement) -> Measurement:
        if row.outcome is not Outcome.OOM or row.case.device == CPU:
            return row
        words, figures = what_fits(row.case.workload, row.case.device)
        return replace(row, reason=f"{row.reason}; {words}", figures={**row.figures, **figures})

    return [told(row) for row in rows]
