"""The page of `hardware_analysis`: what this machine can do, and which limit binds the workloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from inferbench_lib.findings import Refusal, Verdict
from inferbench_lib.report import figures
from inferbench_lib.report.display import Answer, Card, Table, View
from inferbench_lib.report.words import digits, gathered, interval, joined, plural, ratio, seconds, share, size
from inferbench_lib.studies.hardware_analysis import figures as drawing
from inferbench_lib.studies.hardware_analysis.page_bounds import (
    binding_cards,
    forest_table,
    verdict,
    workload_roofline,
)
from inferbench_lib.studies.hardware_analysis.page_changes import growth, growth_table, what_if_table, what_ifs
from inferbench_lib.studies.hardware_analysis.page_layers import layer_table, layer_times
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy, study

__all__ = [
    "VIEWS",
    "answer",
    "bandwidth",
    "forest_table",
    "gemm_peaks",
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

BYPASSING = 1.1
"""Copy above triad by more than this bypasses the caches: ordinary stores would count 2 of 3 moved lines, triad 3 of
4."""


def answer(said: HardwareStudy) -> Answer:
    """Return which limit binds each workload, and the machine's limits."""
    peak, memory = said.peak["limit"], said.limits["memory"]
    cards = (
        Card(
            value=f"{digits(peak['value'])} GFLOP/s",
            label=f"fp32 GEMM peak, {plural(said.peak['n_threads'], 'thread')}, {said.peak['library']}",
            interval=f"repeats {interval(peak['low'], peak['high'])}",
        ),
        Card(
            value=f"{digits(memory['limit']['value'])} GB/s",
            label=f"memory bandwidth, {memory['operation']} of {size(memory['working_set_bytes'])}",
            interval=f"repeats {interval(memory['limit']['low'], memory['limit']['high'])}",
        ),
        Card(value=str(said.usable_cpus), label="usable CPUs", interval=said.run.machine.usable_reason),
    )
    cells = said.run.measurements
    flags = (*said.flags, *(flag for cell in cells for flag in cell.flags))
    return Answer(
        verdict=verdict(said),
        cards=(*binding_cards(said), *cards),
        flags=(*gathered(flags, len(said.limits["telemetry"]) + len(cells)), *said.not_measured),
    )


def gemm_peaks(said: HardwareStudy) -> View:
    """Draw the matrix multiplication peak by precision and threads."""
    rows = said.limits["gemm"]
    frame = pd.DataFrame(
        {
            "label": row["dtype"],
            "group": plural(row["n_threads"], "thread"),
            "value": row["limit"]["value"],
            "low": row["limit"]["low"],
            "high": row["limit"]["high"],
        }
        for row in rows
    )
    frame.attrs = {"y": "GFLOP/s (int8: giga-operations/s)", "say": digits}
    spoken = "; ".join(
        f"{row['dtype']} on {plural(row['n_threads'], 'thread')} {digits(row['limit']['value'])} ({row['library']})"
        for row in rows
    )
    return View(name="gemm_peaks", frame=frame, draw=figures.bars, alt="GEMM peak by precision and threads.",
                reading=f"Best of interleaved repeats, in GFLOP/s, by the fastest library: {spoken}.")  # fmt: skip


def bandwidth(said: HardwareStudy) -> View:
    """Draw the memory bandwidth by working set, a panel for each number of threads."""
    memory = said.limits["memory"]
    rows = sorted(said.limits["bandwidth"], key=lambda row: (row["n_threads"], row["working_set_bytes"]))
    frame = pd.DataFrame(
        {
            "panel": plural(row["n_threads"], "thread"),
            "label": row["operation"],
            "x": row["working_set_bytes"],
            "y": row["limit"]["value"],
            "level": row["level"],
            "mark": all(row[name] == memory[name] for name in ("operation", "n_threads", "working_set_bytes")),
        }
        for row in rows
    )
    frame.attrs = {"x": "working set of all threads", "y": "GB/s"}
    return View(name="memory_bandwidth", frame=frame, draw=drawing.bandwidth,
                alt="Bandwidth by working set, the memory bandwidth ringed.", reading=_bandwidth_reading(said),
                size_inches=(7.4, 3.4), grid=(1, frame["panel"].nunique()))  # fmt: skip


