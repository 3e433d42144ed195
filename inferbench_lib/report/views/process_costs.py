"""What processes and calls cost on this machine, as a table."""

from __future__ import annotations

import pandas as pd

from inferbench_lib.analysis.hardware import HardwareStudy
from inferbench_lib.report.display import Table
from inferbench_lib.report.words import seconds, size


def process_table(said: HardwareStudy) -> Table:
    """What starting a process and handing it data costs."""
    rows = [
        {
            "what": f"start by {row['method']}" + (f", importing {row['imports']}" if row["imports"] else ""),
            "median": seconds(row["limit"]["value"]),
            "repeats": f"{seconds(row['limit']['low'])} to {seconds(row['limit']['high'])}",
        }
        for row in said.process_start
    ]
    rows += [
        {
            "what": f"hand over {size(row['size_bytes'])} by {row['method']}",
            "median": seconds(row["limit"]["value"]),
            "repeats": f"{seconds(row['limit']['low'])} to {seconds(row['limit']['high'])}",
        }
        for row in said.transfer
    ]
    rows += [
        {"what": f"one {name}", "median": seconds(row["value"]),
         "repeats": f"{seconds(row['low'])} to {seconds(row['high'])}"}
        for name, row in said.calls.items()
    ]  # fmt: skip
    start = max(said.process_start, key=lambda row: row["limit"]["value"])
    reading = (
        f"The dearest start is {start['method']} importing {start['imports'] or 'nothing'}: "
        f"{seconds(start['limit']['value'])} before the first useful instruction."
    )
    return Table(frame=pd.DataFrame(rows), reading=reading)
