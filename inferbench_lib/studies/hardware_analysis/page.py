"""The page of `hardware_analysis`: what this machine can do, and which limit binds the workloads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from inferbench_lib.records import Verdict
from inferbench_lib.report import figures
from inferbench_lib.report.display import Answer, Card, View
from inferbench_lib.report.words import capital, digits, gathered, interval, joined, plural, ratio, share, size, times
from inferbench_lib.stats.refusal import Refusal
from inferbench_lib.studies.hardware_analysis import figures as hardware_figures
from inferbench_lib.studies.hardware_analysis import page_standing as standing
from inferbench_lib.studies.hardware_analysis.page_growth import growth, growth_table
from inferbench_lib.studies.hardware_analysis.page_layers import layer_table, layer_times
from inferbench_lib.studies.hardware_analysis.page_process_costs import process_table
from inferbench_lib.studies.hardware_analysis.page_standing import forest_table, workload_roofline
from inferbench_lib.studies.hardware_analysis.page_whatif import what_if_table, what_ifs
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy, Placed, study

__all__ = [
    "VIEWS",
    "answer",
    "forest_table",
    "growth",
    "growth_table",
    "layer_table",
    "layer_times",
    "process_table",
    "study",
    "what_if_table",
    "what_ifs",
    "workload_roofline",
]

NEAREST = {"compute": "arithmetic", "bandwidth": "memory bandwidth", "overhead": "the cost of launching operators"}
REMEDIES = {
    "compute": "a faster processor, more cores or a lower precision would change it",
    "bandwidth": "a larger batch would change it",
    "overhead": "a larger batch or a compiled graph would change it",
}
MOST_SPEEDUP = 1000
"""A serial fraction below its inverse cannot be told from none."""
ABOVE_THE_ROOF = 1.05
PASSING = 1.1
"""Copy above triad by more than this uses other stores: by ordinary ones it counts 2 of 3 lines moved, triad 3 of 4."""
NEAR_THE_ROOF = 0.5
"""Below this share of the attainable it is not the roof that holds a program back."""


def answer(said: HardwareStudy) -> Answer:
    """Which limit binds, and the figures that say so."""
    peak, memory = said.peak["limit"], said.memory["limit"]
    cards = (
        Card(
            value=f"{digits(peak['value'])} GFLOP/s",
            label=f"fp32 GEMM peak, {plural(said.peak['n_threads'], 'thread')}, {said.peak['library']}",
            interval=f"repeats {digits(peak['low'])} to {digits(peak['high'])}",
        ),
        Card(
            value=f"{digits(memory['value'])} GB/s",
            label=f"memory bandwidth, {said.memory['operation']} of {size(said.memory['working_set_bytes'])}",
            interval=f"repeats {digits(memory['low'])} to {digits(memory['high'])}",
        ),
        Card(value=str(said.usable_cpus), label="usable CPUs", interval=said.run.machine.usable_reason),
    )
    cells = said.run.measurements
    seen = gathered(
        (*said.flags, *(flag for cell in cells for flag in cell.flags)),
        len(said.run.tables["limits"]["telemetry"]) + len(cells),
    )
    return Answer(
        verdict=f"{_bound_verdict(said)} {_forest_verdict(said)}",
        cards=(*standing.binding_cards(said), *cards),
        flags=(*seen, *said.standing.not_measured),
    )


def _bound_verdict(said: HardwareStudy) -> str:
    """What binds each workload, from its layers and node visits; from whole networks where those were not measured."""
    sentences = standing.verdicts(said)
    networks = any(one.workload != "forest" for one in said.standing.bindings)
    return " ".join(sentences if networks else [_network_verdict(said), *sentences])


def _network_verdict(said: HardwareStudy) -> str:
    if not said.placed:
        return "No network was measured, so no limit can be named for one."
    cell = max(said.placed, key=lambda placed: placed.point.share)
    return _standing(cell)


def _standing(cell: Placed) -> str:
    """Where a network stands under the roof, and what would change it."""
    point = cell.point
    reached = (
        f"{capital(_name(cell))} reaches {digits(point.reached_flops_per_s / 1e9)} GFLOP/s, {share(point.share)} of "
        f"the {digits(point.attainable_flops_per_s / 1e9)} attainable here"
    )
    if point.share > ABOVE_THE_ROOF:
        return f"{reached}: that roof was measured while the machine was busier, too low; measure again."
    if point.share >= NEAR_THE_ROOF:
        return f"{reached}: {NEAREST[point.bound]} binds; {REMEDIES[point.bound]}."
    return (
        f"{reached}: the nearest limit is {NEAREST[point.bound]}, but {share(1 - point.share)} of it is lost in the "
        "program itself (kernels, memory layout, calls), which another engine could win back."
    )


def _forest_verdict(said: HardwareStudy) -> str:
    within = {n: r for n, r in said.speedups.items() if 1 < n <= said.usable_cpus and r.verdict is not Verdict.INVALID}
    if said.usable_cpus == 1:
        return "With one usable CPU there is nothing that several processes could win."
    if not within:
        return "The forest's scaling over processes was not measured."
    n = max(within)
    return (
        f"The forest on {plural(n, 'process', 'processes')} runs at {ratio(within[n])} the speed of one, "
        f"{share(within[n].value / n)} of the {n}× that {plural(n, 'independent CPU')} would give."
    )


def gemm_peaks(said: HardwareStudy) -> View:
    """How fast can it multiply?"""
    frame = pd.DataFrame(
        {
            "label": row["dtype"],
            "group": plural(row["n_threads"], "thread"),
            "value": row["limit"]["value"],
            "low": row["limit"]["low"],
            "high": row["limit"]["high"],
        }
        for row in said.gemm
    )
    frame.attrs = {"y": "GFLOP/s (int8: giga-operations/s)", "say": digits}
    spoken = "; ".join(
        f"{row['dtype']} on {plural(row['n_threads'], 'thread')} {digits(row['limit']['value'])} ({row['library']})"
        for row in said.gemm
    )
    reading = f"Best of interleaved repeats, in GFLOP/s, by the quickest library: {spoken}."
    return View(name="gemm_peaks", frame=frame, draw=figures.bars, alt=f"GEMM peak by precision and threads. {reading}",
                reading=reading)  # fmt: skip


def bandwidth(said: HardwareStudy) -> View:
    """How fast can it move data?"""
    memory = said.memory
    frame = pd.DataFrame(
        {
            "panel": plural(row["n_threads"], "thread"),
            "label": row["operation"],
            "x": row["working_set_bytes"],
            "y": row["limit"]["value"],
            "level": row["level"],
            "mark": all(row[name] == memory[name] for name in ("operation", "n_threads", "working_set_bytes")),
        }
        for row in sorted(said.bandwidth, key=lambda row: (row["n_threads"], row["working_set_bytes"]))
    )
    frame.attrs = {"x": "working set of all threads", "y": "GB/s"}
    reading = _bandwidth_reading(said)
    return View(name="memory_bandwidth", frame=frame, draw=hardware_figures.bandwidth,
                alt=f"Bandwidth by working set, the memory roof ringed. {reading}", reading=reading,
                size_inches=(7.4, 3.4), grid=(1, frame["panel"].nunique()))  # fmt: skip


def _bandwidth_reading(said: HardwareStudy) -> str:
    memory = said.memory
    most = max(said.bandwidth, key=lambda row: row["limit"]["value"])
    at_memory = {
        row["operation"]: row["limit"]["value"]
        for row in said.bandwidth
        if all(row[name] == memory[name] for name in ("n_threads", "working_set_bytes"))
    }
    text = (
        f"The most is {digits(most['limit']['value'])} GB/s by {most['operation']} with "
        f"{size(most['working_set_bytes'])} ({most['level']}). With {size(memory['working_set_bytes'])} "
        f"({memory['level']}) on {plural(memory['n_threads'], 'thread')} it is "
        f"{joined(f'{digits(rate)} by {name}' for name, rate in at_memory.items())}: the memory roof is "
        f"{digits(memory['limit']['value'])} GB/s by {memory['operation']}, the faster of read and triad."
    )
    if memory["level"] not in ("RAM", "unknown"):
        text += f" {memory['level']} can hold that much: memory itself may be slower."
    copy, triad = at_memory.get("copy", 0.0), at_memory.get("triad", at_memory.get("read", 0.0))
    if copy > PASSING * triad:
        text += (
            " Copy is faster because its stores pass by the caches there (memcpy's non-temporal stores), which spares "
            "reading what they overwrite; a kernel that reads, or stores as usual, cannot reach that."
        )
    return text


def scaling(said: HardwareStudy) -> View:
    """What does another process bring?"""
    usable = said.usable_cpus
    known = {n: r for n, r in said.speedups.items() if r.verdict is not Verdict.INVALID}
    rows: list[dict[str, Any]] = [
        {"x": n, "y": r.value, "low": r.low, "high": r.high, "label": "the forest, measured"} for n, r in known.items()
    ]
    rows += [{"x": n, "y": min(n, usable), "low": None, "high": None, "label": "ideal"} for n in known]
    frame = pd.DataFrame(rows, columns=["x", "y", "low", "high", "label"]).astype({"low": float, "high": float})
    frame.attrs = {"x": "processes", "y": "speedup over one process (×)"}
    spoken = joined(f"{plural(n, 'process', 'processes')} {ratio(r)}" for n, r in known.items() if n > 1)
    reading = f"Speedup over one process: {spoken or 'not measured'}. {_law(said)}"
    return View(name="scaling", frame=frame, draw=_linear, alt=f"Speedup by number of processes. {reading}",
                reading=reading)  # fmt: skip


def _linear(frame: pd.DataFrame, axes: Sequence[Any]) -> None:
    figures.lines(frame, axes, log_y=False)


def _law(said: HardwareStudy) -> str:
    if isinstance(said.amdahl, Refusal):
        return f"No law was fitted: {said.amdahl.reason}."
    fraction, most = said.amdahl.serial_fraction, said.amdahl.max_speedup.value
    bound = f"so that no number of processes exceeds {times(most)}" if most < MOST_SPEEDUP else "too little to bind"
    return (
        f"Amdahl's law fits with a serial fraction of {share(fraction.value)} "
        f"({interval(fraction.low, fraction.high, share)}), {bound}."
    )


VIEWS = (workload_roofline, layer_times, what_ifs, growth, gemm_peaks, bandwidth, scaling)


def _name(cell: Placed) -> str:
    return f"{standing.workload(cell.workload)} at batch {cell.batch_size}"


HEADLINES = {"memory_gb_s": "memory bandwidth"}
KEY_FIGURES = {r"memory_gb_s": "Memory bandwidth", r"gemm_gflops\[fp32,.+\]": "Matrix product, fp32"}
