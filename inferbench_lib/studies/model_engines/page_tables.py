"""Name engines, and show what was measured, what it costs and what was left out as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from inferbench_lib.records import CPU, Case
from inferbench_lib.report.display import Table
from inferbench_lib.report.words import capital, digits, joined, measured, plural, ratio, seconds, share, size
from inferbench_lib.studies.model_engines.screen import OTHER_THREADS
from inferbench_lib.studies.model_engines.study import Cell, EnginesStudy, pays_off_after
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
            "accuracy": "–" if cell.accuracy is None else measured(cell.accuracy, share),
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
    """Show what each engine costs before its first result, and when that has paid off at the smallest batch."""
    prices = said.run.tables.get("prices", ())
    rows = [
        {
            "workload": title_of(price["workload"]),
            "engine": short_name(price["engine"], price["precision"]),
            "conversion, once": _seconds(price.get("conversion_s")),
            "import": _seconds(price.get("import_s")),
            "load": _seconds(price.get("load_s")),
            "first call": _seconds(price.get("first_call_s")),
            "model": size(price["model_bytes"]) if price.get("model_bytes") else "–",
            "paid off": _paid_off(said, price),
        }
        for price in prices
    ]
    return Table(
        frame=pd.DataFrame(rows),
        reading="The first call is that of the smallest batch measured. An engine has paid off after the calls whose "
        "time saved makes up for conversion, import, load and first call, as far as these are longer than usual.",
    )


def _paid_off(said: EnginesStudy, price: Mapping[str, Any]) -> str:
    """Return after how many calls of which batch an engine has paid off."""
    for choice in (choice for choice in said.choices if choice.workload == price["workload"]):
        for cell in (cell for cell in said.cells if cell.case.batch_size == choice.batch_size and not cell.is_baseline):
            case, usual = cell.case, choice.baseline.case
            if (case.workload, case.engine, case.precision) != (choice.workload, price["engine"], price["precision"]):
                continue
            of_usual: Mapping[str, Any] = next((one for one in said.run.tables["prices"] if _is_of(one, usual)), {})
            n = None if _is_of(price, usual) else pays_off_after(price, of_usual, cell, choice.baseline)
            return "–" if n is None else f"after {plural(n, 'call')} of batch {choice.batch_size:,}"
    return "–"


def _is_of(price: Mapping[str, Any], case: Case) -> bool:
    return (price["workload"], price["engine"], price["precision"]) == (case.workload, case.engine, case.precision)


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
    """Show which engines and precisions were tried and not measured, at which batch sizes, and why."""
    groups: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    for one in said.run.tables.get("tried", ()):
        if one["reason"] and one["reason"] != OTHER_THREADS:
            case = one["case"]
            groups.setdefault((case["workload"], case["engine"], case["precision"], one["reason"]), []).append(one)
    rows = [
        {
            "workload": title_of(workload),
            "engine": short_name(engine, precision),
            "batches": ", ".join(f"{n:,}" for n in sorted({one["case"]["batch_size"] for one in group})),
            "reason": f"{_slower(group)}{reason}",
        }
        for (workload, engine, precision, reason), group in groups.items()
    ]
    return Table(
        frame=pd.DataFrame(rows),
        reading="Of each engine and precision only the fastest number of threads was measured.",
    )


def _slower(group: Sequence[Mapping[str, Any]]) -> str:
    """Return how many times slower trials were, or nothing."""
    found = sorted({digits(one["times_slower"], 2) for one in group if one.get("times_slower")}, key=_number)
    ends = found if len(found) < 2 else [found[0], found[-1]]
    return f"{' to '.join(ends)} times " if ends else ""


def _number(text: str) -> float:
    return float(text.replace(",", ""))
