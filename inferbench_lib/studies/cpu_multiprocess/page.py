"""Show which way of using several CPUs pays, and where the others lose their time."""

from __future__ import annotations

import pandas as pd

from inferbench_lib.findings import Advice, Ratio, Verdict
from inferbench_lib.records import Outcome
from inferbench_lib.report.display import Answer, Card, Table
from inferbench_lib.report.words import (
    capital,
    compared,
    digits,
    gathered,
    interval,
    joined,
    plural,
    seconds,
    share,
    times,
)
from inferbench_lib.studies.cpu_multiprocess.names import ALONE, title
from inferbench_lib.studies.cpu_multiprocess.page_scaling import crossover_map, network_spread, scaling_curve
from inferbench_lib.studies.cpu_multiprocess.page_ways import (
    cold_start,
    executor_times,
    memory_by_way,
    side_by_side,
    where_the_time_went,
)
from inferbench_lib.studies.cpu_multiprocess.study import MultiprocessStudy, study
from inferbench_lib.studies.cpu_multiprocess.ways import BASELINE, Way, is_known

__all__ = [
    "VIEWS",
    "advise",
    "answer",
    "cold_start",
    "crossover_map",
    "executor_times",
    "memory_by_way",
    "network_spread",
    "scaling_curve",
    "side_by_side",
    "study",
    "table",
    "where_the_time_went",
]

VIEWS = (
    executor_times,
    side_by_side,
    where_the_time_went,
    cold_start,
    scaling_curve,
    crossover_map,
    memory_by_way,
    network_spread,
)
PICTURE = executor_times
EXPLANATION = where_the_time_went
HEADLINES = {"speedup": "shared-memory pool over one process"}
KEY_FIGURES = {
    r"single_s": "Forest, one process",
    r"multi_s": "Forest, shared-memory pool",
    r"speedup": "Speedup of that pool",
    r"efficiency": "Speedup ÷ processes",
    r"verification": "Outputs against the reference",
}
REFERENCE = {
    "way": "reference laptop, 4 processes",
    "median": "6.245 s",
    "95 % interval": "not published",
    "speedup": "0.738×",
    "efficiency": "18 %",
    "verdict": "published",
    "verified": "PASSED",
}
"""The published result of a Windows laptop: 8 physical and 16 logical cores, 15.79 GB, Python 3.12.2, 4 processes.

One process took 4.607 s there.
"""


def answer(said: MultiprocessStudy) -> Answer:
    """Return which way to use here, how much it gains, and how sure that is."""
    best = said.fastest[0] if said.fastest else None
    ways = [way for way in said.warm.values() if is_known(way.ratio)]
    ways.sort(key=lambda way: (way is not best, -way.ratio.value if way.ratio else 0.0))
    cards = [_card(f"speedup of {title(way)}", way.ratio) for way in ways]
    cards += [_card(f"speedup of {title(way)}", way.ratio) for way in said.cold.values()]
    cards += [_card(", ".join(filter(None, ("the ceiling: independent processes, nothing shared", key))), ratio)
              for key, ratio in said.ceilings.items()]  # fmt: skip
    everything = [*said.warm.values(), *said.cold.values()]
    flags = gathered((flag for way in everything for flag in way.cell.flags), len(everything))
    ended = [
        f"{capital(title(way))}: {way.summary.outcome} ({way.summary.reason})"
        for way in everything
        if way.summary.outcome is not Outcome.OK
    ]
    return Answer(verdict=_verdict(said), cards=tuple(filter(None, cards)), flags=(*flags, *ended))


def _card(label: str, ratio: Ratio | None) -> Card | None:
    if not is_known(ratio):
        return None
    spread = "no interval yet" if ratio.low is None else interval(ratio.low, ratio.high, times)
    unsure = ", unstable" if ratio.verdict is Verdict.UNSTABLE and ratio.low is not None else ""
    return Card(value=times(ratio.value), label=label, interval=f"{spread}{unsure}")


def _verdict(said: MultiprocessStudy) -> str:
    if not said.verification.passed:
        return f"No verdict: verification FAILED ({said.verification.detail})."
    if not any(way.cell.case.executor == BASELINE and way.summary.is_measured for way in said.warm.values()):
        return "No verdict: one process was not measured, and nothing can be compared without it."
    if not said.fastest:
        closest = said.closest
        if closest is None or closest.ratio is None:
            return "Stay with one process: no other way was measured."
        return (
            f"Stay with one process: no other way is faster. Closest: {compared(closest.ratio, title(closest), ALONE)}."
        )
    best, *ties = said.fastest
    tied = f" Statistically tied: {joined(map(title, ties))}." if ties else ""
    return f"Use {title(best)}: {_as_fast(best)}{_of_ceiling(said, best)}.{tied}"


