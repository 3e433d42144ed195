"""Values with their intervals as entries of `summary.json`, and names that tell cases apart there."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import fields

from inferbench_lib.findings import Interval, Ratio
from inferbench_lib.records import Case, Figure


def entry(value: Interval | Ratio, unit: str, verdict: str = "", *, is_known: bool = True) -> Figure:
    """Return a value with its interval; None where it is unknown or withheld, since JSON has no NaN."""
    if not is_known or math.isnan(value.value):
        return Figure(value=None, unit=unit, verdict=verdict)
    return Figure(value=value.value, low=value.low, high=value.high, unit=unit, verdict=verdict)


def distinct_names(cases: Iterable[Case], named: Collection[str]) -> dict[Case, str]:
    """Return each case's workload, followed by what tells it from others of that workload besides the `named` fields.

    With one engine this is the workload alone; with two, `forest,sklearn` and `forest,onnxruntime`.
    """
    by_workload: dict[str, list[Case]] = {}
    for case in cases:
        by_workload.setdefault(case.workload, []).append(case)
    found: dict[Case, str] = {}
    for workload, group in by_workload.items():
        free = [field.name for field in fields(Case) if field.name not in {"workload", *named}]
        varying = [name for name in free if len({getattr(case, name) for case in group}) > 1]
        found |= {case: ",".join([workload, *(_spoken(case, name) for name in varying)]) for case in group}
    return found


def _spoken(case: Case, field: str) -> str:
    value = getattr(case, field)
    short = {"batch_size": "b", "n_threads": "t", "n_processes": "p"}
    return f"{short[field]}{value}" if field in short else ("cold" if value else "warm") if field == "cold" else value
