"""How far more processes help: against what the machine can do, by rows and processes, in memory, for the network."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from inferbench_lib.records import Ratio, Verdict
from inferbench_lib.report import figures
from inferbench_lib.report.display import View
from inferbench_lib.report.words import (
    capital,
    digits,
    interval,
    joined,
    measured,
    plural,
    ratio,
    share,
    times,
)
from inferbench_lib.stats.comparison import rank
from inferbench_lib.stats.refusal import Refusal
from inferbench_lib.studies.cpu_multiprocess.figures import bars_and_marks, heat_map
from inferbench_lib.studies.cpu_multiprocess.names import NAMES, is_known
from inferbench_lib.studies.cpu_multiprocess.study import MultiprocessStudy

NO_SCALING = "Rows by processes were not measured: `scaling_rows` is empty."
COLUMNS = ["label", "value", "low", "high"]


def side_by_side(said: MultiprocessStudy) -> View:
    """How close does each way come to what this machine can do?"""
    known = {NAMES[name]: r for name, r in said.ratios.items() if is_known(r)}
    known |= {f"{NAMES[name]}, cold": r for name, r in said.cold_ratios.items() if is_known(r)}
    marks = [(1.0, "one process"), (float(said.n_processes), f"ideal: {said.n_processes} times one process")]
    if is_known(said.ceiling):
        marks.append((said.ceiling.value, f"ceiling, independent processes: {times(said.ceiling.value)}"))
    reached, threads = _best_first(said.shares), _best_first(said.against_threads)
    sentences = [
        f"Of what independent processes reach together, {times(said.ceiling.value)} one process: {reached}."
        if reached and is_known(said.ceiling)
        else "The ceiling was not measured: no share of it can be given.",
        f"Of the speed of scikit-learn's own threads: {threads}." if threads else "",
        _too_many(said),
    ]
    return View(
        name="side_by_side",
        frame=_bars(known, "times as fast as one process (more is better)", marks),
        draw=bars_and_marks,
        alt=f"Speedup of every way over one process, beside the ceiling and the ideal. {_alt(known)}",
        reading=" ".join(filter(None, sentences)),
        size_inches=(7.4, 1.9 + 0.45 * len(known)),
    )


def scaling_curve(said: MultiprocessStudy) -> View:
    """How far do more processes help?"""
    seen = said.spreading
    rows = [{"x": n, "y": float(n), "low": None, "high": None, "label": "ideal"} for n in seen.processes]
    rows += [{"x": n, "y": r.value, "low": r.low, "high": r.high, "label": "same rows"} for n, r in seen.strong.items()]
    rows += [
        {"x": n, "y": n * e.value, "low": n * e.low if e.low else None, "high": n * e.high if e.high else None,
         "label": "rows grow too"} for n, e in seen.weak.items()
    ]  # fmt: skip
    if seen.strong:
        rows += [{"x": 1, "y": 1.0, "low": None, "high": None, "label": "same rows"}]
    if seen.weak:
        rows += [{"x": 1, "y": 1.0, "low": None, "high": None, "label": "rows grow too"}]
    if not seen.strong:
        rows = []
    frame = pd.DataFrame(rows, columns=["x", "y", "low", "high", "label"]).astype({"low": float, "high": float})
    frame.attrs = {"x": "processes", "y": "times as fast as one process"}
    if is_known(said.ceiling):
        frame.attrs["limit"] = (said.ceiling.value, f"ceiling of {said.n_processes} processes")
    reading = " ".join(_scaling_sentences(said)) if seen.strong else NO_SCALING
    return View(
        name="scaling_curve",
        frame=frame,
        draw=lambda data, axes: figures.lines(data, axes, log_y=False),
        alt=f"Speedup by number of processes, beside the ideal. {reading}",
        reading=reading,
    )


def _scaling_sentences(said: MultiprocessStudy) -> list[str]:
    seen, usable = said.spreading, said.run.machine.usable_cpus
    strong = "; ".join(
        f"{plural(n, 'process', 'processes')}{' (more than CPUs)' if n > usable else ''} {ratio(r)}"
        for n, r in seen.strong.items()
    )
    sentences = [f"With {max(seen.rows):,} rows: {strong}."]
    if seen.weak_rows:
        weak = "; ".join(f"{plural(n, 'process', 'processes')} {measured(e, share)}" for n, e in seen.weak.items())
        sentences.append(f"Efficiency with {seen.weak_rows:,} rows for each process: {weak}.")
    amdahl, usl = seen.amdahl, seen.usl
    if isinstance(amdahl, Refusal):
        sentences.append(f"No serial fraction up to {plural(usable, 'usable CPU')}: {amdahl.reason}.")
    else:
        limit = amdahl.max_speedup.value
        most = f"no number of processes exceeds {times(limit)}" if math.isfinite(limit) else "it sets no limit"
        sentences.append(
            f"Amdahl's law: {measured(amdahl.serial_fraction, share)} of the work is serial, so {most} "
            f"(worst misfit {share(amdahl.misfit)})."
        )
    if isinstance(usl, Refusal):
        sentences.append(f"No universal scalability law: {usl.reason}.")
    else:
        peak = f"throughput peaks at {digits(usl.peak_workers, 2)}" if math.isfinite(usl.peak_workers) else "no peak"
        sentences.append(
            f"Universal scalability law: contention {measured(usl.contention, share)}, coherency "
            f"{measured(usl.coherency, digits)}; {peak} (worst misfit {share(usl.misfit)})."
        )
    return sentences


def crossover_map(said: MultiprocessStudy) -> View:
    """From how many rows on do several processes pay?"""
    seen = said.spreading
    rows = [
        {"x": n_rows, "y": n, "value": r.value, "pays": r.verdict is Verdict.FASTER}
        for (n, n_rows), r in seen.speedups.items()
        if is_known(r)
    ]
    frame = pd.DataFrame(rows, columns=["x", "y", "value", "pays"])
    frame.attrs = {"x": "rows a call", "y": "processes", "say": times}
    from_rows = {n: seen.pays_from(n) for n in seen.processes if n > 1}
    sentences = [
        f"{plural(n, 'process', 'processes')} of a warm pool were faster than one from {rows_n:,} rows a call on"
        f"{_no_verdict(seen.undecided(n, rows_n))}"
        if rows_n
        else f"{plural(n, 'process', 'processes')} were not shown to be faster with up to {max(seen.rows):,} rows"
        for n, rows_n in from_rows.items()
    ]
    reading = f"{'; '.join(sentences)}." if sentences else NO_SCALING
    return View(
        name="crossover_map",
        frame=frame,
        draw=heat_map,
        alt=f"Speedup over one process by rows a call and processes, a border around what pays. {reading}",
        reading=f"{reading} {break_even(said)}".strip(),
        size_inches=(7.4, 1.6 + 0.55 * max(1, len(from_rows))),
    )


def _no_verdict(rows: tuple[int, ...]) -> str:
    return f" (no verdict at {joined(map('{:,}'.format, rows))})" if rows else ""


def break_even(said: MultiprocessStudy) -> str:
    """From how many rows the start of each pool is paid back by one call."""
    found = [
        f"{NAMES[name]}: never, {rows.reason}"
        if isinstance(rows, Refusal)
        else f"{NAMES[name]}: {_rows(rows.value)} rows ({interval(rows.low, rows.high, _rows)})"
        for name, rows in said.break_even.items()
    ]
    return f"Rows from which one call pays the start-up back: {'; '.join(found)}." if found else ""


def memory_by_way(said: MultiprocessStudy) -> View:
    """How much memory does each way need?"""
    frame = pd.DataFrame(
        [{"label": NAMES[name], "value": value, "low": None, "high": None} for name, value in said.memory.items()],
        columns=COLUMNS,
    ).astype({"low": float, "high": float})
    frame.attrs = {"x": "memory above the idle processes, as a multiple of the data", "say": times,
                   "marks": [(1.0, "the data once")]}  # fmt: skip
    spoken = joined(f"{NAMES[name]} {times(value)}" for name, value in said.memory.items())
    reading = f"Above the idle processes, in multiples of the data: {spoken}." if spoken else "Memory was not measured."
    return View(
        name="memory_by_way",
        frame=frame,
        draw=bars_and_marks,
        alt=f"Memory of each way above its idle processes, as a multiple of the data. {reading}",
        reading=reading,
        size_inches=(7.4, 1.6 + 0.4 * max(1, len(said.memory))),
    )


def network_spread(said: MultiprocessStudy) -> View:
    """And the network: processes or threads?"""
    known = {_spread_name(*spread): r for spread, r in said.network.items() if is_known(r)}
    spoken = "; ".join(f"{name} {ratio(r)}" for name, r in known.items())
    reading = (
        f"Against one process with one thread: {spoken}.{_fastest_spread(said)}"
        if known
        else "The network was not measured: `network_processes` or `network_threads` is empty."
    )
    return View(
        name="network_spread",
        frame=_bars(known, "times as fast as one process with one thread", [(1.0, "one process with one thread")]),
        draw=bars_and_marks,
        alt=f"Speedup of the small network by processes and threads of each. {reading}",
        reading=reading,
        size_inches=(7.4, 1.7 + 0.4 * max(1, len(known))),
    )


def _fastest_spread(said: MultiprocessStudy) -> str:
    """The fastest, where it is faster than one process with one thread, and what was not shown to be slower."""
    ranking = rank(list(said.network_cells.values()))
    if ranking is None:
        return ""
    best, *ties = [(cell.case.n_processes, cell.case.n_threads) for cell in (ranking.best, *ranking.ties)]
    if best not in said.network or said.network[best].verdict is not Verdict.FASTER:
        return ""
    beside = joined(_spread_name(*spread) for spread in ties)
    return f" Fastest: {_spread_name(*best)}." + (f" Not shown to be slower: {beside}." if beside else "")


def _bars(known: dict[str, Ratio], x: str, marks: list[tuple[float, str]]) -> pd.DataFrame:
    rows = [{"label": label, "value": r.value, "low": r.low, "high": r.high} for label, r in known.items()]
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"low": float, "high": float})
    frame.attrs = {"x": x, "say": times, "marks": marks}
    return frame


def _alt(known: dict[str, Ratio]) -> str:
    return f"{capital(joined(f'{name} {times(r.value)}' for name, r in known.items()) or 'Nothing was measured')}."


def _best_first(ratios: Mapping[str, Ratio]) -> str:
    known = {name: r for name, r in ratios.items() if is_known(r)}
    return joined(f"{NAMES[name]} {_share(known[name])}" for name in sorted(known, key=lambda name: -known[name].value))


def _share(value: Ratio) -> str:
    return f"{value.value:.2f} ({interval(value.low, value.high, '{:.2f}'.format)})"


def _rows(value: float) -> str:
    return f"{value:,.0f}"


def _spread_name(n_processes: int, n_threads: int) -> str:
    return f"{plural(n_processes, 'process', 'processes')} × {plural(n_threads, 'thread')}"


def _too_many(said: MultiprocessStudy) -> str:
    """That there are more processes than CPUs, where there are."""
    usable = said.run.machine.usable_cpus
    if usable >= said.n_processes:
        return ""
    return (
        f"{plural(said.n_processes, 'process', 'processes')} share {plural(usable, 'usable CPU')}: no more than "
        f"{usable}× one process can be expected, and the processes take turns, or some of them stand by."
    )
