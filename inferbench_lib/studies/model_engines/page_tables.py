"""Name engines, and show what was measured, what it costs and what was left out as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from inferbench_lib.records import CPU
from inferbench_lib.report.display import Table
from inferbench_lib.report.words import capital, digits, joined, plural, ratio, seconds, share, size
from inferbench_lib.studies.model_engines.study import Cell, EnginesStudy
from inferbench_lib.work import title_of
from inferbench_lib.work.engines import ENGINES


def short_name(engine: str, precision: str = "fp32") -> str:
    """Return the engine as a sentence calls it, and its precision where it is not fp32."""
    title = ENGINES[engine].title if engine in ENGINES and ENGINES[engine].title else engine
    return title if precision == "fp32" else f"{title} in {precision.replace('_', ' ')}"


def name_of(cell: Cell) -> str:
    """Return the engine, its precision where it is not fp32, and its threads on the CPU."""
    case = cell.case
    threads = f" on {plural(case.n_threads, 'thread')}" if case.device == CPU else ""
    return f"{short_name(case.engine, case.precision)}{threads}"


def table(said: EnginesStudy) -> Table:
    """Show every cell of the rounds as a row."""
    rows = [
        {
            "workload": title_of(cell.case.workload),
            "batch": f"{cell.case.batch_size:,}",
            "engine": f"{name_of(cell)}{', as it comes' if cell.is_baseline else ''}",
            "gain": "1 (baseline)" if cell.is_baseline else ratio(cell.gain) if cell.gain.is_judged else "–",
            "time per call": seconds(cell.latency_s.value) if cell.latency_s.value > 0 else "–",
            "same class": "–" if cell.agreement is None else _agreement(cell),
            "of the GEMM peak": "–" if (part := said.gemm_share(cell)) is None else share(part),
            "page faults per call": "–" if cell.page_faults is None else digits(cell.page_faults),
            "outcome": str(cell.measurement.outcome)
            + (f": {cell.measurement.reason}" if cell.measurement.reason else ""),
        }
        for cell in said.cells
    ]
    return Table(
        frame=pd.DataFrame(rows),
        reading="Gains are over the workload's own library as it comes, at the same batch size. In a tie the two "
        "best classes are equally likely, and either is right.",
    )


def _agreement(cell: Cell) -> str:
    figures = cell.measurement.figures
    ties = f", {plural(int(figures['n_ties']), 'tie')}" if figures.get("n_ties") else ""
    return f"{100 * (cell.agreement or 0):.4g} % of {int(figures['n_inputs']):,}{ties}"


def price_list(said: EnginesStudy) -> Table:
    """Show what each engine costs before its first result."""
    rows = [
        {
            "workload": title_of(price["workload"]),
            "engine": short_name(price["engine"], price["precision"]),
            "conversion, once": _seconds(price.get("conversion_s")),
            "import": _seconds(price.get("import_s")),
            "load": _seconds(price.get("load_s")),
            "first call": _seconds(price.get("first_call_s")),
            "model": size(price["model_bytes"]) if price.get("model_bytes") else "–",
        }
        for price in said.run.tables.get("prices", ())
    ]
    return Table(frame=pd.DataFrame(rows), reading="The first call is that of the first batch size measured.")


def _seconds(value: float | None) -> str:
    return "–" if value is None else seconds(value)


def not_measured(said: EnginesStudy) -> tuple[str, ...]:
    """List each reason why cells of the rounds have no result, with their batch sizes."""
    groups: dict[tuple[str, str, str, str], set[int]] = {}
    for row in said.run.measurements:
        if row.reason:
            case = row.case
            alike = (case.workload, case.engine, case.precision, row.reason)
            groups.setdefault(alike, set()).add(case.batch_size)
    return tuple(
        f"{capital(title_of(workload))}, {short_name(engine, precision)}, batch "
        f"{joined(f'{n:,}' for n in sorted(sizes))}: {reason}"
        for (workload, engine, precision, reason), sizes in groups.items()
    )


def left_out(said: EnginesStudy) -> Table:
    """Show what was tried and not measured, and why."""
    groups: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    for one in said.run.tables.get("tried", ()):
        if one["reason"]:
            case = one["case"]
            groups.setdefault((case["workload"], case["engine"], case["precision"], one["reason"]), []).append(case)
    rows = [
        {
            "workload": title_of(workload),
            "engine": short_name(engine, precision),
            "threads": ", ".join(str(n) for n in sorted({case["n_threads"] for case in cases})),
            "batches": ", ".join(f"{n:,}" for n in sorted({case["batch_size"] for case in cases})),
            "reason": reason,
        }
        for (workload, engine, precision, reason), cases in groups.items()
    ]
    return Table(frame=pd.DataFrame(rows), reading=f"{plural(len(rows), 'entry', 'entries')} tried and not measured.")
