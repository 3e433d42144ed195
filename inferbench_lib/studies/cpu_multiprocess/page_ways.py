"""Show each way of using several CPUs: its time, its speedup, where it loses its time, its memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from inferbench_lib.executors import listed
from inferbench_lib.findings import Breakdown, Interval, Ratio, Verdict
from inferbench_lib.report import figures
from inferbench_lib.report.display import View
from inferbench_lib.report.look import INK, PALETTE, outlined
from inferbench_lib.report.words import capital, compared, joined, measured, plural, seconds, share, times
from inferbench_lib.stats.entries import columns
from inferbench_lib.studies.cpu_multiprocess.breakdown import PARTS, losses
from inferbench_lib.studies.cpu_multiprocess.study import MultiprocessStudy
from inferbench_lib.studies.cpu_multiprocess.ways import Way, is_known

NAMES = {name: kind.title for name, kind in listed().items()}
ALONE = NAMES["single"]


def title(way: Way) -> str:
    """Return the name of the executor, with what else tells it apart: `scikit-learn threads (2 threads)`."""
    case = way.cell.case
    name, more = NAMES.get(case.executor, case.executor), list(way.label.more)
    if way.is_unusual and not more:
        is_threaded = case.n_threads > 1
        more = [plural(case.n_threads, "thread") if is_threaded else plural(case.n_processes, "process", "processes")]
    name = f"{name.removesuffix(', kept warm')}, cold" if case.cold else name
    return f"{name} ({', '.join(more)})" if more else name


def executor_times(said: MultiprocessStudy) -> View:
    """Show how long each way takes."""
    known = {title(way): way for way in said.warm.values() if way.summary.is_measured}
    rows: list[dict[str, Any]] = []
    for name, way in known.items():
        rows += [{"label": name, "kind": "sample", "value": s} for s in way.cell.samples_s]
        rows.append({"label": name, "kind": "median", **columns(way.summary.median_s)})
    frame = pd.DataFrame(rows)
    n_samples = int(said.run.params["n_samples"])
    frame.attrs = {"x": f"seconds for {n_samples:,} rows (less is better)", "say": seconds}
    spoken = "; ".join(f"{name} {measured(way.summary.median_s)}" for name, way in known.items())
    return View(
        name="executor_times",
        frame=frame,
        draw=figures.strips,
        alt=f"Seconds for {n_samples:,} rows by each way: every sample, with median and 95 % interval.",
        reading=f"Medians with 95 % intervals: {spoken or 'no way was measured'}.",
        size_inches=(7.4, 0.9 + 0.62 * len(said.warm)),
    )


def bars(
    name: str, values: Mapping[str, Interval], x: str, marks: Sequence[tuple[float, str]], alt: str, reading: str
) -> View:
    """Draw one bar per value with its interval, against marks: lines across all bars, each a value and its name."""
    rows = [{"label": label, **columns(of)} for label, of in values.items()]
    frame = pd.DataFrame(rows, columns=["label", "value", "low", "high"])
    frame.attrs = {"x": x, "marks": marks}
    size_inches = (7.4, 1.4 + 0.2 * len(marks) + 0.42 * len(values))
    return View(name=name, frame=frame, draw=_draw_bars, alt=alt, reading=reading, size_inches=size_inches)


def _draw_bars(frame: Any, axes: Sequence[Any]) -> None:
    ax = axes[0]
    ax.barh(range(len(frame)), frame["value"], height=0.55, color=PALETTE[0], alpha=0.8)
    ax.hlines(range(len(frame)), frame["low"], frame["high"], color=INK, linewidth=2)
    for place, end in enumerate(frame[["value", "high"]].max(axis=1)):
        ax.annotate(times(frame["value"][place]), (end, place), (4, 0), textcoords="offset points", va="center",
                    fontsize=9, **outlined())  # fmt: skip
    for number, (value, text) in enumerate(frame.attrs["marks"]):
        ax.axvline(value, color=PALETTE[1], linewidth=1.4, linestyle=("-", "--", ":")[number % 3], label=text)
    ax.set_yticks(range(len(frame)), frame["label"])
    ax.set_ylim(len(frame) - 0.5, -0.6)
    ax.margins(x=0.14)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(frame.attrs["x"])
    ax.figure.legend(loc="outside lower center", ncols=1, fontsize=9)


def side_by_side(said: MultiprocessStudy) -> View:
    """Show how close each way comes to what this machine can do."""
    ceiling = said.ceilings.get("")
    most = min(said.n_processes, said.usable_cpus)
    marks = [(1.0, ALONE), (float(most), f"ideal: {most} times one process")]
    reading = "The ceiling was not measured, so no share of it is given."
    if is_known(ceiling):
        marks.append((ceiling.value, f"ceiling, independent processes: {times(ceiling.value)}"))
        if reached := _best_first({title(way): way.of_ceiling for way in said.ways}):
            at = times(ceiling.value)
            reading = f"Share of the ceiling, independent processes at {at} one process: {reached}."
    if threads := _best_first({title(way): way.of_threads for way in said.ways}):
        reading += f" Speed relative to scikit-learn's own threads: {threads}."
    return bars(
        "side_by_side",
        {title(way): way.ratio for way in said.ways if is_known(way.ratio)},
        "times as fast as one process (more is better)",
        marks,
        alt="Speedup of every way over one process, beside the ceiling and the ideal.",
        reading=reading,
    )


def _best_first(ratios: Mapping[str, Ratio | None]) -> str:
    known = sorted(((name, r) for name, r in ratios.items() if is_known(r)), key=lambda item: -item[1].value)
    return joined(f"{name} {measured(r, share)}" for name, r in known)


def where_the_time_went(said: MultiprocessStudy) -> View:
    """Show where the time of each way goes."""
    notes = [
        f"{capital(title(way))} left {way.standing_by} of {way.cell.case.n_processes} workers idle, since the others "
        "keep all CPUs busy."
        for way in said.warm.values()
        if way.standing_by
    ]
    notes += [
        f"{capital(title(way))} has no breakdown: its workers ran on other machines, whose clocks differ."
        for way in said.warm.values()
        if way.has_other_clocks
    ]
    accounts, frame = _breakdowns(said.warm.values())
    return View(
        name="where_the_time_went",
        frame=frame,
        draw=figures.stacks,
        alt="Wall time of each way, cut into measured parts.",
        reading=" ".join([*accounts, *notes]) or "No way was measured beside one process: nothing to show.",
        size_inches=(7.4, 2.4 + 0.6 * len(accounts)),
    )


def cold_start(said: MultiprocessStudy) -> View:
    """Show where the time of one call from a cold start goes."""
    ways = said.cold.values()
    known = {title(way): way.ratio for way in ways if is_known(way.ratio)}
    ratios = [compared(ratio, name, ALONE) for name, ratio in known.items() if not is_open(ratio)]
    ratios += no_verdicts(known)
    accounts, frame = _breakdowns(ways)
    return View(
        name="cold_start",
        frame=frame,
        draw=figures.stacks,
        alt="Wall time of one call from a cold start, pool start and end included, cut into measured parts.",
        reading=" ".join([*(f"{capital(ratio)}." for ratio in ratios), *accounts])
        or "No way was measured from a cold start.",
        size_inches=(7.4, 2.4 + 0.6 * len(accounts)),
    )


def is_open(ratio: Ratio) -> bool:
    """Return whether a ratio has no verdict: too few rounds, or a run that was disturbed."""
    return ratio.verdict in (Verdict.TOO_FEW, Verdict.UNSTABLE)


def no_verdicts(ratios: Mapping[str, Ratio]) -> list[str]:
    """Return why ratios have no verdict, each reason once: `2 processes and 4 processes: no verdict (...)`."""
    return by_reason((name, f"no verdict ({ratio.reason})") for name, ratio in ratios.items() if is_open(ratio))


def by_reason(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Return each reason once, after the names that it is given for: `joblib's loky and Dask: no verdict`."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons:
        names.setdefault(reason, []).append(name)
    return [f"{joined(of)}: {reason}" for reason, of in names.items()]


def _breakdowns(ways: Iterable[Way]) -> tuple[list[str], pd.DataFrame]:
    """Return the breakdown of each way that has one: in words, and in a frame of its parts above 0.5 % of the most."""
    known = {title(way): way.breakdown for way in ways if way.breakdown}
    rows = [
        {"label": label, "part": part, "seconds": amount}
        for label, of in known.items()
        for part, amount in (
            *((part.name, max(0.0, part.seconds)) for part in of.parts),
            ("unexplained", abs(of.unexplained_s)),
        )
    ]
    frame = pd.DataFrame(rows, columns=["label", "part", "seconds"])
    frame = frame[frame["seconds"] > 0.005 * frame["seconds"].max()]
    parts = [*PARTS, "unexplained"]
    frame.attrs = {"x": "seconds of wall time per pass, mean of passes and workers", "say": seconds, "parts": parts}
    return [_account(label, of) for label, of in known.items()], frame


def _account(name: str, breakdown: Breakdown) -> str:
    """Return one breakdown in words, with what is unexplained."""
    lost = losses(breakdown)
    lost_s = sum(lost.values())
    unexplained = f"Unexplained: {share(breakdown.unexplained_share)} of the whole."
    if lost_s <= 0:
        return f"{capital(name)} lost nothing against an equal split of one process's work. {unexplained}"
    largest = sorted(((value, part) for part, value in lost.items() if value >= 0.05 * lost_s), reverse=True)
    said = joined(f"{part} {seconds(value)} ({share(value / lost_s)})" for value, part in largest)
    part = share(lost_s / breakdown.whole_s)
    return (
        f"{capital(name)} lost {seconds(lost_s)} per pass, {part} of its time, against an equal split of one process's "
        f"work: {said}. {unexplained}"
    )
