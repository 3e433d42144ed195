"""Show which way of using several CPUs pays, and where the others lose their time."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from inferbench_lib.findings import Advice, Interval, Ratio, Verdict
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
from inferbench_lib.studies.cpu_multiprocess.names import ALONE, code, setting, title
from inferbench_lib.studies.cpu_multiprocess.page_scaling import crossover_map, network_spread, scaling_curve
from inferbench_lib.studies.cpu_multiprocess.page_ways import (
    cold_start,
    executor_times,
    memory_by_way,
    side_by_side,
    where_the_time_went,
)
from inferbench_lib.studies.cpu_multiprocess.study import WORTH, Choice, MultiprocessStudy
from inferbench_lib.studies.cpu_multiprocess.study import study as study
from inferbench_lib.studies.cpu_multiprocess.ways import Way, is_known

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
    best = said.choice.way if said.choice else None
    warm = [way for way in said.warm.values() if is_known(way.ratio)]
    warm.sort(key=lambda way: (way is not best, -way.ratio.value if way.ratio else 0.0))
    ratios = {f"speedup of {title(way)}": way.ratio for way in (*warm, *said.cold.values())}
    for key, ratio in said.ceilings.items():
        ratios[", ".join(filter(None, ("the ceiling: independent processes, nothing shared", key)))] = ratio
    everything = [*said.warm.values(), *said.cold.values()]
    flags = gathered((flag for way in everything for flag in way.cell.flags), len(everything))
    ended = [
        f"{capital(title(way))}: {way.summary.outcome} ({way.summary.reason})"
        for way in everything
        if way.summary.outcome is not Outcome.OK
    ]
    return Answer(
        verdict=_verdict(said),
        cards=tuple(_card(label, ratio) for label, ratio in ratios.items() if is_known(ratio)),
        flags=(*flags, *ended),
        code=advise(said).code,
    )


def _card(label: str, ratio: Ratio) -> Card:
    spread = "no interval yet" if ratio.low is None else interval(ratio.low, ratio.high, times)
    unsure = ", unstable" if ratio.verdict is Verdict.UNSTABLE and ratio.low is not None else ""
    return Card(value=times(ratio.value), label=label, interval=f"{spread}{unsure}")


def _verdict(said: MultiprocessStudy) -> str:
    if not said.verification.passed:
        return f"No verdict: verification FAILED ({said.verification.detail})."
    choice = said.choice
    if choice is None:
        return "No verdict: one process was not measured, and nothing can be compared without it."
    if choice.is_one_process:
        return f"Stay with {ALONE}: {'. Closest: '.join(_why_one_process(choice))}."
    others = f" {capital(found)}." if (found := _others(choice)) else ""
    return f"Use {_title_and_setting(choice.way)}: {_as_fast(choice.way)}{_of_ceiling(said, choice.way)}.{others}"


def _why_one_process(choice: Choice) -> list[str]:
    """Return why one process is recommended, then the way that comes closest to more, in words."""
    if choice.closest is None:
        return ["no other way was measured"]
    way, gain = choice.closest
    is_small = choice.faster and f"no other way is shown to gain more than {share(WORTH - 1)}"
    return [is_small or "no other way is faster", compared(gain, title(way), ALONE)]


def _others(choice: Choice) -> str:
    """Return what the recommended way gains over a simpler one, else a more complicated one over it; and the ties."""
    found = []
    if choice.simpler and (before := choice.simpler[0].ratio):
        simpler, gain = choice.simpler
        named = f"setting {parameter}" if (parameter := setting(simpler)) else title(simpler)
        found.append(f"{named} already gives {times(before.value)}; {_adds(choice.way, gain)}")
    elif choice.faster:
        found.append(_adds(*choice.faster[0]))
    if choice.tied:
        found.append(f"statistically tied: {joined(map(title, choice.tied))}")
    return "; ".join(found)


def _adds(way: Way, gain: Ratio) -> str:
    low, high = ((end or gain.value) - 1 for end in (gain.low, gain.high))
    return f"{title(way)} adds {share(gain.value - 1)} ({interval(low, high, share)})"


def _title_and_setting(way: Way) -> str:
    return f"{title(way)} ({parameter})" if (parameter := setting(way)) else title(way)


def _as_fast(way: Way) -> str:
    """Return the speedup of a way over one process, in words."""
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
    """Recommend the simplest way that no more complicated one is worth leaving."""
    n_rows = int(said.run.params["n_samples"])
    choice = said.choice
    recommendation, evidence = f"stay with {ALONE} for the forest", "no other way was shown to be faster"
    if choice and choice.is_one_process:
        evidence = "; ".join(_why_one_process(choice))
    elif choice:
        recommendation = f"use {_title_and_setting(choice.way)} for the forest: {_as_fast(choice.way)}"
        n_rounds = choice.way.ratio.n_rounds if choice.way.ratio else 0
        others = f"; {found}" if (found := _others(choice)) else ""
        evidence = f"compared within {plural(n_rounds, 'round')}, with a 95 % interval{others}"
    return Advice(
        recommendation=recommendation,
        evidence=evidence,
        limits=f"this machine, {n_rows:,} rows per call, outputs checked ({said.verification.word})",
        code=code(choice.way) if choice else "",
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


def _shown(value: Ratio | Interval | None, form: Callable[[float], str]) -> str:
    return "–" if value is None or math.isnan(value.value) else form(value.value)
