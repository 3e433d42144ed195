"""Show each way of using several CPUs: its time, its speedup, where it loses its time, its memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from inferbench_lib.findings import Breakdown, Ratio
from inferbench_lib.report import figures
from inferbench_lib.report.display import View
from inferbench_lib.report.words import capital, compared, interval, joined, measured, plural, seconds, share, times
from inferbench_lib.studies.cpu_multiprocess.breakdown import PARTS, losses
from inferbench_lib.studies.cpu_multiprocess.figures import bars, bars_and_marks
from inferbench_lib.studies.cpu_multiprocess.names import ALONE, title
from inferbench_lib.studies.cpu_multiprocess.study import MultiprocessStudy
from inferbench_lib.studies.cpu_multiprocess.ways import Way, is_known


def executor_times(said: MultiprocessStudy) -> View:
    """Show how long each way takes."""
    rows: list[dict[str, Any]] = []
    known = {title(way): way for way in said.warm.values() if way.summary.is_measured}
    for name, way in known.items():
        at, centre = {"label": name}, way.summary.median_s
        rows += [{**at, "kind": "sample", "value": s, "low": None, "high": None} for s in way.cell.samples_s]
        rows.append({**at, "kind": "median", "value": centre.value, "low": centre.low, "high": centre.high})
    frame = pd.DataFrame(rows, columns=["label", "kind", "value", "low", "high"]).astype({"low": float, "high": float})
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


def side_by_side(said: MultiprocessStudy) -> View:
    """Show how close each way comes to what this machine can do."""
    ways = [*said.warm.values(), *said.cold.values()]
    known = {title(way): way.ratio for way in ways if is_known(way.ratio)}
    ceiling = said.ceilings.get("")
    marks = [(1.0, ALONE), (float(said.n_processes), f"ideal: {said.n_processes} times one process")]
    if is_known(ceiling):
        marks.append((ceiling.value, f"ceiling, independent processes: {times(ceiling.value)}"))
    reached = _best_first({title(way): way.of_ceiling for way in ways})
    threads = _best_first({title(way): way.of_threads for way in ways})
    sentences = [
        f"Share of the ceiling, independent processes at {times(ceiling.value)} one process: {reached}."
        if reached and is_known(ceiling)
        else "The ceiling was not measured, so no share of it is given.",
        f"Speed relative to scikit-learn's own threads: {threads}." if threads else "",
    ]
    if said.usable_cpus < said.n_processes:
        processes, cpus = plural(said.n_processes, "process", "processes"), plural(said.usable_cpus, "usable CPU")
        sentences.append(f"{processes} share {cpus}: expect at most {said.usable_cpus}× one process.")
    return View(
        name="side_by_side",
        frame=bars(known, "times as fast as one process (more is better)", marks, times),
        draw=bars_and_marks,
        alt="Speedup of every way over one process, beside the ceiling and the ideal.",
        reading=" ".join(filter(None, sentences)),
        size_inches=(7.4, 1.9 + 0.45 * len(known)),
    )


def _best_first(ratios: Mapping[str, Ratio | None]) -> str:
    known = sorted(((name, r) for name, r in ratios.items() if is_known(r)), key=lambda item: -item[1].value)
    return joined(f"{name} {r.value:.2f} ({interval(r.low, r.high, '{:.2f}'.format)})" for name, r in known)


def where_the_time_went(said: MultiprocessStudy) -> View:
    """Show where the time of each way goes."""
    kept_back = [
        f"{capital(title(way))} left {way.standing_by} of {said.n_processes} workers idle, since the others keep all "
        "CPUs busy; their time counts as waiting for a CPU."
        for way in said.warm.values()
        if way.standing_by
    ]
    elsewhere = [
        f"{capital(title(way))} has no breakdown: its workers ran on other machines, whose clocks differ."
        for way in said.warm.values()
        if way.has_other_clocks
    ]
    view = _breakdown_view(said.warm.values(), "Wall time of each way, cut into measured parts.")
    reading = " ".join([view.reading, *kept_back, *elsewhere]).strip()
    return replace(
        view, name="where_the_time_went", reading=reading or "No way was measured beside one process: nothing to show."
    )


def cold_start(said: MultiprocessStudy) -> View:
    """Show where the time of one call from a cold start goes."""
    ways = said.cold.values()
    ratios = [f"{capital(compared(way.ratio, title(way), ALONE))}." for way in ways if is_known(way.ratio)]
    what = "Wall time of one call from a cold start, pool start and end included, cut into measured parts."
    view = _breakdown_view(ways, what)
    reading = " ".join(filter(None, [*ratios, view.reading]))
    return replace(view, name="cold_start", reading=reading or "No way was measured from a cold start.")


def _breakdown_view(ways: Iterable[Way], alt: str) -> View:
    breakdowns = {title(way): way.breakdown for way in ways if way.breakdown}
    rows = [
        {"label": label, "part": part, "seconds": amount}
        for label, breakdown in breakdowns.items()
        for part, amount in [
            *((part.name, max(0.0, part.seconds)) for part in breakdown.parts),
            ("unexplained", abs(breakdown.unexplained_s)),
        ]
    ]
    frame = pd.DataFrame(rows, columns=["label", "part", "seconds"])
    frame = frame[frame["seconds"] > 0.005 * frame["seconds"].max()]
    frame.attrs = {
        "x": "seconds of wall time, averaged over the workers",
        "say": seconds,
        "parts": [*PARTS, "unexplained"],
    }
    return View(
        name="",
        frame=frame,
        draw=figures.stacks,
        alt=alt,
        reading=" ".join(_account(label, breakdown) for label, breakdown in breakdowns.items()),
        size_inches=(7.4, 2.4 + 0.6 * len(breakdowns)),
    )


def _account(name: str, breakdown: Breakdown) -> str:
    """Return one breakdown in words, with what is unexplained."""
    lost = losses(breakdown)
    lost_s = sum(lost.values())
    took = f"{capital(name)} took {seconds(breakdown.whole_s)}"
    unexplained = f"Unexplained: {share(breakdown.unexplained_share)} of the whole."
    if lost_s <= 0:
        return f"{took} and lost nothing against an equal split. {unexplained}"
    largest = sorted(((value, part) for part, value in lost.items() if value >= 0.05 * lost_s), reverse=True)
    said = joined(f"{part} {seconds(value)} ({share(value / lost_s)})" for value, part in largest)
    return f"{took}, {seconds(lost_s)} more than an equal split of one process's work: {said}. {unexplained}"


def memory_by_way(said: MultiprocessStudy) -> View:
    """Show how much memory each way needs."""
    known = {title(way): way.memory for way in said.warm.values() if way.memory is not None}
    spoken = joined(f"{name} {times(value)}" for name, value in known.items())
    return View(
        name="memory_by_way",
        frame=bars(
            known, "memory above the idle processes, as a multiple of the data", [(1.0, "the data once")], times
        ),
        draw=bars_and_marks,
        alt="Memory of each way above its idle processes, as a multiple of the data.",
        reading=f"Above the idle processes, in multiples of the data: {spoken}."
        if spoken
        else "Memory was not measured.",
        size_inches=(7.4, 1.6 + 0.4 * max(1, len(known))),
    )
