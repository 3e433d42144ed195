"""`hardware_analysis`: from parameters to a stored run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from inferbench_lib.errors import MeasurementError
from inferbench_lib.machine import limits
from inferbench_lib.measure.rounds import Entry
from inferbench_lib.measure.session import Session
from inferbench_lib.measure.variants import ForestBench
from inferbench_lib.processes.remote import Remote
from inferbench_lib.records import Case, Run
from inferbench_lib.studies.common import cnn_case, samples_a_turn
from inferbench_lib.studies.hardware_analysis.bench import ForestCells, NetworkCells
from inferbench_lib.studies.hardware_analysis.params import Params
from inferbench_lib.timing.usable import usable_cpus
from inferbench_lib.work.cnn import Cnn, operators
from inferbench_lib.work.forest import Forest

ROOFLINE_BATCHES = (1, 16)
FOREST_BATCHES = (1, 16, 10_000)

Seen = TypeVar("Seen")


def measure(cfg: Params) -> Run:
    """Measure the machine's limits, the workloads against them, and what would change their times."""
    forest = Forest(n_features=cfg.n_features, n_trees=cfg.n_trees, n_train=cfg.n_train, seed=cfg.seed)
    usable, _ = usable_cpus()
    cnns = [Cnn(size=size, seed=cfg.seed) for size in cfg.sizes]
    networks = {cnn.name: network_cases(cnn, usable) for cnn in cnns}
    n_cells = len(forest_cases(usable)) + sum(map(len, networks.values()))
    n_passes = sum(case.precision == "fp32" for cases in networks.values() for case in cases) + len(cnns[:1]) + 2
    steps = len(limits.PARTS) + n_passes + n_cells * (1 + cfg.max_rounds)
    with Session("hardware_analysis", cfg, steps=steps) as session:

        def on_part(name: str) -> None:
            session.progress.now(f"measuring {name}")
            session.progress.step()

        measured = limits.measure_limits(session.machine, budget_s=cfg.budget_s, on_part=on_part)
        session.progress.now("preparing the forest and its rows")
        n_pool = ForestBench.prepare_files(forest, max(FOREST_BATCHES))
        trees = session.host(partial(ForestCells, forest, n_pool), forest.name, n_threads=usable)
        entries = [
            Entry(case=case, host=trees, n_samples=samples_a_turn(case.batch_size, 32)) for case in forest_cases(usable)
        ]
        hosts = {}
        for cnn in cnns:
            cnn.reference()
            hosts[cnn.name] = session.host(partial(NetworkCells, cnn), cnn.name, n_threads=usable)
            entries += [
                Entry(case=case, host=hosts[cnn.name], n_samples=samples_a_turn(case.batch_size, 16))
                for case in networks[cnn.name]
            ]
        passes = _passes(session, cfg, trees, hosts, [case for cases in networks.values() for case in cases])
        rows = session.measure(entries).measurements
        tables = {
            "limits": {**asdict(measured), "memory": asdict(measured.memory)},
            "operations": {size: operators(size) for size in cfg.sizes},
            **passes,
        }
        return session.finish(rows, tables)


def _passes(
    session: Session,
    cfg: Params,
    trees: Remote,
    hosts: dict[str, Remote],
    cases: Sequence[Case],
) -> dict[str, Any]:
    """Measure layers, node visits and growth apart from the rounds; a pass that fails leaves its reason."""
    reasons: list[str] = []

    def attempt(what: str, act: Callable[[], Seen], otherwise: Seen) -> Seen:
        session.progress.now(f"measuring {what}")
        try:
            return act()
        except MeasurementError as error:
            reasons.append(f"{what} was not measured: {error}")
            return otherwise
        finally:
            session.progress.step()

    n = cfg.profile_rounds
    profiled = [case for case in cases if case.precision == "fp32"]
    layers = [
        attempt(f"each layer of {case}", partial(hosts[case.workload].call, "layers", case, n), None)
        for case in profiled
    ]
    visits: dict[str, Any] = attempt("the forest's node visits", partial(trees.call, "counts"), {})
    growth: list[dict[str, Any]] = []
    for host in list(hosts.values())[:1]:
        threads = max(case.n_threads for case in profiled)
        growth += attempt("growth with images", partial(host.call, "growth", cfg.image_sides, threads, n), [])
    sizes = (cfg.feature_counts, cfg.tree_counts, cfg.tree_depths)
    growth += attempt("growth with rows and trees", partial(trees.call, "growth", *sizes, n), [])
    return {
        "layers": [row for row in layers if row is not None],
        "visits": visits,
        "growth": growth,
        "not_profiled": reasons,
    }


def network_cases(cnn: Cnn, usable: int) -> list[Case]:
    """Return small and large batches on all CPUs; to check predictions, the largest on one thread and in bf16 too."""
    most = max(ROOFLINE_BATCHES)
    cases = [cnn_case(cnn, "cpu", batch, usable) for batch in ROOFLINE_BATCHES]
    if usable > 1:
        cases.append(cnn_case(cnn, "cpu", most, 1))
    return [*cases, Case(workload=cnn.name, engine="torch", batch_size=most, n_threads=usable, precision="bf16")]


def forest_cases(usable: int) -> list[Case]:
    """Return every batch on one thread, and the largest on all CPUs."""
    cases = [Case(workload="forest", engine="sklearn", batch_size=batch) for batch in FOREST_BATCHES]
    if usable > 1:
        cases.append(Case(workload="forest", engine="sklearn", batch_size=max(FOREST_BATCHES), n_threads=usable))
    return cases
