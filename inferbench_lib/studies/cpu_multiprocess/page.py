"""The page of `cpu_multiprocess`: which way of using several CPUs pays, and where the others lose their time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from inferbench_lib.records import Figure, Outcome, Ratio, Summary, Verdict
from inferbench_lib.report import figures
from inferbench_lib.report.display import Answer, Card, Table, View
from inferbench_lib.report.words import (
    capital,
    compared,
    digits,
    gathered,
    joined,
    measured,
    plural,
    ratio,
    seconds,
    share,
    times,
)
from inferbench_lib.stats.comparison import Ranking, rank
from inferbench_lib.studies.cpu_multiprocess.accounts import BASELINE
from inferbench_lib.studies.cpu_multiprocess.advice import advise
from inferbench_lib.studies.cpu_multiprocess.breakdown import USEFUL
from inferbench_lib.studies.cpu_multiprocess.names import NAMES, REFERENCE, is_known, lost, spread
from inferbench_lib.studies.cpu_multiprocess.page_breakdown import cold_start, where_the_time_went
from inferbench_lib.studies.cpu_multiprocess.page_scaling import (
    crossover_map,
    memory_by_way,
    network_spread,
    scaling_curve,
    side_by_side,
)
from inferbench_lib.studies.cpu_multiprocess.study import MultiprocessStudy, study

__all__ = [
    "NAMES",
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


def answer(said: MultiprocessStudy) -> Answer:
    """What to use here, by how much, and how sure."""
    ranking = _ranking(said)
    best = ranking.best.case.executor if ranking else ""
    cards = [
        Card(value=times(r.value), label=f"speedup of {NAMES[name]}", interval=spread(r))
        for name, r in sorted(said.ratios.items(), key=lambda item: (item[0] != best, -item[1].value))
        if is_known(r)
    ]
    cards += [
        Card(value=times(r.value), label=f"{NAMES[name]}, from a cold start", interval=spread(r))
        for name, r in said.cold_ratios.items()
        if is_known(r)
    ]
    if said.ceiling is not None and is_known(said.ceiling):
        label = "the ceiling: independent processes, nothing shared"
        cards.append(Card(value=times(said.ceiling.value), label=label, interval=spread(said.ceiling)))
    cells = [*said.cells.values(), *said.cold.values()]
    flags = gathered((flag for cell in cells for flag in cell.flags), len(cells))
    summaries = [(NAMES[name], summary) for name, summary in said.summaries.items()]
    summaries += [(f"{NAMES[name]}, cold", summary) for name, summary in said.cold_summaries.items()]
    ended = [
        f"{capital(name)}: {summary.outcome} ({summary.reason})"
        for name, summary in summaries
        if summary.outcome is not Outcome.OK
    ]
    return Answer(verdict=_verdict(said), cards=tuple(cards), flags=(*flags, *ended))


def _ranking(said: MultiprocessStudy) -> Ranking | None:
    """The ways that were shown to be faster than one process, held against each other."""
    return rank([said.cells[name] for name, r in said.ratios.items() if r.verdict is Verdict.FASTER])


def _verdict(said: MultiprocessStudy) -> str:
    if not said.verification.passed:
        return f"No verdict: verification FAILED ({said.verification.detail})."
    if BASELINE not in said.summaries or not said.summaries[BASELINE].is_measured:
        return "No verdict: one process was not measured, and nothing can be compared without it."
    ranking = _ranking(said)
    if ranking is None:
        known = {name: r for name, r in said.ratios.items() if r.verdict is not Verdict.INVALID}
        if not known:
            return "Stay with one process: no other way was measured."
        closest = max(known, key=lambda name: known[name].value)
        spoken = compared(known[closest], NAMES[closest], NAMES[BASELINE])
        return f"Stay with one process: no other way was shown to be faster here. The closest is {spoken}."
    best = ranking.best.case.executor
    ties = [
        NAMES[cell.case.executor]
        for cell, against in zip(ranking.order[1:], ranking.against_best[1:], strict=True)
        if against.verdict is Verdict.INDISTINGUISHABLE
    ]
    tied = f" Not to be told from it: {joined(ties)}." if ties else ""
    reached = said.shares.get(best)
    of_ceiling = f", {reached.value:.2f} of {_most(said)}" if reached and is_known(reached) else ""
    losers = [name for name, r in said.ratios.items() if r.verdict is Verdict.SLOWER]
    lines = [
        f"Use {NAMES[best]}: {ratio(said.ratios[best])} the speed of one process{of_ceiling}.{tied}",
        *(_cold(said.cold_ratios[name], name) for name in (best,) if name in said.cold_ratios),
        *(_loses(said, name) for name in losers),
    ]
    return " ".join(filter(None, lines))


def _most(said: MultiprocessStudy) -> str:
    """The ceiling in words."""
    usable = said.run.machine.usable_cpus
    if said.n_processes <= usable:
        return "what this machine can do"
    return f"what {said.n_processes} independent processes reach, which take turns on {plural(usable, 'CPU')}"


def _cold(value: Ratio, name: str) -> str:
    """What one call gives whose pool starts with it."""
    if not is_known(value):
        return ""
    return f"{capital(compared(value, f'one call from a cold start of {NAMES[name]}', NAMES[BASELINE]))}."


def _loses(said: MultiprocessStudy, name: str) -> str:
    """A way that was slower, and its two largest measured losses."""
    slower = f"{capital(NAMES[name])} is slower than one process: {ratio(said.ratios[name])}"
    breakdown = said.breakdowns.get(name)
    if breakdown is None or lost(breakdown) <= 0:
        return f"{slower}."
    parts = [part for part in breakdown.parts if part.name != USEFUL and part.seconds > 0]
    largest = sorted(parts, key=lambda part: -part.seconds)[:2]
    of_which = joined(f"{seconds(part.seconds)} to {part.name}" for part in largest)
    return f"{slower}; it loses {seconds(lost(breakdown))}" + (f", of which {of_which}." if of_which else ".")


def executor_times(said: MultiprocessStudy) -> View:
    """How long does each way take?"""
    rows: list[dict[str, Any]] = []
    known = {name: summary.median_s for name, summary in said.summaries.items() if summary.is_measured}
    for name, centre in known.items():
        at = {"label": NAMES[name]}
        rows += [{**at, "kind": "sample", "value": s, "low": None, "high": None} for s in said.cells[name].samples_s]
        rows.append({**at, "kind": "median", "value": centre.value, "low": centre.low, "high": centre.high})
    frame = pd.DataFrame(rows, columns=["label", "kind", "value", "low", "high"]).astype({"low": float, "high": float})
    n_samples = int(said.run.params["n_samples"])
    frame.attrs = {"x": f"seconds for {n_samples:,} rows (less is better)", "say": seconds}
    spoken = "; ".join(f"{NAMES[name]} {measured(centre)}" for name, centre in known.items()) or "no way was measured"
    return View(
        name="executor_times",
        frame=frame,
        draw=figures.strips,
        alt=f"Seconds for {n_samples:,} rows, every sample with median and 95 % interval. {capital(spoken)}.",
        reading=f"Medians with 95 % intervals: {spoken}.",
        size_inches=(7.4, 0.9 + 0.62 * len(said.cells)),
    )


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


def table(said: MultiprocessStudy) -> Table:
    """Every way as a row, the reference laptop's published row below."""
    rows = []
    for name, summary in said.summaries.items():
        r = said.ratios.get(name)
        rows.append(
            {
                "way": NAMES[name],
                "median": seconds(summary.median_s.value) if summary.is_measured else "–",
                "95 % interval": _spread_s(summary.median_s.low, summary.median_s.high),
                "speedup": times(r.value) if r and r.verdict is not Verdict.INVALID else "–",
                "efficiency": share(said.efficiencies[name].value) if r and r.verdict is not Verdict.INVALID else "–",
                "of the ceiling": share(reached.value) if is_known(reached := said.shares.get(name)) else "–",
                "of the threads": share(held.value) if is_known(held := said.against_threads.get(name)) else "–",
                "memory": f"{times(said.memory[name])} data" if name in said.memory else "–",
                "verdict": str(r.verdict) if r else "baseline",
                "start-up": seconds(sum(said.cells[name].startup_s.values())) if said.cells[name].startup_s else "–",
                "verified": checked.word if (checked := said.cells[name].verification) else "–",
                "outcome": str(summary.outcome),
            }
        )
    rows += [_cold_row(said, name, summary) for name, summary in said.cold_summaries.items()]
    reference = {"way": "reference laptop, 4 processes", "median": f"{REFERENCE['multi_s']} s",
                 "speedup": f"{REFERENCE['speedup']}×", "efficiency": share(REFERENCE["efficiency"]),
                 "verified": "PASSED", "95 % interval": "not published", "verdict": "published", "start-up": "–",
                 "outcome": "–", "of the ceiling": "–", "of the threads": "–", "memory": "–"}  # fmt: skip
    frame = pd.DataFrame([*rows, reference])
    efficiency = f"Efficiency is speedup divided by {plural(said.n_processes, 'process', 'processes')}"
    usable = said.run.machine.usable_cpus
    limit = (
        f"; with {plural(usable, 'usable CPU')} it cannot exceed {digits(usable / said.n_processes, 2)}"
        if usable < said.n_processes
        else ""
    )
    return Table(
        frame=frame,
        reading=f"{efficiency}{limit}. Start-up is apart from the time: it is paid once, before the first call; "
        "what is called cold starts within each call, with no more processes than usable CPUs, and has its start-up in "
        "the time. "
        "The reference is a published result of another machine: its figures are not comparable in seconds.",
    )