def _bandwidth_reading(said: HardwareStudy) -> str:
    memory, rows = said.limits["memory"], said.limits["bandwidth"]
    most = max(rows, key=lambda row: row["limit"]["value"])
    at_memory = {
        row["operation"]: row["limit"]["value"]
        for row in rows
        if all(row[name] == memory[name] for name in ("n_threads", "working_set_bytes"))
    }
    rates = joined(f"{digits(rate)} by {name}" for name, rate in at_memory.items())
    text = (
        f"The most is {digits(most['limit']['value'])} GB/s by {most['operation']} with "
        f"{size(most['working_set_bytes'])} ({most['level']}). With {size(memory['working_set_bytes'])} "
        f"({memory['level']}) on {plural(memory['n_threads'], 'thread')} it is {rates}. The memory bandwidth is "
        f"{digits(memory['limit']['value'])} GB/s by {memory['operation']}, the faster of read and triad."
    )
    if memory["level"] not in ("RAM", "unknown"):
        text += f" {memory['level']} can hold that much: memory itself may be slower."
    copy, triad = at_memory.get("copy", 0.0), at_memory.get("triad", at_memory.get("read", 0.0))
    if copy > BYPASSING * triad:
        text += (
            " Copy is faster because its non-temporal stores bypass the caches and spare reading what they overwrite. "
            "A kernel that reads, or stores as usual, cannot reach that."
        )
    return text


def process_table(said: HardwareStudy) -> Table:
    """Return the cost of starting a process, of handing it data, of a call and of a dependent load."""
    limits: Mapping[str, Any] = said.limits
    rows = [
        _cost(f"start by {row['method']}" + (f", importing {row['imports']}" if row["imports"] else ""), row["limit"])
        for row in limits["process_start"]
    ]
    rows += [
        _cost(f"hand over {size(row['size_bytes'])} by {row['method']}", row["limit"]) for row in limits["transfer"]
    ]
    rows += [_cost(f"one {name}", limit) for name, limit in limits["calls"].items()]
    rows += [
        _cost(f"one dependent load from {size(row['working_set_bytes'])} ({row['level']})", row["limit"])
        for row in limits.get("latency", ())
    ]
    device = limits.get("device")
    if device:
        rows.append(_cost(f"one launch on {device['device']}", device["launch"]))
    start = max(limits["process_start"], key=lambda row: row["limit"]["value"])
    readings = [
        f"The slowest start is {start['method']} importing {start['imports'] or 'nothing'}: "
        f"{seconds(start['limit']['value'])}.",
        *([_device(device)] if device else []),
        *(f"Not measured: {what} ({reason})." for what, reason in limits.get("not_measured", {}).items()),
        _scaling(said),
    ]
    return Table(frame=pd.DataFrame(rows), reading=" ".join(readings))


def _cost(what: str, limit: Mapping[str, float]) -> dict[str, str]:
    return {
        "what": what,
        "cost": seconds(limit["value"]),
        "repeats": interval(limit["low"], limit["high"], seconds),
    }


def _device(device: Mapping[str, Any]) -> str:
    gemm = [f"{row['dtype']} {digits(row['limit']['value'])} GFLOP/s" for row in device["gemm"]]
    transfers = [
        f"{row['direction']}, {'pinned' if row['is_pinned'] else 'pageable'}, {size(row['size_bytes'])}: "
        f"{digits(row['limit']['value'])} GB/s"
        for row in device["transfers"]
    ]
    return (
        f"{device['device']} multiplies at {joined(gemm)}, copies its own memory at "
        f"{digits(device['memory_copy']['value'])} GB/s, and moves {joined(transfers)}."
    )


def _scaling(said: HardwareStudy) -> str:
    """Return the speedups that this run holds, else where they are measured."""
    known = {n: r for n, r in said.speedups.items() if r.verdict is not Verdict.INVALID}
    if not known:
        return "The page of cpu_multiprocess measures how throughput scales with processes."
    spoken = joined(f"{plural(n, 'process', 'processes')} {ratio(r)}" for n, r in known.items() if n > 1)
    law = (
        f"No law was fitted: {said.amdahl.reason}."
        if isinstance(said.amdahl, Refusal)
        else f"Amdahl's law fits with a serial fraction of {share(said.amdahl.serial_fraction.value)}."
    )
    return f"Speedup of the forest over one process: {spoken or 'not measured'}. {law}"


VIEWS = (workload_roofline, layer_times, what_ifs, growth, gemm_peaks, bandwidth)
HEADLINES = {"memory_gb_s": "memory bandwidth"}
KEY_FIGURES = {r"memory_gb_s": "Memory bandwidth", r"gemm_gflops\[fp32,.+\]": "Matrix product, fp32"}
