"""Small runs of every notebook as they are stored: ordinary ones, and ones in which cells failed in every way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from inferbench_lib.machine.bandwidth import Bandwidth, memory_bandwidth
from inferbench_lib.machine.gemm import GemmPeak
from inferbench_lib.machine.limit import Limit
from inferbench_lib.machine.limits import PARTS, Limits
from inferbench_lib.machine.overheads import StartCost, TransferCost
from inferbench_lib.records import Case, Figure, Flag, Machine, Measurement, Outcome, Run, Span, Verification
from inferbench_lib.studies.batch_sweep import study as sweep_analysis
from inferbench_lib.studies.common import operations
from inferbench_lib.studies.cpu_multiprocess import study as multiprocess_analysis
from inferbench_lib.studies.cpu_vs_gpu import study as devices
from inferbench_lib.studies.hardware_analysis import study as hardware
from inferbench_lib.studies.model_engines import study as model_engines
from inferbench_lib.timing.telemetry import Telemetry
from inferbench_lib.work.cnn import Cnn

WOBBLE = (1.0, 1.004, 0.996, 1.002, 0.998, 1.001, 0.999, 1.003)
"""What rounds differ by: too little to matter, and without a trend."""
RAMP = (1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0)
"""Rounds that drift: twice as slow in the second half."""
PASSED = Verification(passed=True, n_checked=60_000, max_abs_difference=0.0)
WRONG = Verification(
    passed=False,
    n_checked=10,
    max_abs_difference=1.0,
    detail="1 of 10 values differ, first at [3]: expected True, got False",
)
MACHINE = Machine(
    cpu_model="Example CPU @ 2.60 GHz",
    architecture="x86_64",
    physical_cores=4,
    logical_cores=8,
    usable_cpus=4,
    usable_reason="4 of 8 CPUs usable (affinity)",
    memory_bytes=16_000_000_000,
    caches={"L1d": 32768, "L2": 1048576, "L3": 33554432},
    operating_system="Linux 6.1",
    python="3.12.2",
    versions={"numpy": "2.4.6", "torch": "2.13.0"},
    environment={"OMP_NUM_THREADS": "1"},
    accelerator_reason="no accelerator: no NVIDIA driver",
    git_revision="0123abc",
    git_dirty=False,
)
FAILED = {"outcome": Outcome.FAILED, "reason": "worker 2 ended by SIGKILL in batch 7, likely out of memory"}
OOM = {"outcome": Outcome.OOM, "reason": "CUDA out of memory: tried to allocate 2.00 GB"}


def cell(
    case: Case, median_s: float, wobble: Sequence[float] = WOBBLE, *, calls: int = 1, **fields: Any
) -> Measurement:
    """A verified cell with `calls` samples in each round, the n-th round `wobble[n]` times the median."""
    samples = tuple(median_s * w for w in wobble for _ in range(calls))
    values: dict[str, Any] = {
        "inputs_per_call": case.batch_size,
        "verification": PASSED,
        "warmup_s": (1.1 * median_s,),
        "cold_s": 3 * median_s,
        "startup_s": {"load_s": 0.25},
        "started_at": "2026-07-12T14:03:02+00:00",
    }
    return Measurement(
        case=case, samples_s=samples, round_sizes=(calls,) * len(wobble), **values | {"worker_pid": 4711} | fields
    )


def without_samples(case: Case, **fields: Any) -> Measurement:
    """A cell that was never measured."""
    return Measurement(case=case, inputs_per_call=case.batch_size, **fields)


def wrong(measured: Measurement) -> Measurement:
    """The same cell with wrong outputs."""
    reason = f"outputs differ from the reference: {WRONG.detail}"
    return replace(measured, verification=WRONG, outcome=Outcome.INVALID, reason=reason)


def schedules(n_cells: int, n_rounds: int = len(WOBBLE)) -> dict[str, Any]:
    """What a session notes of its rounds."""
    return {
        "rounds": {
            "orders": [list(range(n_cells))] * n_rounds,
            "control_s": [[0.011, 0.012][: max(1, n_cells)]] * n_rounds,
            "stopped_because": f"{n_rounds} rounds were the most asked for",
        }
    }


def run_of(notebook: str, measurements: Iterable[Measurement], params: dict[str, Any], tables: dict[str, Any]) -> Run:
    rows = tuple(measurements)
    return Run(
        notebook=notebook,
        run_id="20260712-140302-standard",
        machine=MACHINE,
        params={"seed": 0, "reuse": None, **params},
        started_at="2026-07-12T14:03:02+00:00",
        duration_s=161.5,
        measurements=rows,
        tables={"schedules": schedules(len(rows)), **tables},
    )


# cpu_multiprocess

N_ROWS = 60_000
TIMES_S = {"single": 4.0, "threads": 1.25, "naive_pool": 5.0, "shared_pool": 1.2, "ceiling": 1.0}
WAYS = {"single": (1, 1), "threads": (1, 4), "naive_pool": (4, 1), "shared_pool": (4, 1), "ceiling": (4, 1)}


def way(name: str, **fields: Any) -> Measurement:
    """One executor's cell over all rows, with spans that account for its time."""
    n_processes, n_threads = WAYS[name]
    case = Case(
        workload="forest",
        engine="sklearn",
        executor=name,
        batch_size=15_000,
        n_processes=n_processes,
        n_threads=n_threads,
    )
    median_s = TIMES_S[name]
    measured = cell(case, median_s, **{"inputs_per_call": N_ROWS, "startup_s": {"executor_s": 0.9}} | fields)
    if not measured.samples_s or "spans" in fields:
        return measured
    return replace(measured, spans=tuple(spans(name, sample) for sample in measured.samples_s))