def _cold_row(said: MultiprocessStudy, name: str, summary: Summary) -> dict[str, str]:
    r, cell = said.cold_ratios.get(name), said.cold[name]
    return {
        "way": f"{NAMES[name]}, cold",
        "median": seconds(summary.median_s.value) if summary.is_measured else "–",
        "95 % interval": _spread_s(summary.median_s.low, summary.median_s.high),
        "speedup": times(r.value) if r and is_known(r) else "–",
        "efficiency": share(r.value / cell.case.n_processes) if r and is_known(r) else "–",
        "of the ceiling": "–",
        "of the threads": "–",
        "memory": "–",
        "verdict": str(r.verdict) if r else "–",
        "start-up": "in the time",
        "verified": cell.verification.word if cell.verification else "–",
        "outcome": str(summary.outcome),
    }


def verification(said: MultiprocessStudy) -> Figure:
    """PASSED or FAILED, and where outputs differ."""
    return Figure(value=said.verification.word, verdict=said.verification.detail)


def _spread_s(low: float | None, high: float | None) -> str:
    return "withheld" if low is None or high is None else f"{seconds(low)} to {seconds(high)}"


PICTURE = executor_times
HEADLINES = {"speedup": "shared-memory pool over one process"}
KEY_FIGURES = {
    r"single_s": "Forest, one process",
    r"multi_s": "Forest, shared-memory pool",
    r"speedup": "Speedup of that pool",
    r"efficiency": "Speedup ÷ processes",
    r"verification": "Outputs against the reference",
}
