"""Show which way of using several CPUs pays, and where the others lose their time."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from inferbench_lib.findings import Interval, Ratio, Verdict
from inferbench_lib.records import Outcome
from inferbench_lib.report.display import Answer, Card, Table
from inferbench_lib.report.words import capital, gathered, interval, seconds, share, times
from inferbench_lib.studies.cpu_multiprocess.page_advice import advise as advise
from inferbench_lib.studies.cpu_multiprocess.page_advice import verdict
from inferbench_lib.studies.cpu_multiprocess.page_scaling import crossover_map, network_spread, scaling_curve
from inferbench_lib.studies.cpu_multiprocess.page_ways import (
    cold_start,
    executor_times,
    side_by_side,
    title,
    where_the_time_went,
)
from inferbench_lib.studies.cpu_multiprocess.study import Choice, MultiprocessStudy
from inferbench_lib.studies.cpu_multiprocess.study import study as study
from inferbench_lib.studies.cpu_multiprocess.ways import Way, is_known

VIEWS = (
    executor_times,
    side_by_side,
    where_the_time_went,
    cold_start,
    scaling_curve,
    crossover_map,
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
"""Published for a Windows laptop of 8 cores and 16 threads, 15.79 GB, Python 3.12.2. One process took 4.607 s there."""


def answer(said: MultiprocessStudy) -> Answer:
    """Return which way to use here, how much it gains, and how sure that is."""
    best = said.choice.way if isinstance(said.choice, Choice) else None
    warm = [way for way in said.warm.values() if is_known(way.ratio)]
    warm.sort(key=lambda way: (way is not best, -way.ratio.value if way.ratio else 0.0))
    ratios = {f"speedup of {title(way)}": way.ratio for way in (*warm, *said.cold.values())}
    ceiling = "the ceiling: independent processes, nothing shared"
    ratios |= {f"{ceiling}{key and ', '}{key}": ratio for key, ratio in said.ceilings.items()}
    flags = gathered((flag for way in said.ways for flag in way.cell.flags), len(said.ways))
    ended = [
        f"{capital(title(way))}: {way.summary.outcome} ({way.summary.reason})"
        for way in said.ways
        if way.summary.outcome is not Outcome.OK
    ]
    return Answer(
        verdict=verdict(said),
        cards=tuple(_card(label, ratio) for label, ratio in ratios.items() if is_known(ratio)),
        flags=(*flags, *ended),
        code=advise(said).code,
    )


def _card(label: str, ratio: Ratio) -> Card:
    unsure = ", unstable" if ratio.verdict is Verdict.UNSTABLE else ""
    return Card(value=times(ratio.value), label=label, interval=f"{interval(ratio.low, ratio.high, times)}{unsure}")


def table(said: MultiprocessStudy) -> Table:
    """Show every way as a row, with the published row of the reference laptop below."""
    rows = [*map(_row, said.ways), REFERENCE]
    return Table(
        frame=pd.DataFrame(rows).fillna("–"),
        reading="Efficiency is speedup divided by the number of processes or threads. "
        "Start-up is not part of the time: it is paid once, before the first call. A cold way starts within each call, "
        "with no more processes than usable CPUs, so its time includes the start-up. Memory is the peak of all "
        "processes during one pass, less their memory before the data came; pages that several of them share count "
        "once. The reference is a published result of another machine, which called a new multiprocessing.Pool: do "
        "not compare its seconds.",
    )


def _row(way: Way) -> dict[str, str]:
    cell, summary = way.cell, way.summary
    startup = "in the time" if cell.case.cold else seconds(sum(cell.startup_s.values())) if cell.startup_s else "–"
    low, high = summary.median_s.low, summary.median_s.high
    return {
        "way": title(way),
        "median": seconds(summary.median_s.value) if summary.is_measured else "–",
        "95 % interval": "withheld" if low is None else interval(low, high, seconds),
        "speedup": _shown(way.ratio, times),
        "efficiency": _shown(way.efficiency, share),
        "of the ceiling": _shown(way.of_ceiling, share),
        "of the threads": _shown(way.of_threads, share),
        "memory": "–" if way.memory is None else f"{times(way.memory)} data",
        "verdict": str(way.ratio.verdict) if way.ratio else "–" if cell.case.cold else "baseline",
        "start-up": startup,
        "verified": cell.verification.word if cell.verification else "–",
        "outcome": str(summary.outcome),
    }


def _shown(value: Interval | None, form: Callable[[float], str]) -> str:
    return form(value.value) if is_known(value) else "–"
