"""`cpu_multiprocess`: from parameters to a stored run."""

from __future__ import annotations

from functools import partial
from typing import Any

from inferbench_lib import config, settings
from inferbench_lib.analysis import multiprocess
from inferbench_lib.benches import WarmUp
from inferbench_lib.experiments.common import flagged, reused
from inferbench_lib.machine.usable import usable_cpus
from inferbench_lib.records import Case, Run
from inferbench_lib.rounds import Entry
from inferbench_lib.session import Session
from inferbench_lib.variants import ExecutorBench
from inferbench_lib.workloads.forest import Forest


def cpu_multiprocess(**params: Any) -> Run:
    """One process against several: the forest over many rows by every executor, in interleaved rounds."""
    cfg = config.build("cpu_multiprocess", params)
    assert isinstance(cfg, settings.CpuMultiprocess)
    if cfg.reuse:
        return reused("cpu_multiprocess", cfg.reuse)
    forest = Forest(n_features=cfg.n_features, n_trees=cfg.n_trees, n_train=cfg.n_train, seed=cfg.seed)
    steps = len(cfg.executors) * (1 + cfg.max_rounds)
    with Session("cpu_multiprocess", cfg, steps=steps) as session:
        session.progress.now("preparing the forest and its rows")
        ExecutorBench.prepare_files(forest, cfg.n_samples)
        usable, _ = usable_cpus()
        entries = []
        for name in cfg.executors:
            case = Case(
                workload=forest.name,
                engine="sklearn",
                executor=name,
                batch_size=cfg.batch_size,
                n_processes=1 if name in ("single", "threads") else cfg.n_processes,
                n_threads=cfg.n_processes if name == "threads" else 1,
            )
            factory = partial(ExecutorBench, forest, case, cfg.n_samples)
            host = session.host(factory, name, n_threads=case.n_threads)
            entries.append(Entry(case=case, host=host, warmup=WarmUp(min_calls=1, max_calls=5, time_limit_s=1.0)))
        rows = [flagged(row, usable) for row in session.measure(entries).measurements]
        return session.finish(rows, {}, lambda run: multiprocess.figures(multiprocess.study(run)))
