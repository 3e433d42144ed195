"""Made-up runs as large as the `thorough` profile makes them, on 16 CPUs with a GPU; every value has noise of its own.

What is measured follows that profile's parameter files, so a profile that asks for more makes larger runs here.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import sample_runs as samples
import yaml
from tiny import ROOT

from inferbench_lib.records import Case, Measurement, Run
from inferbench_lib.studies.batch_sweep import study as sweep
from inferbench_lib.studies.common import operations, samples_a_turn
from inferbench_lib.studies.cpu_multiprocess import study as multiprocess
from inferbench_lib.studies.cpu_multiprocess.measure import process_counts
from inferbench_lib.studies.cpu_vs_gpu import study as devices
from inferbench_lib.work.cnn import Cnn

N_CPUS = 16
ON = ("cpu", "cuda:0")
GPU_SERIES = ("enqueue_s", "end_to_end_s", "host_to_device_s", "host_to_device_pinned_s",
              "device_to_host_s", "device_to_host_pinned_s")  # fmt: skip
"""What a device's clock and transfers leave beside each sample."""
IMAGE_S = {"small": 0.004, "medium": 0.012, "large": 0.04}
"""Seconds an image on the processor; a GPU takes a tenth."""
SPEEDUP = {"single": 1.0, "threads": 9.0, "naive_pool": 0.8, "process_pool": 2.5, "shared_pool": 10.0, "loky": 2.2,
           "dask": 1.4, "ceiling": 11.0}  # fmt: skip


def thorough_runs(seed: int = 0) -> tuple[Run, ...]:
    """One run of each notebook whose size goes with the rounds and calls that are asked for."""
    rng = np.random.default_rng(seed)
    return _multiprocess(rng), _vs_gpu(rng), _sweep(rng)


@cache
def _params(notebook: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "params" / "thorough" / f"{notebook}.yaml").read_text())
    return values


def _noise(rng: np.random.Generator, median_s: float, n: int) -> tuple[float, ...]:
    """Seconds as a counter of nanoseconds tells them, by 3 % apart."""
    return tuple((median_s * np.exp(0.03 * rng.standard_normal(n))).round(9).tolist())


def _cell(
    rng: np.random.Generator, case: Case, median_s: float, n_rounds: int, a_turn: int, **fields: Any
) -> Measurement:
    measured = samples.cell(case, median_s, (1.0,) * n_rounds, calls=a_turn, **fields)
    n = len(measured.samples_s)
    return replace(measured, samples_s=_noise(rng, median_s, n), warmup_s=_noise(rng, median_s, 30))


def _schedules(rng: np.random.Generator, n_cells: int, n_rounds: int) -> dict[str, Any]:
    return {
        "orders": [rng.permutation(n_cells).tolist() for _ in range(n_rounds)],
        "control_s": [_noise(rng, 0.011, n_cells) for _ in range(n_rounds)],
        "stopped_because": f"{n_rounds} rounds were the most asked for",
    }


