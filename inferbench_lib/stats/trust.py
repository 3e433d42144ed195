"""Say how far a run can be trusted: quiet, noisy or unusable, from its intervals, its control workload and its flags.

A run is as quiet as its worst sign. Of several signs with the same level, the one that exceeds its limit most is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from statistics import median

import numpy as np

from inferbench_lib.findings import Cause, Summary, Trust, TrustLevel
from inferbench_lib.records import Flag, Measurement, Outcome, Run
from inferbench_lib.stats.comparison import unusable
from inferbench_lib.stats.processes import FLAG
from inferbench_lib.stats.statistics import summarize

WIDTH_LIMITS = {TrustLevel.NOISY: 0.15, TrustLevel.UNUSABLE: 0.30}
"""Half the width of a 95 % interval, over its value, that three of four cells must keep."""
CONTROL_LIMITS = {TrustLevel.NOISY: 0.20, TrustLevel.UNUSABLE: 1.0}
"""Change of the fixed control workload from its fastest round to its slowest."""
SHARE_LIMITS = {TrustLevel.NOISY: 1 / 3, TrustLevel.UNUSABLE: 2 / 3}
"""Share of the cells that gave no interval or were unstable."""
DISTURBED_SHARE = 1 / 3
"""A run is disturbed when other load, or anything else from outside, struck more than this share of its cells."""
CONTROL = "drift"
"""The flag of the control workload, which is judged by its own seconds."""
OWN_DOING = frozenset({"oversubscribed", FLAG})
"""Flags about the program itself, not about what disturbed it."""
ORDER = list(TrustLevel)


def trust(run: Run) -> Trust:
    """Return how far the figures of a run can be trusted, and the sign that decides it."""
    return worst(_signs(run))


def nothing_measured(run: Run) -> str:
    """Return why no cell of a run has a result; empty where one has, or where the run has no cells."""
    summaries = [summarize(cell) for cell in run.measurements]
    if not summaries or any(summary.is_measured for summary in summaries):
        return ""
    return next((f"{of.outcome}: {of.reason}" for of in summaries if of.reason), "no cell has samples")


def worst(found: Iterable[Trust]) -> Trust:
    """Return the least trustworthy of some runs, or the worst sign of one."""
    return max(found, key=lambda one: (ORDER.index(one.level), one.value / one.limit))


def _signs(run: Run) -> Iterator[Trust]:
    cells = [(cell, summarize(cell)) for cell in run.measurements]
    timed = [(cell, summary) for cell, summary in cells if summary.is_measured]
    if not timed:
        yield Trust(level=TrustLevel.UNUSABLE, cause=Cause.NOTHING, value=1.0, limit=1.0)
        return
    widths = [width for _, summary in timed if (width := _half_width(summary)) is not None]
    if widths:
        yield _sign(Cause.INTERVALS, float(np.quantile(widths, 0.75, method="inverted_cdf")), WIDTH_LIMITS)
    yield _sign(Cause.NO_INTERVAL, 1 - len(widths) / len(timed), SHARE_LIMITS)
    n_unstable = sum(summary.outcome is Outcome.UNSTABLE for _, summary in timed)
    yield _sign(Cause.UNSTABLE, n_unstable / len(timed), SHARE_LIMITS)
    yield _control(run)
    for flag, n_cells in _disturbances(cell for cell, _ in timed):
        level = TrustLevel.NOISY if n_cells > DISTURBED_SHARE * len(timed) else TrustLevel.QUIET
        share = n_cells / len(timed)
        yield Trust(level=level, cause=Cause.DISTURBED, value=share, limit=DISTURBED_SHARE, flag=flag)


def _sign(cause: Cause, value: float, limits: dict[TrustLevel, float]) -> Trust:
    level = max((of for of, limit in limits.items() if value > limit), key=ORDER.index, default=TrustLevel.QUIET)
    return Trust(level=level, cause=cause, value=value, limit=limits.get(level, limits[TrustLevel.NOISY]))


def _half_width(summary: Summary) -> float | None:
    """Return how far the further end of the median's interval lies from it, as a share; None without an interval."""
    of = summary.median_s
    return None if of.low is None or of.high is None else max(of.value - of.low, of.high - of.value) / of.value


def _control(run: Run) -> Trust:
    """Return the sign of the control workload: its change, or that it did not run in every round."""
    rounds = [values for of in run.tables.get("schedules", {}).values() for values in of["control_s"]]
    if not rounds or not all(rounds):
        return Trust(level=TrustLevel.NOISY, cause=Cause.UNWATCHED, value=1.0, limit=1.0)
    medians = [median(values) for values in rounds]
    return _sign(Cause.CONTROL, max(medians) / min(medians) - 1, CONTROL_LIMITS)


def _disturbances(cells: Iterable[Measurement]) -> list[tuple[Flag, int]]:
    """Return each kind of disturbance from outside with the number of cells that it struck."""
    flags = [{flag.name: flag for flag in cell.flags} for cell in cells]
    counts = Counter(name for of in flags for name in of if name not in OWN_DOING | {CONTROL})
    return [(next(of[name] for of in flags if name in of), n) for name, n in counts.items()]


def disturbance(cell: Measurement) -> str:
    """Return what struck a cell from outside, or that it drifted; empty when nothing was seen."""
    for flag in cell.flags:
        if flag.name not in OWN_DOING:
            return f"was disturbed: {flag.text}"
    summary = summarize(cell)
    return f"was unstable: {summary.reason}" if summary.outcome is Outcome.UNSTABLE else ""


def mostly_disturbed(run: Run) -> str:
    """Return what disturbed more than `DISTURBED_SHARE` of a run's cells; empty when nothing did."""
    usable = [cell for cell in run.measurements if not unusable(cell)]
    struck = [why for cell in usable if (why := disturbance(cell))]
    if len(struck) <= DISTURBED_SHARE * len(usable):
        return ""
    return f"was disturbed in {len(struck)} of {len(usable)} cells; one of them {struck[0]}"
