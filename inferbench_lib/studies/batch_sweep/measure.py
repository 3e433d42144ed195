"""`batch_sweep`: from parameters to a stored run."""

from __future__ import annotations

from functools import partial

from inferbench_lib.measure.rounds import Entry
from inferbench_lib.measure.session import Session
from inferbench_lib.measure.variants import CnnBench, ForestBench
from inferbench_lib.records import Case, Run
from inferbench_lib.studies.batch_sweep.params import Params
from inferbench_lib.studies.common import cnn_case, samples_a_turn, with_largest_batches
from inferbench_lib.timing.accelerator import find_accelerator
from inferbench_lib.timing.usable import usable_cpus
from inferbench_lib.work.cnn import Cnn
from inferbench_lib.work.forest import Forest


def measure(cfg: Params) -> Run:
    """Latency, throughput and memory against batch size, for every workload and device."""
    forest = Forest(n_features=cfg.n_features, n_trees=cfg.n_trees, n_train=cfg.n_train, seed=cfg.seed)
    with Session("batch_sweep", cfg) as session:
        usable, _ = usable_cpus()
        entries = []
        if cfg.forest_batch_sizes:
            session.progress.now("preparing the forest and its rows")
            n_pool = ForestBench.prepare_files(forest, max(cfg.forest_batch_sizes))
            host = session.host(partial(ForestBench, forest, n_pool, 1), forest.name)
            entries += [
                Entry(
                    case=Case(workload=forest.name, engine="sklearn", batch_size=batch),
                    host=host,
                    n_samples=samples_a_turn(batch, 20_000),
                )
                for batch in cfg.forest_batch_sizes
            ]
        session.progress.now("looking for an accelerator")
        found = find_accelerator(cfg.device)
        on = ["cpu"] + ([found.accelerator.device] if found.accelerator else [])
        n_cells = len(cfg.forest_batch_sizes) + len(cfg.sizes) * len(on) * len(cfg.cnn_batch_sizes)
        session.progress.expect(n_cells * (1 + cfg.max_rounds))
        for size in cfg.sizes:
            cnn = Cnn(size=size, seed=cfg.seed)
            cnn.reference()
            for device in on:
                factory = partial(CnnBench, cnn, device, usable, cfg.memory_cap_bytes)
                host = session.host(factory, f"{cnn.name} on {device}", n_threads=usable)
                entries += [
                    Entry(
                        case=cnn_case(cnn, device, batch, usable),
                        host=host,
                        n_samples=samples_a_turn(batch, 32),
                    )
                    for batch in cfg.cnn_batch_sizes
                ]
        rows = with_largest_batches(entries, session.measure(entries, memory=True).measurements)
        return session.finish(
            rows,
            {"accelerator_reason": found.reason},
            simulated=found.is_simulated,
        )
