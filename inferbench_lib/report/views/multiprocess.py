"""The page of `cpu_multiprocess`: which way of using several CPUs pays, and where the others lose their time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from inferbench_lib.analysis.breakdown import USEFUL, lost_speedup_shares
from inferbench_lib.analysis.comparison import rank
from inferbench_lib.analysis.multiprocess import BASELINE, MultiprocessStudy, study
from inferbench_lib.records import Breakdown, Figure, Outcome, Ratio, Verdict
from inferbench_lib.report import figures
from inferbench_lib.report.display import Answer, Card, Table, View
from inferbench_lib.report.words import (
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

NAMES = {
    "single": "one process",
    "threads": "scikit-learn threads",
    "naive_pool": "a new pool for each call",
    "shared_pool": "the shared-memory pool",
}
REFERENCE = {"single_s": 4.607, "multi_s": 6.245, "speedup": 0.738, "efficiency": 0.184}
"""A Windows laptop, 8 physical and 16 logical cores, 15.79 GB, Python 3.12.2, 4 processes: the published result."""

__all__ = ["VIEWS", "answer", "study", "table"]


def answer(said: MultiprocessStudy) -> Answer:
    """What to use here, by how much, and how sure."""
    cards = [
        Card(value=times(r.value), label=f"speedup of {NAMES[name]}", interval=_spread(r))
        for name, r in sorted(said.ratios.items(), key=lambda item: -item[1].value)
        if r.verdict is not Verdict.INVALID
    ]
    if said.ceiling is not None and said.ceiling.verdict is not Verdict.INVALID:
        label = "the ceiling: independent processes, nothing shared"
        cards.append(Card(value=times(said.ceiling.value), label=label, interval=_spread(said.ceiling)))
    flags = gathered((flag for cell in said.cells.values() for flag in cell.flags), len(said.cells))
    ended = [
        f"{_capital(NAMES[name])}: {summary.outcome} ({summary.reason})"
        for name, summary in said.summaries.items()
        if summary.outcome is not Outcome.OK
    ]
    return Answer(verdict=_verdict(said), cards=tuple(cards), flags=(*flags, *ended))


def _verdict(said: MultiprocessStudy) -> str:
    if not said.verification.passed:
        return f"No verdict: verification FAILED ({said.verification.detail})."
    if BASELINE not in said.summaries or not said.summaries[BASELINE].is_measured:
        return "No verdict: one process was not measured, and nothing can be compared without it."
    ranking = rank([said.cells[name] for name, r in said.ratios.items() if r.verdict is Verdict.FASTER])
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
    losers = [name for name, r in said.ratios.items() if r.verdict is Verdict.SLOWER]
    lost = "".join(
        f" {_capital(NAMES[name])} loses: {ratio(said.ratios[name])}{_because(said, name)}." for name in losers
    )
    return f"Use {NAMES[best]}: {ratio(said.ratios[best])} the speed of one process.{tied}{lost}"


def _because(said: MultiprocessStudy, name: str) -> str:
    """The two largest measured losses."""
    breakdown = said.breakdowns.get(name)
    lost = sorted(_losses(breakdown), key=lambda item: -item[1])[:2] if breakdown else []
    return f"; most of it to {joined(f'{part} ({seconds(cost)})' for part, cost in lost)}" if lost else ""


def _losses(breakdown: Breakdown) -> list[tuple[str, float]]:
    return [(part.name, part.seconds) for part in breakdown.parts if part.name != USEFUL and part.seconds > 0]


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
    ratios = "; ".join(compared(r, NAMES[name], NAMES[BASELINE]) for name, r in said.ratios.items())
    return View(
        name="executor_times",
        frame=frame,
        draw=figures.strips,
        alt=f"Seconds for {n_samples:,} rows, every sample with median and 95 % interval. {_capital(spoken)}.",
        reading=f"Medians with 95 % intervals: {spoken}.{f' {_capital(ratios)}.' if ratios else ''}",
        size_inches=(7.4, 0.9 + 0.62 * len(said.cells)),
    )


def where_the_time_went(said: MultiprocessStudy) -> View:
    """Where does the time go?"""
    rows = [
        {"label": NAMES[name], "part": part.name, "seconds": max(0.0, part.seconds)}
        for name, breakdown in said.breakdowns.items()
        for part in (*breakdown.parts,)
    ]
    rows += [
        {"label": NAMES[name], "part": "unexplained", "seconds": abs(breakdown.unexplained_s)}
        for name, breakdown in said.breakdowns.items()
    ]
    frame = pd.DataFrame(rows, columns=["label", "part", "seconds"])
    frame = frame[frame["seconds"] > 0.005 * frame["seconds"].max()]
    frame.attrs = {"x": "seconds of wall time, averaged over the workers", "say": seconds}
    readings = " ".join(_account(NAMES[name], breakdown) for name, breakdown in said.breakdowns.items())
    readings = readings or "There is no measured way to hold against one process, and so nothing to account for."
    return View(
        name="where_the_time_went",
        frame=frame,
        draw=figures.stacks,
        alt=f"Wall time of each way of using several processes, cut into measured parts. {readings}",
        reading=readings,
        size_inches=(7.4, 2.2 + 0.6 * len(said.breakdowns)),
    )


def _account(name: str, breakdown: Breakdown) -> str:
    shares = lost_speedup_shares(breakdown)
    lost_s = sum(part.seconds for part in breakdown.parts if part.name != USEFUL) + breakdown.unexplained_s
    if not shares or lost_s <= 0:
        return f"{_capital(name)} took {seconds(breakdown.whole_s)} and lost nothing against an equal split."
    largest = sorted(((value, part) for part, value in shares.items() if value >= 0.05), reverse=True)
    said = joined(f"{part} {seconds(value * lost_s)} ({share(value)})" for value, part in largest)
    return (
        f"{_capital(name)} took {seconds(breakdown.whole_s)}, {seconds(lost_s)} more than an equal split of one "
        f"process's work: {said}. Unexplained: {share(breakdown.unexplained_share)} of the whole."
    )


VIEWS = (executor_times, where_the_time_went)


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
                "of the ceiling": share(reached) if (reached := said.share_of_ceiling(name)) is not None else "–",
                "verdict": str(r.verdict) if r else "baseline",
                "start-up": seconds(sum(said.cells[name].startup_s.values())) if said.cells[name].startup_s else "–",
                "verified": checked.word if (checked := said.cells[name].verification) else "–",
                "outcome": str(summary.outcome),
            }
        )
    reference = {"way": "reference laptop, 4 processes", "median": f"{REFERENCE['multi_s']} s",
                 "speedup": f"{REFERENCE['speedup']}×", "efficiency": share(REFERENCE["efficiency"]),
                 "verified": "PASSED", "95 % interval": "not published", "verdict": "published", "start-up": "–",
                 "outcome": "–", "of the ceiling": "–"}  # fmt: skip
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
        reading=f"{efficiency}{limit}. Start-up is apart from the time: it is paid once, before the first call. "
        "The reference is a published result of another machine: its figures are not comparable in seconds.",
    )


def verification(said: MultiprocessStudy) -> Figure:
    """PASSED or FAILED, and where outputs differ."""
    return Figure(value=said.verification.word, verdict=said.verification.detail)


def _spread(value: Ratio) -> str:
    if value.low is None or value.high is None:
        return "no interval yet"
    unsure = ", unstable" if value.verdict is Verdict.UNSTABLE else ""
    return f"{times(value.low)} to {times(value.high)}{unsure}"


def _spread_s(low: float | None, high: float | None) -> str:
    return "withheld" if low is None or high is None else f"{seconds(low)} to {seconds(high)}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
