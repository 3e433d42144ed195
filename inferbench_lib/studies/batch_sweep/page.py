"""The page of `batch_sweep`: which batch size, and what larger ones still buy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from inferbench_lib.records import Outcome, Summary
from inferbench_lib.report import figures
from inferbench_lib.report.display import Answer, Card, Table, View
from inferbench_lib.report.words import capital, digits, gathered, joined, marked, measured, plural, seconds, size
from inferbench_lib.stats.refusal import Refusal
from inferbench_lib.studies.batch_sweep.advice import advise
from inferbench_lib.studies.batch_sweep.batching import BestBatch
from inferbench_lib.studies.batch_sweep.study import Series, SweepStudy, study

__all__ = ["VIEWS", "advise", "answer", "study", "table"]


def answer(said: SweepStudy) -> Answer:
    """The best batch of each workload under the stated limits; in the sentence, on its fastest device alone."""
    cards = [
        Card(
            value=f"batch {best.batch_size:,}",
            label=f"best for {_name(series)}",
            interval=f"{measured(best.throughput_per_s, digits)} inputs/s",
        )
        for series, best in said.best.items()
        if isinstance(best, BestBatch)
    ]
    cells = [cell for of in said.cells.values() for cell in of.values()]
    flags = gathered((flag for cell in cells for flag in cell.flags), len(cells))
    workloads = {workload for workload, _ in said.named}
    spoken = [series for series in said.best if series in said.named or series[0] not in workloads]
    verdict = f"{_limits(said)} {'; '.join(_best(said, series) for series in spoken)}."
    ended = [
        f"{capital(_name(series))}, batch {batch_size:,}: {summary.outcome} ({summary.reason})"
        for series, of in said.summaries.items()
        for batch_size, summary in of.items()
        if summary.outcome is not Outcome.OK
    ]
    return Answer(verdict=marked(said.run, verdict), cards=tuple(cards), flags=(*flags, *ended))


def _limits(said: SweepStudy) -> str:
    limits = []
    if said.max_latency_s is not None:
        limits.append(f"latency of at most {seconds(said.max_latency_s)}")
    if said.max_memory_bytes is not None:
        limits.append(f"memory of at most {size(said.max_memory_bytes)}")
    return f"With {joined(limits)}:" if limits else "Without stated limits:"


def _best(said: SweepStudy, series: Series) -> str:
    best = said.best[series]
    if isinstance(best, Refusal):
        return f"no batch size can be named for {_name(series)} ({best.reason})"
    latency = (
        f", p{100 * best.latency_percentile:g} latency {seconds(best.latency_s)}"
        if best.latency_percentile is not None and best.latency_s is not None
        else ""
    )
    rate = best.throughput_per_s
    spread = f" ({digits(rate.low)} to {digits(rate.high)})" if rate.low is not None and rate.high is not None else ""
    return f"use batches of {best.batch_size:,} for {_name(series)}: {digits(rate.value)} inputs/s{spread}{latency}"


def throughput_by_batch(said: SweepStudy) -> View:
    """Where do larger batches stop paying?"""
    frame = _frame(said)
    readings = " ".join(_knee(said, series) for series in said.knees)
    return View(
        name="batch_size_comparison",
        frame=frame,
        draw=_two_panels,
        alt=f"Throughput and latency against batch size, the best batch ringed. {readings}",
        reading=readings,
        size_inches=(9.2, 3.9),
        grid=(1, 2),
        mark=said.run.mark,
    )


def _two_panels(frame: pd.DataFrame, axes: Sequence[Any]) -> None:
    for ax, (quantity, title) in zip(
        axes, (("throughput", "Throughput (inputs per second)"), ("latency", "Latency of a call (s)")), strict=True
    ):
        rows = frame[frame["quantity"] == quantity].copy()
        rows.attrs = {"x": "batch size", "y": title, "limit": frame.attrs["limit"] if quantity == "latency" else None}
        figures.lines(rows, [ax])


def _knee(said: SweepStudy, series: Series) -> str:
    knee = said.knees[series]
    if isinstance(knee, Refusal):
        return f"{capital(_name(series))}: {knee.reason}."
    if not knee.reached:
        return (
            f"{capital(_name(series))}: throughput still rises at the largest batch measured, {knee.batch_size:,} "
            f"({digits(knee.throughput_per_s)} inputs/s); the knee lies beyond."
        )
    spread = (
        f" (95 % of resampled rounds: {knee.low:,} to {knee.high:,})" if knee.low is not None else f" ({knee.reason})"
    )
    return (
        f"{capital(_name(series))}: batches above {knee.batch_size:,}{spread} gain less than "
        f"{100 * knee.tolerance:.0f} % in throughput."
    )


def memory_by_batch(said: SweepStudy) -> View:
    """How does memory grow?"""
    rows: list[dict[str, Any]] = []
    for series, cells in said.cells.items():
        for batch_size, cell in cells.items():
            if cell.peak_memory_bytes:
                rows.append({"x": batch_size, "y": cell.peak_memory_bytes / 1e6, "low": None, "high": None,
                             "label": _name(series)})  # fmt: skip
    frame = pd.DataFrame(rows, columns=["x", "y", "low", "high", "label"]).astype({"low": float, "high": float})
    limit = said.max_memory_bytes
    frame.attrs = {
        "x": "batch size",
        "y": "peak memory (MB)",
        "limit": (limit / 1e6, "memory limit") if limit else None,
    }
    reading = " ".join(_memory(said, series) for series in said.cells)
    alt = f"Peak memory against batch size. {reading}"
    return View(name="memory_by_batch", frame=frame, draw=figures.lines, alt=alt, reading=reading, mark=said.run.mark)


def _memory(said: SweepStudy, series: Series) -> str:
    seen = {batch: cell.peak_memory_bytes for batch, cell in said.cells[series].items() if cell.peak_memory_bytes}
    if not seen:
        return f"{capital(_name(series))}: memory was not measured."
    ends = dict.fromkeys((min(seen), max(seen)))
    peaks = joined(f"{size(seen[batch])} at batch {batch:,}" for batch in ends)
    return (
        f"{capital(_name(series))}: peak {peaks} "
        f"({'the whole process, in a pass of its own' if series[1] == 'cpu' else 'what the device handed out'})."
    )


VIEWS = (throughput_by_batch, memory_by_batch)


def table(said: SweepStudy) -> Table:
    """Every cell as a row, percentiles where the samples carry them."""
    rows = [
        _row(series, batch_size, summary, said)
        for series, of in said.summaries.items()
        for batch_size, summary in of.items()
    ]
    note = (
        "A percentile is shown only where its samples carry it: at 95 % confidence p90 needs 29 single calls, p95 59, "
    )
    return Table(frame=pd.DataFrame(rows), reading=f"{note}p99 299.")


def _row(series: Series, batch_size: int, summary: Summary, said: SweepStudy) -> dict[str, str]:
    cell = said.cells[series][batch_size]
    tails = {
        f"p{100 * tail.p:g}": seconds(tail.value) if tail.value is not None else "–"
        for tail in summary.percentiles
        if tail.p > 0.5
    }
    ok = summary.is_measured
    return {
        "workload": _name(series),
        "batch": f"{batch_size:,}",
        "median": seconds(summary.median_s.value) if ok else "–",
        **tails,
        "inputs/s": digits(summary.throughput_per_s.value) if ok else "–",
        "peak memory": size(cell.peak_memory_bytes) if cell.peak_memory_bytes else "–",
        "calls": plural(summary.n_samples, "call"),
        "outcome": str(summary.outcome) + (f": {summary.reason}" if summary.reason else ""),
    }


def _frame(said: SweepStudy) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for series, of in said.summaries.items():
        best = said.best[series]
        for batch_size, summary in of.items():
            if not summary.is_measured:
                continue
            mark = isinstance(best, BestBatch) and best.batch_size == batch_size
            for quantity, value in (("throughput", summary.throughput_per_s), ("latency", summary.median_s)):
                at = {"label": _name(series), "mark": mark, "quantity": quantity, "x": batch_size}
                rows.append({**at, "y": value.value, "low": value.low, "high": value.high})
    columns = ["label", "mark", "quantity", "x", "y", "low", "high"]
    frame = pd.DataFrame(rows, columns=columns).astype({"low": float, "high": float})
    limit = said.max_latency_s
    frame.attrs = {"limit": (limit, f"limit {seconds(limit)}") if limit is not None else None}
    return frame


def _name(series: Series) -> str:
    workload, device = series
    names = {"forest": "the forest", "cnn-small": "the small CNN", "cnn-medium": "the medium CNN",
             "cnn-large": "the large CNN"}  # fmt: skip
    return f"{names.get(workload, workload)} on {device}"


PICTURE = throughput_by_batch
HEADLINES = {"best_throughput[forest,cpu]": "forest, at its best batch"}
KEY_FIGURES = {r"best_batch\[(?:cnn-)?(\w+),(.+)\]": r"Best batch, \1 on \2"}
