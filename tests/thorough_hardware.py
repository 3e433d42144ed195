"""A made-up `hardware_analysis` run as large as the `thorough` profile makes it on 16 CPUs; every value has noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import sample_runs as samples
import yaml

from inferbench_lib.machine.bandwidth import OPERATIONS, is_measurable, level_of, working_sets
from inferbench_lib.records import Measurement, Run
from inferbench_lib.studies.common import operations, samples_a_turn
from inferbench_lib.studies.hardware_analysis import study as hardware
from inferbench_lib.studies.hardware_analysis.measure import cases_of
from inferbench_lib.work.cnn import Cnn
from inferbench_lib.work.forest import Forest

N_CPUS = 16
ASKED = yaml.safe_load((Path(__file__).parents[1] / "params" / "thorough" / "hardware_analysis.yaml").read_text())
SIZES = [name.removeprefix("cnn-") for name in ASKED["workloads"] if name != "forest"]
CACHES = {"L1d": 48 << 10, "L2": 2 << 20, "L3": 512 << 20}
GROWTH = {"image side": "image_sides", "features": "feature_counts", "depth": "tree_depths", "trees": "tree_counts"}


def thorough_hardware() -> Run:
    """With three networks, every input size, and working sets from L1 to memory."""
    rng = np.random.default_rng(0)
    n_rounds, n = ASKED["max_rounds"], ASKED["profile_rounds"]

    def noisy(median_s: float, count: int = n) -> list[float]:
        return [float(s) for s in (median_s * np.exp(0.03 * rng.standard_normal(count))).round(9)]

    def timed(measured: Measurement) -> Measurement:
        median_s = measured.samples_s[0]
        return replace(
            measured, samples_s=tuple(noisy(median_s, len(measured.samples_s))), warmup_s=tuple(noisy(1, 30))
        )

    cells = [
        samples.trees(case.batch_size, case.n_threads, 1e-2 + 1e-5 * case.batch_size / case.n_threads**0.8,
                      wobble=(1.0,) * n_rounds, calls=samples_a_turn(32, case.batch_size))
        for case in cases_of(Forest(), N_CPUS)
    ]  # fmt: skip
    layers = []
    for size in SIZES:
        for case in cases_of(Cnn(size=size), N_CPUS):
            turn = samples_a_turn(32, case.batch_size)
            cells.append(samples.cell(case, 0.01 * case.batch_size, (1.0,) * n_rounds, calls=turn))
            if case.precision == "fp32":
                layers.append(
                    {
                        "workload": case.workload, "batch_size": case.batch_size, "n_threads": case.n_threads,
                        "precision": "fp32", "whole_s": noisy(0.01 * case.batch_size),
                        "layers": [_layer(row, case.batch_size, noisy) for row in operations(Cnn(size=size))],
                    }
                )  # fmt: skip
    growth = [
        {"input": name, "workload": "cnn-small" if name == "image side" else "forest", "value": value,
         "bytes": 4 * value, "dtype": "float32", "seconds": noisy(1e-4 * value**1.1)}
        for name, key in GROWTH.items()
        for value in ASKED[key]
    ]  # fmt: skip
    base = samples.hardware_run()
    tables = {
        **base.tables,
        "limits": _limits(base.tables["limits"]),
        "operations": {size: operations(Cnn(size=size)) for size in SIZES},
        "layers": layers,
        "growth": growth,
    }
    run = samples.run_of("hardware_analysis", [timed(cell) for cell in cells], ASKED, tables)
    run = replace(run, machine=replace(run.machine, usable_cpus=N_CPUS, logical_cores=N_CPUS))
    return replace(run, summary=hardware.figures(hardware.study(run)))


def _layer(row: dict[str, Any], batch_size: int, noisy: Any) -> dict[str, Any]:
    flops, n_bytes = row["flops_per_image"] * batch_size, row["bytes_fixed"] + row["bytes_per_image"] * batch_size
    return {
        "name": row["name"], "flops": flops, "bytes": n_bytes, "weight_bytes": row["bytes_fixed"],
        "output_bytes": n_bytes // 3, "shape": [256, 64, 64], "seconds": noisy(flops / 5e10 + n_bytes / 1e10 + 1e-5),
    }  # fmt: skip


def _limits(few: dict[str, Any]) -> dict[str, Any]:
    """The same of both thread counts, every precision, working set, process start and transfer."""
    bandwidth = [
        {"operation": name, "working_set_bytes": size, "n_threads": threads,
         "level": level_of(size, threads, CACHES), "limit": samples.limit(threads * 5e6 / size**0.5, "GB/s").__dict__}
        for size in working_sets(2 << 30)
        for threads in (1, N_CPUS)
        for name in OPERATIONS
        if is_measurable(name, size, threads)
    ]  # fmt: skip
    gemm = [
        {**few["gemm"][0], "dtype": dtype, "n_threads": threads}
        for dtype in ("fp32", "fp64", "bf16", "int8")
        for threads in (1, N_CPUS)
    ]
    return {
        **few,
        "bandwidth": bandwidth,
        "memory": bandwidth[-1],
        "gemm": gemm,
        "process_start": few["process_start"] * 4,
        "transfer": few["transfer"] * 16,
        "latency": [
            {
                "working_set_bytes": 16 << 10 << 2 * step,
                "level": "L3",
                "limit": samples.limit(2e-9 * 2**step, "s").__dict__,
            }
            for step in range(7)
        ],
    }