def _multiprocess(rng: np.random.Generator) -> Run:
    asked = _params("cpu_multiprocess")
    n_rounds, n_processes, n_rows = asked["max_rounds"], N_CPUS, asked["n_samples"]
    parts: dict[str, list[Measurement]] = {"ways": [], "scaling": [], "network": []}

    def add(part: str, case: Case, median_s: float, **fields: Any) -> None:
        measured = _cell(rng, case, median_s, n_rounds, 1, notes={"part": part}, **fields)
        case_spans = tuple(samples.spans(case.executor, sample) for sample in measured.samples_s)
        parts[part].append(replace(measured, spans=case_spans))

    for name in [*asked["executors"], *(f"{name}, cold" for name in asked["cold_executors"])]:
        executor, is_cold = name.removesuffix(", cold"), name.endswith(", cold")
        case = Case(workload="forest", engine="sklearn", executor=executor, batch_size=-(-n_rows // n_processes),
                    n_processes=1 if executor in ("single", "threads") else n_processes, cold=is_cold,
                    n_threads=n_processes if executor == "threads" else 1)  # fmt: skip
        add("ways", case, 4.0 / SPEEDUP[executor] + 2 * is_cold, inputs_per_call=n_rows, peak_memory_bytes=400_000_000)
    for n in process_counts(N_CPUS):
        for rows in asked["scaling_rows"]:
            case = Case(workload="forest", engine="sklearn", executor="single" if n == 1 else "shared_pool",
                        batch_size=-(-rows // n), n_processes=n)  # fmt: skip
            add("scaling", case, 8e-6 * rows / n + 1e-3, inputs_per_call=rows)
    for n in asked["network_processes"]:
        for n_threads in asked["network_threads"]:
            case = Case(workload="cnn-small", engine="torch", executor="single" if n == 1 else "shared_pool",
                        batch_size=16, n_processes=n, n_threads=n_threads)  # fmt: skip
            add("network", case, 1.0 / n / n_threads)
    run = samples.run_of("cpu_multiprocess", [cell for of in parts.values() for cell in of], asked, {})
    run = replace(run, tables={"schedules": {name: _schedules(rng, len(of), n_rounds) for name, of in parts.items()}})
    return replace(run, summary=multiprocess.figures(multiprocess.study(run)))


def _network(
    rng: np.random.Generator, size: str, device: str, batch_size: int, n_rounds: int, a_turn: int
) -> Measurement:
    case = Case(workload=f"cnn-{size}", engine="torch", device=device, batch_size=batch_size, n_threads=N_CPUS)
    median_s = IMAGE_S[size] * (0.2 + 0.8 * batch_size) / (1 if device == "cpu" else 10)
    measured = _cell(rng, case, median_s, n_rounds, a_turn, peak_memory_bytes=400_000_000)
    if device == "cpu":
        return measured
    n = len(measured.samples_s)
    return replace(
        measured,
        samples_s=tuple((1e-3 * np.float32(1e3 * s)).item() for s in measured.samples_s),  # as torch's events tell it
        series={name: _noise(rng, 1.2 * median_s, n) for name in GPU_SERIES}
        | {"throughput_per_s": _noise(rng, batch_size / median_s, n_rounds)},
        figures={"peak_allocated_bytes": 80e6 + 1e6 * batch_size, "peak_reserved_bytes": 120e6},
    )


def _vs_gpu(rng: np.random.Generator) -> Run:
    asked = _params("cpu_vs_gpu")
    calls = {name.removeprefix("cnn-"): n for name, n in asked["iterations"].items()}
    sizes = list(calls)
    n_rounds = asked["max_rounds"]
    cells = [
        _network(rng, size, device, batch_size, n_rounds, -(-calls[size] // n_rounds))
        for size in sizes
        for device in ON
        for batch_size in asked["batch_sizes"]
    ]
    tables = {
        "operations": {size: operations(Cnn(size=size)) for size in sizes},
        "cpu_limits": {"peak_flops_per_s": 100e9, "bytes_per_s": 20e9},
        "accelerator_reason": "",
        "schedules": {"rounds": _schedules(rng, len(cells), n_rounds)},
    }
    run = samples.run_of("cpu_vs_gpu", cells, asked, tables)
    return replace(run, summary=devices.figures(devices.study(run)))


def _sweep(rng: np.random.Generator) -> Run:
    asked = _params("batch_sweep")
    n_rounds = asked["max_rounds"]
    cells = [
        _cell(rng, Case(workload="forest", engine="sklearn", batch_size=batch), 1e-3 + 2e-6 * batch, n_rounds,
              samples_a_turn(20_000, batch), peak_memory_bytes=200_000_000 + 400 * batch)
        for batch in asked["batch_sizes"]["forest"]
    ]  # fmt: skip
    cells += [
        _network(rng, name.removeprefix("cnn-"), device, batch, n_rounds, samples_a_turn(32, batch))
        for name, batches in asked["batch_sizes"].items()
        for device in ON
        for batch in batches
        if name != "forest"
    ]
    tables = {"accelerator_reason": "", "schedules": {"rounds": _schedules(rng, len(cells), n_rounds)}}
    run = samples.run_of("batch_sweep", cells, asked, tables)
    return replace(run, summary=sweep.figures(sweep.study(run)))
