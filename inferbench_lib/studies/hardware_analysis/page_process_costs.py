"""What processes, calls and single loads cost on this machine, as a table; a device's own limits beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from inferbench_lib.report.display import Table
from inferbench_lib.report.words import digits, joined, seconds, size
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy


def process_table(said: HardwareStudy) -> Table:
    """What it costs to start a process, to hand it data, to call, and to wait for one load before the next."""
    limits: Mapping[str, Any] = said.run.tables["limits"]
    rows = [
        _row(f"start by {row['method']}" + (f", importing {row['imports']}" if row["imports"] else ""), row["limit"])
        for row in said.process_start
    ]
    rows += [_row(f"hand over {size(row['size_bytes'])} by {row['method']}", row["limit"]) for row in said.transfer]
    rows += [_row(f"one {name}", limit) for name, limit in said.calls.items()]
    rows += [
        _row(f"one load out of {size(row['working_set_bytes'])} ({row['level']}) that waits for another", row["limit"])
        for row in limits.get("latency", ())
    ]
    device = limits.get("device")
    if device:
        rows.append(_row(f"one launch on {device['device']}", device["launch"]))
    start = max(said.process_start, key=lambda row: row["limit"]["value"])
    readings = [
        f"The dearest start is {start['method']} importing {start['imports'] or 'nothing'}: "
        f"{seconds(start['limit']['value'])} before the first useful instruction.",
        *([_device(device)] if device else []),
        *(f"Not measured: {what} ({reason})." for what, reason in limits.get("not_measured", {}).items()),
    ]
    return Table(frame=pd.DataFrame(rows), reading=" ".join(readings))


def _row(what: str, limit: Mapping[str, float]) -> dict[str, str]:
    return {
        "what": what,
        "cost": seconds(limit["value"]),
        "repeats": f"{seconds(limit['low'])} to {seconds(limit['high'])}",
    }


def _device(device: Mapping[str, Any]) -> str:
    """The rates of a device, in words."""
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