def spans(name: str, sample_s: float) -> tuple[Span, ...]:
    """Where one pass went: 4.0 CPU seconds of work in all, the rest start, sending and waiting."""
    call = Span(worker=-1, kind="call", start_s=0.0, end_s=sample_s)
    if name == "single":
        return call, Span(worker=0, kind="compute", start_s=0.0, end_s=sample_s, cpu_s=4.0, n_rows=N_ROWS)
    if name == "threads":
        return call, Span(worker=0, kind="compute", start_s=0.0, end_s=sample_s, cpu_s=4.4, n_rows=N_ROWS)
    begun = 0.5 * sample_s if name == "naive_pool" else 0.0
    first = "start" if name == "naive_pool" else "wait"
    parts: list[Span] = []
    for worker in range(4):
        worked_s = min(1.1, sample_s - begun)
        done = begun + worked_s
        if begun:
            parts.append(Span(worker=worker, kind=first, start_s=0.0, end_s=begun))
        parts.append(
            Span(worker=worker, kind="compute", start_s=begun, end_s=done, cpu_s=min(1.0, worked_s), n_rows=N_ROWS // 4)
        )
    return call, *parts


def multiprocess(*cells: Measurement) -> Run:
    """A run of these cells; by default of all five ways, the shared-memory pool the fastest, the naive one slower."""
    params = {
        "n_samples": N_ROWS,
        "n_features": 50,
        "n_processes": 4,
        "batch_size": 15_000,
        "n_trees": 50,
        "n_train": 5000,
        "executors": list(WAYS),
        "min_rounds": 8,
        "max_rounds": 8,
        "target_width": 0.03,
        "time_limit_s": 150.0,
    }
    run = run_of("cpu_multiprocess", cells or [way(name) for name in WAYS], params, {})
    return replace(run, summary=multiprocess_analysis.figures(multiprocess_analysis.study(run)))


def failed_way(name: str) -> Measurement:
    return without_samples(way(name).case, **FAILED)


# cpu_vs_gpu

DEVICE_SERIES = {
    "end_to_end_s": 1.2,
    "host_to_device_s": 0.1,
    "host_to_device_pinned_s": 0.05,
    "device_to_host_s": 0.02,
}
"""What is measured beside a call on the device, over its seconds."""
QUEUED = 0.8
"""Seconds per call that waits for no other, over those of a call by itself."""
IMAGE_S = {("small", "cpu"): 0.04, ("large", "cpu"): 0.8, ("small", "cuda:0"): 0.008, ("large", "cuda:0"): 0.1}


def network(size: str, device: str, batch_size: int, **fields: Any) -> Measurement:
    """A network's cell; a batch costs a fifth of an image and each image the rest."""
    case = Case(workload=f"cnn-{size}", engine="torch", device=device, batch_size=batch_size, n_threads=4)
    median_s = IMAGE_S[size, device] * (0.2 + 0.8 * batch_size)
    wobble = fields.get("wobble", WOBBLE)
    if device != "cpu":
        fields = {
            "figures": {
                "peak_allocated_bytes": 80e6 + 1e6 * batch_size,
                "peak_reserved_bytes": 120e6,
                "launch_bound_share": 0.25,
            },
            "series": {
                **{name: tuple(share * median_s * w for w in wobble) for name, share in DEVICE_SERIES.items()},
                "throughput_per_s": tuple(batch_size / (QUEUED * median_s * w) for w in wobble),
            },
        } | fields
    return cell(case, median_s, **{"calls": 3} | fields)


def own_model(measured: Measurement) -> Measurement:
    """The same cell of a model of the user's, of whose operators nothing is known."""
    return replace(measured, case=replace(measured.case, workload="my-model"))


def device_cells(
    on: Sequence[str], sizes: Sequence[str] = ("small", "large"), batches: Sequence[int] = (1, 4, 16)
) -> list[Measurement]:
    return [network(size, device, batch) for size in sizes for device in on for batch in batches]


def vs_gpu(cells: Sequence[Measurement] | None = None, *, gpu: bool = False) -> Run:
    """A run of the small and the large network, by default on the processor alone."""
    params = {
        "sizes": ["small", "large"],
        "batch_sizes": [1, 4, 16],
        "device": "auto",
        "warmup": 10,
        "iterations": 24,
        "memory_cap_bytes": None,
        "min_rounds": 8,
        "max_rounds": 8,
    }
    tables = {
        "operations": {size: operations(Cnn(size=size)) for size in ("small", "large")},
        "cpu_limits": {"peak_flops_per_s": 100e9, "bytes_per_s": 20e9},
        "accelerator_reason": "" if gpu else "no accelerator: no NVIDIA driver",
    }
    chosen = device_cells(["cpu", "cuda:0"] if gpu else ["cpu"]) if cells is None else cells
    run = run_of("cpu_vs_gpu", chosen, params, tables)
    return replace(run, summary=devices.figures(devices.study(run)))


# batch_sweep


def rows_cell(batch_size: int, **fields: Any) -> Measurement:
    """The forest's cell: 1 ms and 2 µs a row, levelling off at 500,000 rows a second."""
    case = Case(workload="forest", engine="sklearn", batch_size=batch_size)
    measured = cell(case, 1e-3 + 2e-6 * batch_size, **{"calls": 40 if batch_size < 1000 else 8} | fields)
    return (
        measured
        if "peak_memory_bytes" in fields
        else replace(measured, peak_memory_bytes=200_000_000 + 400 * batch_size, figures={"idle_bytes": 199_000_000})
    )


def sweep(cells: Sequence[Measurement] | None = None, **params: Any) -> Run:
    """A run of the forest over four batch sizes and the small network on processor and GPU, within limits."""
    values = {
        "forest_batch_sizes": [1, 100, 10_000, 100_000],
        "cnn_batch_sizes": [1, 4, 16],
        "sizes": ["small"],
        "max_latency_s": 0.1,
        "max_memory_bytes": 2_000_000_000,
        "memory_cap_bytes": None,
    }
    chosen = cells
    if chosen is None:
        chosen = [rows_cell(batch) for batch in (1, 100, 10_000, 100_000)]
        chosen += [network("small", "cpu", batch, calls=8, peak_memory_bytes=400_000_000) for batch in (1, 4, 16)]
        chosen += [network("small", "cuda:0", batch, calls=8, peak_memory_bytes=80_000_000) for batch in (1, 4, 16)]
    run = run_of("batch_sweep", chosen, values | params, {"accelerator_reason": ""})
    return replace(run, summary=sweep_analysis.figures(sweep_analysis.study(run)))


# model_engines

FOREST_S = {
    ("sklearn", 1): {1: 4e-3, 1000: 40e-3, 100_000: 1.0},
    ("sklearn", 4): {1: 20e-3, 1000: 20e-3, 100_000: 0.5},
    ("onnxruntime", 4): {1: 10e-6, 1000: 10e-3, 100_000: 1.0},
}
"""Seconds per call by engine and threads: scikit-learn is half as fast at 1,000 rows and twice at 100,000."""
NETWORK_S = {
    ("torch", "fp32"): 40e-3,
    ("torch_malloc", "fp32"): 32e-3,
    ("torch_channels_last", "fp32"): 25e-3,
    ("onnxruntime", "fp32"): 16e-3,
    ("openvino", "bf16"): 4e-3,
    ("onnxruntime", "int8"): 2e-3,
}
"""Seconds per call of 16 images by engine and precision; int8 is the fastest, and wrong too often."""
NETWORK_FLOPS = 20e6
REFUSED = "treelite: expected a model of trees, got TypeError: no trees"


def engine_cell(
    workload: str, engine: str, batch_size: int, median_s: float, *, precision: str = "fp32", n_threads: int = 4,
    disagreements: int = 0, ties: int = 0, wobble: Sequence[float] = WOBBLE, **fields: Any,
) -> Measurement:  # fmt: skip
    """One engine's cell, compared with the reference for 1,000 inputs; eager PyTorch pays 50 page faults per call."""
    case = Case(workload=workload, engine=engine, batch_size=batch_size, precision=precision, n_threads=n_threads)
    seen = {"n_inputs": 1000, "n_disagreements": disagreements, "n_ties": ties, "largest_difference": 1e-7}
    faults = (50.0 if engine == "torch" else 0.0,) * len(wobble)
    return cell(case, median_s, wobble, **{"figures": seen, "series": {"minor_faults": faults}} | fields)


def engine_cells() -> list[Measurement]:
    """The cells of `FOREST_S` and `NETWORK_S`."""
    forest = [
        engine_cell("forest", engine, batch, median_s, n_threads=n_threads, ties=2 if engine == "onnxruntime" else 0)
        for (engine, n_threads), sizes in FOREST_S.items()
        for batch, median_s in sizes.items()
    ]
    wrong_in_int8 = {"int8": 20}
    network = [
        engine_cell("cnn-small", engine, 16, s, precision=precision, disagreements=wrong_in_int8.get(precision, 0))
        for (engine, precision), s in NETWORK_S.items()
    ]
    return forest + network


def engines(cells: Sequence[Measurement] | None = None, **params: Any) -> Run:
    """A run of the forest at three batch sizes and the small network at one; treelite refused the forest."""
    chosen = engine_cells() if cells is None else cells
    refused = [Case(workload="forest", engine="treelite", batch_size=n, n_threads=4) for n in (1, 1000, 100_000)]
    tried = [{"case": asdict(one.case), "seconds": 0.1, "reason": ""} for one in chosen]
    tried += [{"case": asdict(case), "seconds": None, "reason": REFUSED} for case in refused]
    price = {"conversion_s": 2.0, "model_bytes": 12e6, "import_s": 0.3, "load_s": 0.1, "first_call_s": 0.02}
    usual = {"forest": {"engine": "sklearn", "threads": 1}, "cnn-small": {"engine": "torch", "threads": 4}}
    tables = {
        "tried": tried,
        "prices": [{"workload": "forest", "engine": "onnxruntime", "precision": "fp32", **price}],
        "flops": {"cnn-small": NETWORK_FLOPS},
        "gemm_gflops": {"1": 10.0, "4": 40.0},
        "baselines": {name: usual[name] for name in dict.fromkeys(one.case.workload for one in chosen)},
        "accelerator_reason": "no accelerator: no NVIDIA driver",
    }
    values = {
        "batch_sizes": {"forest": [1, 1000, 100_000], "cnn-small": [16]},
        "keep_within": 2.0,
        "max_latency_s": None,
        "min_agreement": 0.99,
    }
    run = run_of("model_engines", chosen, values | params, tables)
    return replace(run, summary=model_engines.figures(model_engines.study(run)))


# hardware_analysis


def limit(value: float, unit: str) -> Limit:
    return Limit(value=value, low=0.9 * value, high=value, unit=unit, repeats=5)


def limits() -> Limits:
    """A machine of 100 GFLOP/s and 20 GB/s, whose copies pass by the caches."""
    peaks = {("fp32", 1): 30.0, ("fp32", 4): 100.0, ("fp64", 4): 50.0, ("int8", 4): 40.0}
    sets = {(32 << 10, "L1d"): 200.0, (1 << 20, "L2"): 100.0, (1 << 30, "RAM"): 20.0}
    bandwidth = tuple(
        Bandwidth(operation=name, working_set_bytes=size, n_threads=4, level=level, limit=limit(scale * v, "GB/s"))
        for (size, level), v in sets.items()
        for name, scale in (("triad", 1.0), ("read", 0.8), ("copy", 1.5))
    )
    return Limits(
        gemm=tuple(
            GemmPeak(dtype=d, n_threads=n, library="OpenBLAS", n=2048, limit=limit(v, "GFLOP/s"))
            for (d, n), v in peaks.items()
        ),
        bandwidth=bandwidth,
        memory=memory_bandwidth(bandwidth),
        process_start=(
            StartCost(method="fork", imports="", limit=limit(0.004, "s")),
            StartCost(method="spawn", imports="torch", limit=limit(1.4, "s")),
        ),
        transfer=(TransferCost(method="pickle over a pipe", size_bytes=1 << 20, limit=limit(0.002, "s")),),
        calls={"python call": limit(60e-9, "s"), "torch operator": limit(1.5e-6, "s")},
        flags=(Flag(name="load", text="matrix multiplication: another program took 12 % of the CPUs (limit 5 %)"),),
        telemetry={part: Telemetry(start_s=1.0, end_s=2.0) for part in PARTS},
    )


def pool(n_processes: int, median_s: float, **fields: Any) -> Measurement:
    """The forest on a shared-memory pool."""
    case = Case(workload="forest", engine="sklearn", executor="shared_pool", batch_size=5000, n_processes=n_processes)
    return cell(case, median_s, **{"inputs_per_call": 20_000} | fields)


AMDAHL_10 = {n: 2.0 * (0.1 + 0.9 / n) for n in (1, 2, 4)}
"""Seconds by Amdahl's law with a serial tenth."""


LAYERS = {
    "conv1": (1e9, 1e6, 4e5, 0.02),  # 10 ms of arithmetic: half of its roof
    "pool1": (0, 1e6, 0, 0.02),  # 10 µs of traffic from L2
    "linear1": (1e6, 2e8, 1.9e8, 0.02),  # 10 ms of traffic from memory
}
"""FLOPs, bytes, bytes of weights and seconds of a made-up network's layers."""


def standing_tables(wobble: Sequence[float] = WOBBLE) -> dict[str, Any]:
    """What the passes over layers, node visits and input sizes leave: a network of 60 ms on 4 threads."""
    layers = [
        {
            "name": name,
            "flops": flops,
            "bytes": n_bytes,
            "weight_bytes": weights,
            "output_bytes": 4,
            "shape": [64, 32, 32],
            "seconds": [s * w for w in wobble],
        }
        for name, (flops, n_bytes, weights, s) in LAYERS.items()
    ]
    profile = {"workload": "cnn-small", "batch_size": 1, "n_threads": 4, "precision": "fp32", "layers": layers}
    growth = [
        {"input": name, "workload": whose, "value": value, "bytes": 4 * value, "dtype": "float32",
         "seconds": [1e-3 * value**power * w for w in wobble]}
        for name, whose, power in (("image side", "cnn-small", 2.0), ("trees", "forest", 1.0))
        for value in (10, 20, 40)
    ]  # fmt: skip
    return {
        "layers": [{**profile, "whole_s": [0.063 * w for w in wobble]}],
        "visits": {"visits": 1000.0, "node_bytes": 64.0, "tree_bytes": 200_000.0, "n_trees": 100.0, "n_nodes": 7e5,
                   "depth": 20.0},
        "growth": growth,
        "not_profiled": [],
    }  # fmt: skip


def trees(rows: int, n_threads: int, median_s: float, **fields: Any) -> Measurement:
    """The forest in one process."""
    case = Case(workload="forest", engine="sklearn", batch_size=rows, n_threads=n_threads)
    return cell(case, median_s, **fields)


def standing_cells() -> list[Measurement]:
    """The forest: 10 ms a call and 10 µs a row; 4 threads halve what 1 takes, against 3.7 times by the model."""
    return [trees(1, 1, 0.01001), trees(16, 1, 0.0102), trees(10_000, 1, 0.11), trees(10_000, 4, 0.055)]


def hardware_run(cells: Sequence[Measurement] | None = None, **machine: Any) -> Run:
    """A run with a pool of 1 to 8 processes and the small network at two batch sizes."""
    chosen = cells
    if chosen is None:
        chosen = [pool(n, s) for n, s in (AMDAHL_10 | {8: 1.0}).items()]
        chosen += [network("small", "cpu", batch) for batch in (1, 16)]
        chosen += standing_cells()
    tables = {
        "limits": asdict(limits()),
        "operations": {"small": operations(Cnn(size="small"))},
        **(standing_tables() if cells is None else {}),
    }
    run = run_of("hardware_analysis", chosen, {"budget_s": 8.0, "sizes": ["small"]}, tables)
    run = replace(run, machine=replace(MACHINE, **machine))
    return replace(run, summary=hardware.figures(hardware.study(run)))


def with_tables(run: Run, **tables: Any) -> Run:
    """The same run with other tables."""
    run = replace(run, tables={**run.tables, **tables})
    return replace(run, summary=hardware.figures(hardware.study(run)))


# Every kind of page


def full() -> Run:
    """A record in which no field is left at its default."""
    flag = Flag(name="throttled", text="throttled for 3 s", invalidates=True)
    measured = way(
        "shared_pool",
        flags=(flag,),
        outcome=Outcome.UNSTABLE,
        reason="drift",
        peak_memory_bytes=1 << 30,
        series={"wall_s": (0.1, 0.2)},
        figures={"peak_allocated_bytes": 8e7},
        notes={"tf32": "off"},
    )
    figure = Figure(value=1.83, low=1.79, high=1.86, unit="×", verdict="faster")
    run = multiprocess(measured)
    return replace(run, simulated=True, summary={"speedup": figure, "verification": Figure(value="PASSED")})


def flagged(measured: Measurement) -> Measurement:
    """The cell, throttled."""
    flag = Flag(
        name="throttled", text="the container was throttled for 3.0 s (limit 0 s); raise its quota", invalidates=True
    )
    return replace(measured, flags=(flag,))


SHORT = WOBBLE[:3]
RUNS: dict[str, Run] = {
    "multiprocess": multiprocess(),
    "multiprocess, all failed": multiprocess(*(failed_way(name) for name in WAYS)),
    "multiprocess, baseline failed": multiprocess(failed_way("single"), *(way(name) for name in list(WAYS)[1:])),
    "multiprocess, pool failed": multiprocess(way("single"), way("threads"), failed_way("shared_pool")),
    "multiprocess, baseline alone": multiprocess(way("single")),
    "multiprocess, too few rounds": multiprocess(*(way(name, wobble=SHORT) for name in WAYS)),
    "multiprocess, one round": multiprocess(*(way(name, wobble=(1.0,)) for name in WAYS)),
    "multiprocess, unstable": multiprocess(way("single"), way("threads", wobble=RAMP), flagged(way("shared_pool"))),
    "multiprocess, wrong outputs": multiprocess(way("single"), wrong(way("threads")), way("shared_pool")),
    "multiprocess, wrong baseline": multiprocess(wrong(way("single")), way("threads"), way("shared_pool")),
    "devices": vs_gpu(),
    "devices, GPU": vs_gpu(gpu=True),
    "devices, GPU out of memory": vs_gpu(
        [
            *device_cells(["cpu"], ["small"]),
            *(network("small", "cuda:0", batch) for batch in (1, 4)),
            without_samples(network("small", "cuda:0", 16).case, **OOM),
        ],
        gpu=True,
    ),
    "devices, GPU out of memory at the first batch": vs_gpu(
        [
            *device_cells(["cpu"], ["small"]),
            without_samples(network("small", "cuda:0", 1).case, **OOM),
            *(network("small", "cuda:0", batch) for batch in (4, 16)),
        ],
        gpu=True,
    ),
    "devices, GPU lost": vs_gpu(
        [*device_cells(["cpu"]), *(without_samples(c.case, **FAILED) for c in device_cells(["cuda:0"]))], gpu=True
    ),
    "devices, all failed": vs_gpu(
        [without_samples(c.case, **FAILED) for c in device_cells(["cpu", "cuda:0"])], gpu=True
    ),
    "devices, processor failed": vs_gpu(
        [*(without_samples(c.case, **FAILED) for c in device_cells(["cpu"])), *device_cells(["cuda:0"])], gpu=True
    ),
    "devices, too few rounds": vs_gpu(
        [network("small", device, batch, wobble=SHORT) for device in ("cpu", "cuda:0") for batch in (1, 4)], gpu=True
    ),
    "devices, own model": vs_gpu([own_model(network("small", device, 1)) for device in ("cpu", "cuda:0")], gpu=True),
    "devices, one sample": vs_gpu([network("small", "cpu", 1, wobble=(1.0,), calls=1)]),
    "devices, unstable": vs_gpu(
        [network("small", "cpu", 1, wobble=RAMP), flagged(network("small", "cuda:0", 1))], gpu=True
    ),
    "devices, wrong outputs": vs_gpu(
        [network("small", "cpu", 1), wrong(network("small", "cuda:0", 1)), network("large", "cpu", 1)], gpu=True
    ),
    "sweep": sweep(),
    "sweep, no limits": sweep(max_latency_s=None, max_memory_bytes=None),
    "sweep, nothing fits": sweep(max_latency_s=1e-6),
    "sweep, all failed": sweep([without_samples(rows_cell(batch).case, **FAILED) for batch in (1, 100)]),
    "sweep, too few rounds": sweep([rows_cell(batch, wobble=SHORT) for batch in (1, 100)]),
    "sweep, no memory": sweep([rows_cell(batch, peak_memory_bytes=None) for batch in (1, 100)]),
    "sweep, unstable": sweep([rows_cell(1, wobble=RAMP), flagged(rows_cell(100))]),
    "sweep, wrong outputs": sweep([rows_cell(1), wrong(rows_cell(100)), rows_cell(10_000)]),
    "sweep, one batch": sweep([rows_cell(100)]),
    "sweep, GPU out of memory": sweep(
        [
            network("small", "cuda:0", 1, peak_memory_bytes=80_000_000),
            without_samples(network("small", "cuda:0", 16).case, **OOM),
        ]
    ),
    "engines": engines(),
    "engines, nothing fits": engines(max_latency_s=1e-6),
    "engines, all failed": engines([without_samples(one.case, **FAILED) for one in engine_cells()]),
    "engines, baseline failed": engines(
        [without_samples(engine_cells()[0].case, **FAILED), engine_cell("forest", "onnxruntime", 1, 1e-5)]
    ),
    "engines, too few rounds": engines(
        [
            engine_cell("forest", "sklearn", 1, 4e-3, n_threads=1, wobble=SHORT),
            engine_cell("forest", "onnxruntime", 1, 1e-5, wobble=SHORT),
        ]
    ),
    "engines, unstable": engines(
        [engine_cell("cnn-small", "torch", 16, 0.04), engine_cell("cnn-small", "openvino", 16, 0.01, wobble=RAMP)]
    ),
    "engines, wrong outputs": engines(
        [engine_cell("cnn-small", "torch", 16, 0.04), wrong(engine_cell("cnn-small", "openvino", 16, 0.01))]
    ),
    "hardware": hardware_run(),
    "hardware, one CPU": hardware_run([pool(1, 2.0), pool(2, 2.1)], usable_cpus=1, usable_reason="1 of 8 CPUs usable"),
    "hardware, no serial part": hardware_run([pool(n, 2.0 / n) for n in (1, 2, 4)]),
    "hardware, slower with more": hardware_run([pool(n, 2.0 * n) for n in (1, 2, 4)]),
    "hardware, all failed": hardware_run(
        [without_samples(c.case, **FAILED) for c in (*(pool(n, 1.0) for n in (1, 2, 4)), network("small", "cpu", 1))]
    ),
    "hardware, baseline failed": hardware_run(
        [without_samples(pool(1, 1.0).case, **FAILED), pool(2, 1.0), pool(4, 0.6)]
    ),
    "hardware, too few rounds": hardware_run([pool(n, s, wobble=SHORT) for n, s in AMDAHL_10.items()]),
    "hardware, unstable": hardware_run([pool(1, 2.0), pool(2, 1.1, wobble=RAMP), flagged(pool(4, 0.65))]),
    "hardware, wrong outputs": hardware_run(
        [pool(1, 2.0), pool(2, 1.1), wrong(pool(4, 0.01)), wrong(network("small", "cpu", 1))]
    ),
    "hardware, nothing measured": hardware_run([]),
    "hardware, layers not measured": with_tables(
        hardware_run(),
        layers=[],
        visits={},
        growth=[],
        not_profiled=["the forest's node visits was not measured: lost"],
    ),
    "hardware, layers in too few rounds": with_tables(hardware_run(), **standing_tables(SHORT)),
    "hardware, wrong forest": hardware_run([wrong(trees(1, 1, 0.01)), trees(10_000, 1, 0.1)]),
}
NAMES = list(RUNS)
ALL = list(RUNS.values())
