"""The conductor: one function a notebook, from parameters to a stored run."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import Any

from inferbench_lib import config, store
from inferbench_lib.analysis import devices, hardware, multiprocess, sweep
from inferbench_lib.benches import WarmUp
from inferbench_lib.machine import bandwidth, gemm, limits
from inferbench_lib.machine.usable import oversubscription_flag, usable_cpus
from inferbench_lib.records import Case, Machine, Measurement, Run
from inferbench_lib.rounds import Entry
from inferbench_lib.session import Session
from inferbench_lib.timing.accelerator import find_accelerator
from inferbench_lib.variants import CnnBench, ExecutorBench, ForestBench
from inferbench_lib.workloads.cnn import Cnn, n_parameters, operators
from inferbench_lib.workloads.forest import Forest


def cpu_multiprocess(**params: Any) -> Run:
    """One process against several: the forest over many rows by every executor, in interleaved rounds."""
    cfg = config.build("cpu_multiprocess", params)
    assert isinstance(cfg, config.CpuMultiprocess)
    if cfg.reuse:
        return _reused("cpu_multiprocess", cfg.reuse)
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
        rows = [_flagged(row, usable) for row in session.measure(entries).measurements]
        return session.finish(rows, {}, lambda run: multiprocess.figures(multiprocess.study(run)))


def cpu_vs_gpu(**params: Any) -> Run:
    """The networks on the processor and, where there is one, on the accelerator; batch by batch."""
    cfg = config.build("cpu_vs_gpu", params)
    assert isinstance(cfg, config.CpuVsGpu)
    if cfg.reuse:
        return _reused("cpu_vs_gpu", cfg.reuse)
    found = find_accelerator(cfg.device)
    on = ["cpu"] + ([found.accelerator.device] if found.accelerator else [])
    iterations = {"small": cfg.iterations, "medium": cfg.iterations_medium, "large": cfg.iterations_large}
    steps = len(cfg.sizes) * len(on) * len(cfg.batch_sizes) * (1 + cfg.max_rounds)
    with Session("cpu_vs_gpu", cfg, steps=steps) as session:
        usable, _ = usable_cpus()
        session.progress.now("measuring what the processor can do at most")
        peak = _processor_peaks(session.machine, usable)
        entries = []
        for size in cfg.sizes:
            cnn = Cnn(size=size, seed=cfg.seed)
            session.progress.now(f"preparing the {size} network's reference")
            cnn.reference()
            share = -(-iterations[size] // cfg.max_rounds)
            least = max(1, round(cfg.warmup * iterations[size] / cfg.iterations))
            warmup = WarmUp(min_calls=least, max_calls=3 * cfg.warmup, time_limit_s=1.5)
            for device in on:
                factory = partial(CnnBench, cnn, device, usable, cfg.memory_cap_bytes)
                host = session.host(factory, f"{cnn.name} on {device}", n_threads=usable)
                entries += [
                    Entry(case=_cnn_case(cnn, device, batch, usable), host=host, n_samples=share, warmup=warmup)
                    for batch in cfg.batch_sizes
                ]
        rows = session.measure(entries).measurements
        tables = {
            "parameters": {size: n_parameters(size) for size in cfg.sizes},
            "operations": {size: operators(size) for size in cfg.sizes},
            "cpu_limits": peak,
            "accelerator_reason": found.reason,
        }
        return session.finish(
            rows, tables, lambda run: devices.figures(devices.study(run)), simulated=found.is_simulated
        )


def batch_sweep(**params: Any) -> Run:
    """Latency, throughput and memory against batch size, for every workload and device."""
    cfg = config.build("batch_sweep", params)
    assert isinstance(cfg, config.BatchSweep)
    if cfg.reuse:
        return _reused("batch_sweep", cfg.reuse)
    found = find_accelerator(cfg.device)
    on = ["cpu"] + ([found.accelerator.device] if found.accelerator else [])
    forest = Forest(n_features=cfg.n_features, n_trees=cfg.n_trees, n_train=cfg.n_train, seed=cfg.seed)
    n_cells = len(cfg.forest_batch_sizes) + len(cfg.sizes) * len(on) * len(cfg.cnn_batch_sizes)
    with Session("batch_sweep", cfg, steps=n_cells * (1 + cfg.max_rounds)) as session:
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
                    n_samples=_samples_a_turn(batch, 20_000),
                )
                for batch in cfg.forest_batch_sizes
            ]
        for size in cfg.sizes:
            cnn = Cnn(size=size, seed=cfg.seed)
            cnn.reference()
            for device in on:
                factory = partial(CnnBench, cnn, device, usable, cfg.memory_cap_bytes)
                host = session.host(factory, f"{cnn.name} on {device}", n_threads=usable)
                entries += [
                    Entry(
                        case=_cnn_case(cnn, device, batch, usable),
                        host=host,
                        n_samples=_samples_a_turn(batch, 32),
                    )
                    for batch in cfg.cnn_batch_sizes
                ]
        rows = session.measure(entries, memory=True).measurements
        return session.finish(
            rows,
            {"accelerator_reason": found.reason},
            lambda run: sweep.figures(sweep.study(run)),
            simulated=found.is_simulated,
        )


def hardware_analysis(**params: Any) -> Run:
    """What this machine is and can do, and where the workloads stand against that."""
    cfg = config.build("hardware_analysis", params)
    assert isinstance(cfg, config.HardwareAnalysis)
    if cfg.reuse:
        return _reused("hardware_analysis", cfg.reuse)
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
                Entry(case=_cnn_case(cnn, "cpu", batch, usable), host=host, n_samples=_samples_a_turn(batch, 16))
                for batch in ROOFLINE_BATCHES
            ]
        rows = session.measure(entries).measurements
        tables = {
            "limits": {**asdict(measured), "memory": asdict(measured.memory)},
            "operations": {size: operators(size) for size in cfg.sizes},
        }
        return session.finish(rows, tables, lambda run: hardware.figures(hardware.study(run)))


ROOFLINE_BATCHES = (1, 16)


def process_counts(usable: int) -> tuple[int, ...]:
    """1, doubled up to the usable CPUs, those themselves, and twice as many."""
    counts, n = {usable, 2 * usable}, 1
    while n < usable:
        counts.add(n)
        n *= 2
    return tuple(sorted(counts | {1}))


def _processor_peaks(machine: Machine, usable: int) -> dict[str, float]:
    """The fp32 GEMM peak and the memory bandwidth of all usable CPUs, for the model's check; about 3 s."""
    peak = gemm.gemm_peaks((usable,), dtypes=("fp32",), budget_s=1.0)[0]
    points = bandwidth.bandwidths(
        (usable,), caches=machine.caches, largest_bytes=limits.QUICK_LARGEST_BYTES, budget_s=1.5
    )
    memory = bandwidth.memory_bandwidth(points)
    return {"peak_flops_per_s": peak.limit.value * 1e9, "bytes_per_s": memory.limit.value * 1e9}


def _samples_a_turn(batch_size: int, inputs_a_turn: int) -> int:
    """Calls in one turn: small batches are called often enough for their tails, large ones twice."""
    return max(2, min(40, inputs_a_turn // batch_size))


def _cnn_case(cnn: Cnn, device: str, batch_size: int, n_threads: int) -> Case:
    return Case(workload=cnn.name, engine="torch", device=device, batch_size=batch_size, n_threads=n_threads)


def _flagged(row: Measurement, usable: int) -> Measurement:
    flag = oversubscription_flag(row.case.n_processes, row.case.n_threads, usable)
    return row if flag is None else replace(row, flags=(*row.flags, flag))


def _reused(notebook: str, run_id: str) -> Run:
    """A stored run instead of measuring, kept in this run's folder too."""
    run = store.stored_run(notebook, run_id)
    store.save_run(run)
    return run
