"""Show which batch size to use, and how much larger ones still gain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from inferbench_lib.findings import Advice, Refusal, Summary
from inferbench_lib.records import CPU, Outcome
from inferbench_lib.report import figures
from inferbench_lib.report.display import Answer, Card, Table, View
from inferbench_lib.report.words import (
    capital,
    digits,
    gathered,
    interval,
    joined,
    marked,
    measured,
    plural,
    seconds,
    share,
    size,
)
from inferbench_lib.stats.entries import columns
from inferbench_lib.studies.batch_sweep.best import BestBatch, Cause, NoBatch
from inferbench_lib.studies.batch_sweep.page_series import code, name
from inferbench_lib.studies.batch_sweep.search import TOLERANCE
from inferbench_lib.studies.batch_sweep.study import Series, SweepStudy
from inferbench_lib.studies.batch_sweep.study import study as study
from inferbench_lib.work import title_of


def answer(said: SweepStudy) -> Answer:
    """Return the best batch of each workload under the stated limits; the verdict and the first cards are of its best.

    The other cards are of other devices and thread counts.
    """
    everything = said.series.values()
    cards = [
        Card(
            value=f"batch {best.batch_size:,}",
            label=f"best for {name(series)}",
            interval=f"{measured(best.throughput_per_s, digits)} inputs/s",
        )
        for series in sorted(everything, key=[series for series, _ in said.recommended].__contains__, reverse=True)
        if isinstance(best := series.best, BestBatch)
    ]
    cells = [cell for series in everything for cell in series.cells.values()]
    flags = gathered((flag for cell in cells for flag in cell.flags), len(cells))
    ended = [
        f"{capital(name(series))}, batch {batch_size:,}: {summary.outcome} ({summary.reason})"
        for series in everything
        for batch_size, summary in series.summaries.items()
        if summary.outcome is not Outcome.OK
    ]
    ended += [f"{capital(name(series))}: {refusal.reason}" for series, refusal in said.refused]
    device, reason = said.run.params.get("device", "auto"), said.run.tables.get("accelerator_reason")
    if reason and device not in ("auto", CPU):
        ended.append(f"{device} was not measured: {reason}")
    verdict = marked(said.run, _verdict(said))
    return Answer(verdict=verdict, cards=tuple(cards), flags=(*flags, *ended), code=code(said))


def _verdict(said: SweepStudy) -> str:
    sentences = []
    if said.recommended:
        use = joined(
            f"{best.batch_size:,} for {name(series)} ({digits(best.throughput_per_s.value)} inputs/s{_latency(best)})"
            for series, best in said.recommended
        )
        limits = f"With {limits}" if (limits := _limits(said)) else "Without stated limits"
        sentences.append(f"{limits}: use batches of {use}.")
    causes: dict[str, dict[str, None]] = {}
    for series, refusal in said.refused:
        causes.setdefault(_cause(refusal), {})[title_of(series.case.workload)] = None
    sentences += [f"No recommendation for {joined(titles)}: {why}." for why, titles in causes.items()]
    return " ".join(sentences) or "No recommendation: no batch size was asked for."


def _cause(refusal: NoBatch) -> str:
    """Return why no batch is recommended; of batches that were not measured, what ended them."""
    return refusal.reason if refusal.cause is Cause.NOT_MEASURED else refusal.cause


def _limits(said: SweepStudy) -> str:
    limits = []
    if said.max_latency_s is not None:
        limits.append(f"p{100 * said.latency_percentile:g} latency of at most {seconds(said.max_latency_s)}")
    if said.max_memory_bytes is not None:
        limits.append(f"memory of at most {size(said.max_memory_bytes)}")
    return joined(limits)


def _latency(best: BestBatch) -> str:
    tail = best.latency
    return "" if tail is None or tail.value is None else f", p{100 * tail.p:g} {seconds(tail.value)}"


def advise(said: SweepStudy) -> Advice:
    """Recommend the best batch of each workload under the stated limits."""
    sizes = joined(f"{best.batch_size:,} for {name(series)}" for series, best in said.recommended)
    gains = [f"{name(series)} {measured(best.throughput_per_s, digits)} inputs/s" for series, best in said.recommended]
    reasons = [f"{name(series)}: {refusal.reason}" for series, refusal in said.refused]
    causes = joined(dict.fromkeys(_cause(refusal) for _, refusal in said.refused))
    return Advice(
        recommendation=f"use batches of {sizes}" if sizes else f"no recommendation: {causes}",
        evidence="; ".join(gains or reasons) or "nothing was measured",
        limits=_limits(said) or "no limit on latency or memory was stated",
        code=code(said),
    )


def throughput_by_batch(said: SweepStudy) -> View:
    """Show where larger batches stop paying."""
    return View(
        name="batch_size_comparison",
        frame=_frame(said),
        draw=_two_panels,
        alt="Throughput and latency against batch size, the best batch ringed.",
        reading=" ".join(map(_knee, said.series.values())),
        size_inches=(9.2, 3.9),
        grid=(1, 2),
        mark=said.run.mark,
    )


def _frame(said: SweepStudy) -> pd.DataFrame:
    rows = [
        {"label": name(series), "x": size, "mark": series.is_best(size), "quantity": quantity, **columns(value)}
        for series in said.series.values()
        for size, summary in series.summaries.items()
        for quantity, value in (("throughput", summary.throughput_per_s), ("latency", summary.median_s))
        if summary.is_measured
    ]
    frame = pd.DataFrame(rows).rename(columns={"value": "y"})
    limit = said.max_latency_s
    frame.attrs = {"limit": None if limit is None else (limit, f"limit {seconds(limit)}")}
    return frame


def _two_panels(frame: pd.DataFrame, axes: Sequence[Any]) -> None:
    for ax, (quantity, title) in zip(
        axes, (("throughput", "Throughput (inputs per second)"), ("latency", "Latency per call (s)")), strict=True
    ):
        rows = frame[frame["quantity"] == quantity].copy()
        rows.attrs = {"x": "batch size", "y": title, "limit": frame.attrs["limit"] if quantity == "latency" else None}
        figures.lines(rows, [ax])


def _knee(series: Series) -> str:
    named, knee = capital(name(series)), series.knee
    if isinstance(knee, Refusal):
        return f"{named}: {knee.reason}."
    if not knee.reached:
        return (
            f"{named}: throughput still rises at the largest batch measured, {knee.batch_size:,} "
            f"({_rate(series.summaries[knee.batch_size])} inputs/s)."
        )
    ends = interval(knee.low, knee.high, "{:,}".format)
    spread = knee.reason if knee.low is None else f"95 % of resampled rounds: {ends}"
    return f"{named}: batches above {knee.batch_size:,} ({spread}) gain less than {share(TOLERANCE)} in throughput."


def _rate(summary: Summary) -> str:
    """Return the throughput of one cell, alike in sentences and in the table."""
    return digits(summary.throughput_per_s.value)


def memory_by_batch(said: SweepStudy) -> View:
    """Show how memory grows."""
    rows = [
        {"x": batch_size, "label": name(series), "y": memory / 1e6, "low": math.nan, "high": math.nan}
        for series in said.series.values()
        for batch_size, memory in series.memory.items()
    ]
    frame = pd.DataFrame(rows, columns=["x", "label", "y", "low", "high"])
    limit = said.max_memory_bytes
    frame.attrs = {
        "x": "batch size",
        "y": "memory above idle (MB)",
        "limit": (limit / 1e6, "memory limit") if limit else None,
    }
    return View(
        name="memory_by_batch",
        frame=frame,
        draw=figures.lines,
        alt="Memory above the idle process against batch size.",
        reading=" ".join(map(_memory, said.series.values())) if rows else "Memory was not measured.",
        mark=said.run.mark,
    )


def _memory(series: Series) -> str:
    named, seen = capital(name(series)), series.memory
    if not seen:
        return f"{named}: memory was not measured."
    peaks = joined(f"{size(seen[batch])} at batch {batch:,}" for batch in dict.fromkeys((min(seen), max(seen))))
    return f"{named}: {peaks} ({series.memory_of})."


VIEWS = (throughput_by_batch, memory_by_batch)


def table(said: SweepStudy) -> Table:
    """Show every cell as a row, with percentiles where the samples carry them."""
    return Table(
        frame=pd.DataFrame([_row(series, batch) for series in said.series.values() for batch in series.cells]),
        reading="A percentile is shown only where its samples carry it: at 95 % confidence p90 needs 29 single calls, "
        "p95 59, p99 299.",
    )


def _row(series: Series, batch_size: int) -> dict[str, str]:
    summary = series.summaries[batch_size]
    ok = summary.is_measured
    return {
        "workload": name(series),
        "batch": f"{batch_size:,}",
        "median": seconds(summary.median_s.value) if ok else "–",
        **{
            f"p{100 * tail.p:g}": seconds(tail.value) if tail.value is not None else "–"
            for tail in summary.percentiles
            if tail.p > 0.5
        },
        "inputs/s": _rate(summary) if ok else "–",
        "memory": size(series.memory[batch_size]) if batch_size in series.memory else "–",
        "calls": plural(summary.n_samples, "call"),
        "outcome": str(summary.outcome) + (f": {summary.reason}" if summary.reason else ""),
    }


PICTURE = throughput_by_batch
HEADLINES = {"best_throughput[forest,cpu]": "forest, at its best batch"}
KEY_FIGURES = {r"best_batch\[(?:cnn-)?(\w+),(.+)\]": r"Best batch, \1 on \2"}
