"""Measure latency, throughput and memory against batch size, for every workload, engine and device."""

from __future__ import annotations

from functools import partial

from inferbench_lib.measure.session import Session, plan_of
from inferbench_lib.records import Run
from inferbench_lib.studies.batch_sweep.params import Params
from inferbench_lib.studies.common import device_entries, samples_a_turn, with_largest_batches
from inferbench_lib.timing.accelerator import find_accelerator
from inferbench_lib.timing.usable import usable_cpus
from inferbench_lib.work import workload


def measure(params: Params) -> Run:
    """Measure every batch size of every workload in interleaved rounds, then its memory."""
    with Session("batch_sweep", params) as session:
        usable, _ = usable_cpus()
        session.progress.now("looking for an accelerator")
        found = find_accelerator(params.device)
        entries = []
        for name, batch_sizes in params.batch_sizes.items():
            work = workload(name, params)
            entries += device_entries(
                session, work, batch_sizes, found, engines=params.engines, usable=usable,
                n_samples=partial(samples_a_turn, work.inputs_a_turn), memory_cap_bytes=params.memory_cap_bytes,
            )  # fmt: skip
        session.progress.expect(plan_of(params).steps(len(entries)))
        rows = with_largest_batches(entries, session.measure(entries, memory=True).measurements)
        return session.finish(rows, {"accelerator_reason": found.reason}, simulated=found.is_simulated)
