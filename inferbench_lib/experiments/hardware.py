"""`hardware_analysis`: from parameters to a stored run."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from inferbench_lib import config, settings
from inferbench_lib.analysis import hardware
from inferbench_lib.benches import WarmUp
from inferbench_lib.experiments.common import cnn_case, reused, samples_a_turn
from inferbench_lib.machine import limits
from inferbench_lib.machine.usable import usable_cpus
from inferbench_lib.records import Case, Run
from inferbench_lib.rounds import Entry
from inferbench_lib.session import Session
from inferbench_lib.variants import CnnBench, ExecutorBench
from inferbench_lib.workloads.cnn import Cnn, operators
from inferbench_lib.workloads.forest import Forest

ROOFLINE_BATCHES = (1, 16)


def hardware_analysis(**params: Any) -> Run:
    """What this machine is and can do, and where the workloads stand against that."""
    cfg = config.build("hardware_analysis", params)
    assert isinstance(cfg, settings.HardwareAnalysis)
    if cfg.reuse:
        return reused("hardware_analysis", cfg.reuse)
    forest = Forest(n_features=cfg.n_features, n_trees=cfg.n_trees, n_train=cfg.n_train, seed=cfg.seed)
    usable, _ = usable_cpus()
    counts = process_counts(usable)
    n_cells = len(counts) + len(ROOFLINE_BATCHES) * len(cfg.sizes)
    with Session("hardware_analysis", cfg, steps=len(limits.PARTS) + n_cells * (1 + cfg.max_rounds)) as session:

        def on_part(name: str) -> None:
            session.progress.now(f"measuring {name}")
            session.progress.step()

        measured = limits.measure_limits(session.machine, budget_s=cfg.budget_s, on_part=on_part)
        session.progress.now("preparing the forest and its rows")
        ExecutorBench.prepare_files(forest, cfg.n_samples)
        entries = []
        for n in counts:
            batch_size = max(1, cfg.n_samples // (4 * n))
            case = Case(
                workload=forest.name, engine="sklearn", executor="shared_pool", batch_size=batch_size, n_processes=n
            )
            host = session.host(partial(ExecutorBench, forest, case, cfg.n_samples), f"pool of {n}")
            entries.append(Entry(case=case, host=host, warmup=WarmUp(min_calls=1, max_calls=5, time_limit_s=1.0)))
        for size in cfg.sizes:
            cnn = Cnn(size=size, seed=cfg.seed)
            cnn.reference()
            host = session.host(partial(CnnBench, cnn, "cpu", usable), cnn.name, n_threads=usable)
            entries += [
                Entry(case=cnn_case(cnn, "cpu", batch, usable), host=host, n_samples=samples_a_turn(batch, 16))
                for batch in ROOFLINE_BATCHES
            ]
        rows = session.measure(entries).measurements
        tables = {
            "limits": {**asdict(measured), "memory": asdict(measured.memory)},
            "operations": {size: operators(size) for size in cfg.sizes},
        }
        return session.finish(rows, tables, lambda run: hardware.figures(hardware.study(run)))


def process_counts(usable: int) -> tuple[int, ...]:
    """1, doubled up to the usable CPUs, those themselves, and twice as many."""
    counts, n = {usable, 2 * usable}, 1
    while n < usable:
        counts.add(n)
        n *= 2
    return tuple(sorted(counts | {1}))
