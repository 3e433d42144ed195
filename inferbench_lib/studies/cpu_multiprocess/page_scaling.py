"""Show how far more processes help: by rows and processes for the forest, by processes and threads for the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from inferbench_lib.findings import Interval, Ratio, Refusal, Verdict
from inferbench_lib.report import figures
from inferbench_lib.report.display import View
from inferbench_lib.report.words import digits, interval, joined, measured, plural, ratio, share, times
from inferbench_lib.stats.comparison import best_and_ties
from inferbench_lib.stats.scaling import AmdahlFit, UslFit
from inferbench_lib.studies.cpu_multiprocess.figures import bars, bars_and_marks, heat_map
from inferbench_lib.studies.cpu_multiprocess.names import title
from inferbench_lib.studies.cpu_multiprocess.scaling import Spreading
from inferbench_lib.studies.cpu_multiprocess.study import MultiprocessStudy, Split
from inferbench_lib.studies.cpu_multiprocess.ways import is_known

NO_SCALING = "Rows by processes were not measured: `scaling_rows` is empty."
MOST_SPEEDUP = 1000
"""A serial fraction that allows as much limits nothing."""


def scaling_curve(said: MultiprocessStudy) -> View:
    """Show how far more processes help."""
    seen = [one for one in said.spreadings if one.strong]
    processes = sorted({n for one in seen for n in one.processes})
    rows: list[dict[str, Any]] = [
        {"x": n, "y": float(n), "low": None, "high": None, "label": "ideal"} for n in processes
    ]
    for one in seen:
        rows += _curve(f"same rows{_more(one)}", one.strong)
        rows += _curve(f"rows grow too{_more(one)}", one.weak, is_efficiency=True)
    frame = pd.DataFrame(rows, columns=["x", "y", "low", "high", "label"]).astype({"low": float, "high": float})
    frame.attrs = {"x": "processes", "y": "times as fast as one process"}
    if is_known(ceiling := said.ceilings.get("")):
        frame.attrs["limit"] = (ceiling.value, f"ceiling of {said.n_processes} processes")
    return View(
        name="scaling_curve",
        frame=frame,
        draw=lambda data, axes: figures.lines(data, axes, log_y=False),
        alt="Speedup by number of processes, with the same rows and with rows that grow too, beside the ideal.",
        reading=" ".join(_scaling(one, said.usable_cpus) for one in seen) or NO_SCALING,
    )


def _curve(label: str, points: Mapping[int, Ratio | Interval], *, is_efficiency: bool = False) -> list[dict[str, Any]]:
    """Return the speedups of a line that begins at one process; none where there are no others."""
    rows = [{"x": 1, "y": 1.0, "low": None, "high": None, "label": label}] if points else []
    for n, at in points.items():
        scale = n if is_efficiency else 1
        y, low, high = (None if end is None else scale * end for end in (at.value, at.low, at.high))
        rows.append({"x": n, "y": y, "low": low, "high": high, "label": label})
    return rows


def _more(one: Spreading) -> str:
    return "".join(f", {word}" for word in one.label.more)


def _scaling(seen: Spreading, usable: int) -> str:
    strong = "; ".join(
        f"{_processes(n)}{' (more than CPUs)' if n > usable else ''} {ratio(r)}" for n, r in seen.strong.items()
    )
    sentences = [f"With {max(seen.rows):,} rows{_more(seen)}: {strong}."]
    within = [n for n in seen.strong if n <= usable]
    if within:
        n = max(within)
        sentences.append(f"{_processes(n)} reach {share(seen.strong[n].value / n)} of the ideal {n}×.")
    elif usable == 1:
        sentences.append("With one usable CPU, several processes gain nothing.")
    if seen.weak_rows:
        weak = "; ".join(f"{_processes(n)} {measured(e, share)}" for n, e in seen.weak.items())
        sentences.append(f"Efficiency with {seen.weak_rows:,} rows per process: {weak}.")
    return " ".join([*sentences, _amdahl(seen.amdahl, usable), _usl(seen.usl)])


def _amdahl(law: AmdahlFit | Refusal, usable: int) -> str:
    if isinstance(law, Refusal):
        return f"No serial fraction up to {plural(usable, 'usable CPU')}: {law.reason}."
    most = law.max_speedup.value
    bound = f"so no number of processes exceeds {times(most)}" if most < MOST_SPEEDUP else "too little to set a limit"
    fraction = measured(law.serial_fraction, share)
    return f"Amdahl's law: {fraction} of the work is serial, {bound} (worst misfit {share(law.misfit)})."


def _usl(law: UslFit | Refusal) -> str:
    if isinstance(law, Refusal):
        return f"No universal scalability law: {law.reason}."
    peak = f"throughput peaks at {digits(law.peak_workers, 2)}" if law.peak_workers < MOST_SPEEDUP else "no peak"
    return (
        f"Universal scalability law: contention {measured(law.contention, share)}, coherency "
        f"{measured(law.coherency, digits)}; {peak} (worst misfit {share(law.misfit)})."
    )


def crossover_map(said: MultiprocessStudy) -> View:
    """Show from how many rows on several processes pay."""
    rows = [
        {"x": n_rows, "y": f"{n}{_more(one)}", "value": r.value, "pays": r.verdict is Verdict.FASTER}
        for one in said.spreadings
        for (n, n_rows), r in one.speedups.items()
        if is_known(r)
    ]
    frame = pd.DataFrame(rows, columns=["x", "y", "value", "pays"])
    frame.attrs = {"x": "rows per call", "y": "processes", "say": times}
    sentences = [_pays(one, n) for one in said.spreadings for n in one.processes if n > 1]
    reading = f"{'; '.join(sentences)}." if sentences else NO_SCALING
    return View(
        name="crossover_map",
        frame=frame,
        draw=heat_map,
        alt="Speedup over one process by rows per call and processes, with a border around what pays.",
        reading=f"{reading} {_break_even(said)}".strip(),
        size_inches=(7.4, 1.6 + 0.55 * max(1, len(sentences))),
    )


def _pays(seen: Spreading, n: int) -> str:
    rows = seen.pays_from(n)
    if rows is None:
        return f"{_processes(n)}{_more(seen)} were not shown to be faster with up to {max(seen.rows):,} rows"
    undecided = joined(map("{:,}".format, seen.undecided(n, rows)))
    beside = f" (no verdict at {undecided})" if undecided else ""
    return f"{_processes(n)} of a warm pool{_more(seen)} are faster than one from {rows:,} rows per call on{beside}"


def _break_even(said: MultiprocessStudy) -> str:
    """Return the numbers of rows from which one call pays back the start of each pool, in words."""
    found = [
        f"{title(way)}: never, {rows.reason}"
        if isinstance(rows, Refusal)
        else f"{title(way)}: {_rows(rows.value)} rows ({interval(rows.low, rows.high, _rows)})"
        for way in said.warm.values()
        if (rows := way.break_even)
    ]
    return f"Rows from which one call pays back the start-up: {'; '.join(found)}." if found else ""


def network_spread(said: MultiprocessStudy) -> View:
    """Show whether the network gains more from processes or from threads."""
    known = {_split(one): one.ratio for one in said.network if is_known(one.ratio)}
    spoken = "; ".join(f"{name} {ratio(r)}" for name, r in known.items())
    one = "one process with one thread"
    return View(
        name="network_spread",
        frame=bars(known, f"times as fast as {one}", [(1.0, one)], times),
        draw=bars_and_marks,
        alt="Speedup of the small network by processes, and by threads of each.",
        reading=f"Against {one}: {spoken}.{_fastest(said)}"
        if known
        else "The network was not measured: `network_processes` or `network_threads` is empty.",
        size_inches=(7.4, 1.7 + 0.4 * max(1, len(known))),
    )


def _fastest(said: MultiprocessStudy) -> str:
    """Return the fastest split and its ties, where it is faster than one process with one thread."""
    splits = {one.cell.case: one for one in said.network}
    fastest = [splits[cell.case] for cell in best_and_ties([one.cell for one in said.network])]
    if not fastest or fastest[0].ratio is None or fastest[0].ratio.verdict is not Verdict.FASTER:
        return ""
    ties = joined(map(_split, fastest[1:]))
    return f" Fastest: {_split(fastest[0])}." + (f" Statistically tied: {ties}." if ties else "")


def _split(one: Split) -> str:
    case = one.cell.case
    return ", ".join((f"{_processes(case.n_processes)} × {plural(case.n_threads, 'thread')}", *one.label.more))


def _processes(n: int) -> str:
    return plural(n, "process", "processes")


def _rows(value: float) -> str:
    return f"{value:,.0f}"