def _as_fast(way: Way) -> str:
    """Return the speedup of a way that is faster than one process, in words."""
    r = way.ratio
    return f"{times(r.value)} as fast as {ALONE} ({interval(r.low, r.high)})" if r else "not measured"


def _of_ceiling(said: MultiprocessStudy, way: Way) -> str:
    """Return how close a way comes to independent processes, in words."""
    most = said.ceilings.get("")
    if not is_known(way.of_ceiling) or not is_known(most):
        return ""
    is_all = way.of_ceiling.verdict in (Verdict.FASTER, Verdict.INDISTINGUISHABLE)
    reached = (
        "as fast as this machine allows" if is_all else f"{share(way.of_ceiling.value)} of what this machine allows"
    )
    processes = plural(said.n_processes, "independent process", "independent processes")
    return f", {reached} ({processes} on its {plural(said.usable_cpus, 'CPU')} reach {times(most.value)})"


def advise(said: MultiprocessStudy) -> Advice:
    """Recommend the fastest way that was shown to be faster than one process, else one process."""
    n_rows = int(said.run.params["n_samples"])
    limits = f"this machine, {n_rows:,} rows per call, outputs checked ({said.verification.word})"
    if said.fastest and said.verification.passed:
        best = said.fastest[0]
        n_rounds = best.ratio.n_rounds if best.ratio else 0
        return Advice(
            recommendation=f"use {title(best)} for the forest: {_as_fast(best)}",
            evidence=f"compared within {plural(n_rounds, 'round')}, with a 95 % interval",
            limits=limits,
        )
    closest = said.closest
    beside = f"; {compared(closest.ratio, title(closest), ALONE)}" if closest and closest.ratio else ""
    return Advice(
        recommendation="stay with one process for the forest",
        evidence=f"no other way was shown to be faster{beside}",
        limits=limits,
    )


def table(said: MultiprocessStudy) -> Table:
    """Show every way as a row, with the published row of the reference laptop below."""
    rows = [*map(_row, [*said.warm.values(), *said.cold.values()]), REFERENCE]
    usable, n = said.usable_cpus, said.n_processes
    limit = f"; with {plural(usable, 'usable CPU')} it cannot exceed {digits(usable / n, 2)}" if usable < n else ""
    return Table(
        frame=pd.DataFrame(rows).fillna("–"),
        reading=f"Efficiency is speedup divided by {plural(n, 'process', 'processes')}{limit}. "
        "Start-up is not part of the time: it is paid once, before the first call. A cold way starts within each call, "
        "with no more processes than usable CPUs, so its time includes the start-up. The reference is a published "
        "result of another machine, which called a new multiprocessing.Pool: do not compare its seconds.",
    )


def _row(way: Way) -> dict[str, str]:
    cell, summary, is_compared = way.cell, way.summary, is_known(way.ratio)
    startup = "in the time" if cell.case.cold else seconds(sum(cell.startup_s.values())) if cell.startup_s else "–"
    return {
        "way": title(way),
        "median": seconds(summary.median_s.value) if summary.is_measured else "–",
        "95 % interval": _interval_s(summary.median_s.low, summary.median_s.high),
        "speedup": times(way.ratio.value) if is_known(way.ratio) else "–",
        "efficiency": share(way.efficiency.value) if way.efficiency and is_compared else "–",
        "of the ceiling": share(way.of_ceiling.value) if is_known(way.of_ceiling) else "–",
        "of the threads": share(way.of_threads.value) if is_known(way.of_threads) else "–",
        "memory": "–" if way.memory is None else f"{times(way.memory)} data",
        "verdict": str(way.ratio.verdict) if way.ratio else "–" if cell.case.cold else "baseline",
        "start-up": startup,
        "verified": cell.verification.word if cell.verification else "–",
        "outcome": str(summary.outcome),
    }


def _interval_s(low: float | None, high: float | None) -> str:
    return "withheld" if low is None or high is None else interval(low, high, seconds)
