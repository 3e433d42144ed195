"""The page of `hardware_analysis`: what this machine can do, and which limit binds the workloads."""

from __future__ import annotations

import pandas as pd

from inferbench_lib.records import Flag
from inferbench_lib.report import figures
from inferbench_lib.report.display import Answer, Card, Table, View
from inferbench_lib.report.words import capital, digits, gathered, interval, joined, plural, ratio, seconds, size
from inferbench_lib.studies.hardware_analysis import figures as drawing
from inferbench_lib.studies.hardware_analysis.bounds import Row
from inferbench_lib.studies.hardware_analysis.page_advice import advise, precision_cards
from inferbench_lib.studies.hardware_analysis.page_bounds import (
    binding_cards,
    short_verdict,
    too_low,
    verdict,
    workload_roofline,
)
from inferbench_lib.studies.hardware_analysis.page_costs import (
    forest_table,
    growth,
    growth_table,
    layer_table,
    layer_times,
    what_if_table,
    what_ifs,
)
from inferbench_lib.studies.hardware_analysis.page_threads import thread_advice, thread_table
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy, study

__all__ = [
    "VIEWS",
    "advise",
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
    "thread_advice",
    "thread_table",
    "what_if_table",
    "what_ifs",
    "workload_roofline",
]

BYPASSING = 1.1
"""Copy above triad by more than this bypasses the caches: ordinary stores would count 2 of 3 moved lines, triad 3 of
4."""


def answer(said: HardwareStudy) -> Answer:
    """Return which limit binds each workload, and the machine's limits."""
    peak, memory = said.peak, said.limits["memory"]
    cards = (
        _card(peak, f"fp32 GEMM peak, {plural(peak['n_threads'], 'thread')}, {peak['library']}"),
        _card(memory, f"memory bandwidth, {memory['operation']} of {size(memory['working_set_bytes'])}"),
        Card(value=str(said.run.machine.usable_cpus), label="usable CPUs", interval=said.run.machine.usable_reason),
    )
    cells = said.run.measurements
    flags = [Flag(**flag) for flag in said.limits["flags"]] + [flag for cell in cells for flag in cell.flags]
    disturbed = gathered(flags, len(said.limits["telemetry"]) + len(cells))
    advice = advise(said)
    return Answer(
        verdict=f"{capital(advice.recommendation)}. {short_verdict(said)}".strip() if advice else verdict(said),
        cards=(*precision_cards(said), *binding_cards(said), *cards),
        flags=(*too_low(said), *disturbed, *said.not_measured),
        code=advice.code if advice else "",
    )


def _card(row: Row, label: str) -> Card:
    limit = row["limit"]
    value, repeats = f"{digits(limit['value'])} {limit['unit']}", interval(limit["low"], limit["high"])
    return Card(value=value, label=label, interval=f"repeats {repeats}")


def gemm_peaks(said: HardwareStudy) -> View:
    """Draw the matrix multiplication peak by precision and threads."""
    rows = said.limits["gemm"]
    frame = pd.DataFrame(
        {
            "label": row["dtype"],
            "group": plural(row["n_threads"], "thread"),
            **{name: row["limit"][name] for name in ("value", "low", "high")},
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
            "mark": _is_of_memory(row, memory) and row["operation"] == memory["operation"],
        }
        for row in rows
    )
    frame.attrs = {"x": "working set of all threads", "y": "GB/s"}
    return View(name="memory_bandwidth", frame=frame, draw=drawing.bandwidth,
                alt="Bandwidth by working set, the memory bandwidth ringed.", reading=_bandwidth_reading(said),
                size_inches=(7.4, 3.4), grid=(1, frame["panel"].nunique()))  # fmt: skip


def _is_of_memory(row: Row, memory: Row) -> bool:
    """Return whether a rate was measured with the working set and threads of the memory bandwidth."""
    return all(row[name] == memory[name] for name in ("n_threads", "working_set_bytes"))


def _bandwidth_reading(said: HardwareStudy) -> str:
    memory, rows = said.limits["memory"], said.limits["bandwidth"]
    at_memory = {row["operation"]: row["limit"]["value"] for row in rows if _is_of_memory(row, memory)}
    rates = joined(f"{name} {digits(rate)}" for name, rate in at_memory.items())
    text = (
        f"With {size(memory['working_set_bytes'])} ({memory['level']}) on {plural(memory['n_threads'], 'thread')}, in "
        f"GB/s: {rates}. The memory bandwidth is that of {memory['operation']}, the faster of read and triad."
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
    limits, device = said.limits, said.limits.get("device")
    costs = {_start(row): row["limit"] for row in limits["process_start"]}
    costs |= {f"hand over {size(row['size_bytes'])} by {row['method']}": row["limit"] for row in limits["transfer"]}
    costs |= {f"one {name}": limit for name, limit in limits["calls"].items()}
    for row in limits.get("latency", ()):
        costs[f"one dependent load from {size(row['working_set_bytes'])} ({row['level']})"] = row["limit"]
    if device:
        costs[f"one launch on {device['device']}"] = device["launch"]
    rows = [
        {"what": what, "cost": seconds(of["value"]), "repeats": interval(of["low"], of["high"], seconds)}
        for what, of in costs.items()
    ]
    slowest = sorted(limits["process_start"], key=lambda row: row["limit"]["value"])[-1:]
    readings = [
        *(f"The slowest is to {_start(row)}: {seconds(row['limit']['value'])}." for row in slowest),
        *([_device(device)] if device else []),
        *(f"Not measured: {what} ({reason})." for what, reason in limits.get("not_measured", {}).items()),
        _scaling(said),
    ]
    return Table(frame=pd.DataFrame(rows), reading=" ".join(readings))


def _start(row: Row) -> str:
    return f"start by {row['method']}" + (f", importing {row['imports']}" if row["imports"] else "")


def _device(device: Row) -> str:
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
    """Return the speedups that an earlier run holds, else where they are measured."""
    known = {n: found for n, found in said.speedups.items() if n > 1 and found.is_judged}
    if known:
        spoken = joined(f"{plural(n, 'process', 'processes')} {ratio(found)}" for n, found in known.items())
        return f"Speedup of the forest over one process: {spoken}."
    return "The page of cpu_multiprocess measures how throughput scales with processes."


VIEWS = (workload_roofline, layer_times, what_ifs, growth, gemm_peaks, bandwidth)
HEADLINES = {"memory_gb_s": "memory bandwidth"}
KEY_FIGURES = {r"memory_gb_s": "Memory bandwidth", r"gemm_gflops\[fp32,.+\]": "Matrix product, fp32"}
