"""Where each way of using several processes loses its time, warm and from a cold start."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from inferbench_lib.records import Breakdown
from inferbench_lib.report import figures
from inferbench_lib.report.display import View
from inferbench_lib.report.words import capital, compared, joined, seconds, share
from inferbench_lib.studies.cpu_multiprocess.breakdown import TEXTS, lost_speedup_shares
from inferbench_lib.studies.cpu_multiprocess.names import NAMES, is_known, lost
from inferbench_lib.studies.cpu_multiprocess.study import MultiprocessStudy


def where_the_time_went(said: MultiprocessStudy) -> View:
    """Where does the time go?"""
    kept_back = [
        f"{capital(NAMES[name])} let {number} of {said.n_processes} workers stand by, which counts as waiting for a "
        "CPU: the others keep all CPUs busy."
        for name, number in said.standing_by.items()
    ]
    elsewhere = [
        f"{capital(NAMES[name])} has no account: its workers ran on other machines, by clocks of their own."
        for name in said.unaccounted
    ]
    return _account_view(
        "where_the_time_went",
        {NAMES[name]: breakdown for name, breakdown in said.breakdowns.items()},
        "Wall time of each way of using several processes, cut into measured parts.",
        " ".join([*kept_back, *elsewhere]),
        "There is no measured way to hold against one process, and so nothing to account for.",
    )


def cold_start(said: MultiprocessStudy) -> View:
    """And one call from a cold start?"""
    ratios = [
        f"{compared(ratio, f'{NAMES[name]} from a cold start', NAMES['single'])}"
        for name, ratio in said.cold_ratios.items()
        if is_known(ratio)
    ]
    view = _account_view(
        "cold_start",
        {f"{NAMES[name]}, cold": breakdown for name, breakdown in said.cold_breakdowns.items()},
        "Wall time of one call from a cold start, pool start and end included, cut into measured parts.",
        "",
        "No way was measured from a cold start.",
    )
    return View(
        name=view.name,
        frame=view.frame,
        draw=view.draw,
        alt=view.alt,
        reading=" ".join([*(f"{capital(text)}." for text in ratios), view.reading]),
        size_inches=view.size_inches,
    )


def _account_view(name: str, breakdowns: Mapping[str, Breakdown], what: str, more: str, nothing: str) -> View:
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
        "parts": [*TEXTS, "unexplained"],
    }
    said = [*(account(label, breakdown) for label, breakdown in breakdowns.items()), *([more] if more else [])]
    reading = " ".join(said) or nothing
    return View(
        name=name,
        frame=frame,
        draw=figures.stacks,
        alt=f"{what} {reading}",
        reading=reading,
        size_inches=(7.4, 2.4 + 0.6 * len(breakdowns)),
    )


def account(name: str, breakdown: Breakdown) -> str:
    """One way's account in words; what is unexplained is always said."""
    shares, lost_s = lost_speedup_shares(breakdown), lost(breakdown)
    unexplained = f"Unexplained: {share(breakdown.unexplained_share)} of the whole."
    if not shares or lost_s <= 0:
        return (
            f"{capital(name)} took {seconds(breakdown.whole_s)} and lost nothing against an equal split. {unexplained}"
        )
    largest = sorted(((value, part) for part, value in shares.items() if value >= 0.05), reverse=True)
    said = joined(f"{part} {seconds(value * lost_s)} ({share(value)})" for value, part in largest)
    return (
        f"{capital(name)} took {seconds(breakdown.whole_s)}, {seconds(lost_s)} more than an equal split of one "
        f"process's work: {said}. {unexplained}"
    )
