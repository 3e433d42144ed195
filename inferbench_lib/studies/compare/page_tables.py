"""Build the tables of `compare`, and say how its verdicts come about."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from inferbench_lib.findings import Verdict
from inferbench_lib.report.display import Table
from inferbench_lib.report.words import digits, interval, joined, plural, seconds, share, size, times
from inferbench_lib.stats.verdict import PROCESS_SCATTER, between_runs
from inferbench_lib.studies.compare.page import control, label
from inferbench_lib.studies.compare.pairing import Change
from inferbench_lib.studies.compare.study import CompareStudy, RunComparison, verdict


def differences(said: CompareStudy) -> Table:
    """List in what the runs differ, before anything was timed."""
    columns = ["kind", "what", "BASE", "HEAD"]
    rows = [
        {"kind": one.kind, "what": one.name, "BASE": _told(one.name, one.base), "HEAD": _told(one.name, one.head)}
        | _of(said, pair)
        for pair in said.pairs
        for one in pair.differences
    ]
    alike = joined(pair.head for pair in said.pairs if pair.same_machine)
    other = joined(pair.head for pair in said.pairs if not pair.same_machine)
    told = [f"Same CPU, cores, memory and accelerator as {said.names[0]}: {alike}."] if alike else []
    told += [f"Another machine than that of {said.names[0]}: {other}."] if other else []
    told += [f"{plural(len(rows), 'difference')} in all." if said.pairs else "There are no two runs."]
    return Table(frame=_frame(rows, columns, said), reading=" ".join(told))


def changes(said: CompareStudy) -> Table:
    """List every cell and figure that both runs have, with its verdict; several heads beside each other."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for pair in said.pairs:
        for one in pair.notebooks:
            for change in one.changes:
                row = rows.setdefault((one.notebook, change.name), {"what": label(change)})
                row |= _one_head(change) if len(said.pairs) == 1 else _of_several(pair.head, change)
                row["notebook"] = one.notebook
    if len(said.pairs) <= 1:
        columns = ["what", "ratio", "95 % interval", "verdict", "BASE", "HEAD", "notebook"]
    else:
        columns = ["what", "BASE", *dict.fromkeys(pair.head for pair in said.pairs), "notebook"]
    return Table(
        frame=pd.DataFrame(rows.values(), columns=columns).fillna("–"),
        reading="The ratio is HEAD over BASE: of speeds where the unit is seconds, else of values. Above 1× is faster, "
        "or higher.",
    )


def _one_head(change: Change) -> dict[str, str]:
    return {
        "BASE": _value(change.base, change.unit),
        "HEAD": _value(change.head, change.unit),
        "ratio": _ratio(change),
        "95 % interval": _spread(change),
        "verdict": verdict(change),
    }


def _of_several(head: str, change: Change) -> dict[str, str]:
    spread = "" if change.ratio.low is None else f" ({_spread(change)})"
    return {"BASE": _value(change.base, change.unit), head: f"{_ratio(change)}{spread}: {verdict(change)}"}


def _ratio(change: Change) -> str:
    return "–" if math.isnan(change.ratio.value) else times(change.ratio.value)


def _spread(change: Change) -> str:
    return "–" if change.ratio.low is None else interval(change.ratio.low, change.ratio.high, times)


def not_compared(said: CompareStudy) -> Table:
    """List what is not compared or has no verdict, and why."""
    columns = ["notebook", "why", "what"]
    rows: list[dict[str, Any]] = []
    for pair in said.pairs:
        for one in pair.notebooks:
            by_reason: dict[str, list[str]] = {one.refused: ["all of it"]} if one.refused else {}
            for change in one.changes:
                if change.ratio.verdict in (Verdict.INVALID, Verdict.TOO_FEW, Verdict.UNSTABLE):
                    by_reason.setdefault(f"{verdict(change)}: {change.ratio.reason}", []).append(label(change))
            by_reason |= {"only in BASE": [*one.only_base]} if one.only_base else {}
            by_reason |= {"only in HEAD": [*one.only_head]} if one.only_head else {}
            rows += [
                {"notebook": one.notebook, "why": why, "what": joined(names)} | _of(said, pair)
                for why, names in by_reason.items()
            ]
    reading = "" if rows else "Nothing had to be left out."
    return Table(frame=_frame(rows, columns, said), reading=reading)


def machine_speed(said: CompareStudy) -> Table:
    """Return the speed of the fixed control work in each notebook."""
    columns = ["notebook", "control speed, HEAD over BASE", "95 % interval", "no difference in times"]
    rows = [
        {
            "notebook": one.notebook,
            columns[1]: times(one.control.value),
            columns[2]: interval(one.control.low, one.control.high, times),
            columns[3]: f"{one.tolerance.low:.3f}× to {one.tolerance.high:.3f}×",
        }
        | _of(said, pair)
        for pair in said.pairs
        for one in pair.notebooks
        if one.control is not None
    ]
    return Table(frame=_frame(rows, columns, said), reading=" ".join(_meaning(pair) for pair in said.pairs))


def _meaning(pair: RunComparison) -> str:
    far = control(pair)
    if far is None:
        return f"{pair.head}: no control workload ran in both runs."
    measured = f"{pair.head}: the fixed work ran at {times(far.value)} ({interval(far.low, far.high, times)}) the speed"
    if not pair.same_machine:
        return f"{measured}, one CPU against one CPU of another machine. Verdicts make no allowance for it."
    tolerance = between_runs("s")
    if tolerance.low <= (far.low or far.value) <= (far.high or far.value) <= tolerance.high:
        return f"{measured}, within the {share(tolerance.min_effect)} that counts as no difference."
    return (
        f"{measured}. The machine may not have been equally fast in both runs: a time or rate is called changed only "
        "where its whole interval lies beyond that too. Ratios within a run, such as speedups, need no allowance."
    )


def method(said: CompareStudy) -> str:
    """Return how the verdicts came about, in one paragraph that is true of these runs."""
    levels = [one.level for pair in said.pairs for one in pair.notebooks if one.changes]
    shared = f" (here at up to {100 * max(levels):.2f} %)" if levels else ""
    times_, ratios = between_runs("s"), between_runs("×")
    return (
        "Each round's median is one value. Two runs share no rounds, so their rounds are two independent samples. A "
        "cell's ratio is the median of all ratios of a round of one run to a round of the other. Its interval is the "
        "exact one of the Mann–Whitney test (Hodges & Lehmann 1963). Other figures, such as speedups, are compared by "
        "the intervals that the runs give them (method of variance estimates recovery, Zou & Donner 2008). The "
        "comparisons of a notebook share the 5 % chance of an error (Bonferroni), as far as the rounds carry that: the "
        f"table shows the 95 % interval, a wider one decides{shared}. That whole interval must lie more than "
        f"{share(times_.min_effect)} from 1. For times and rates on one machine it must also lie beyond the control "
        "workload's own change. The ratio itself must be more than "
        f"{100 * times_.scatter:.1f} % from 1, or {100 * ratios.scatter:.1f} % for speedups and shares, which rest on "
        "two processes in each run. Processes of one program differ by less than that 19 times of 20, if their "
        f"standard deviation is at most {share(PROCESS_SCATTER)}. A difference is withheld as unstable where one of "
        "the runs was disturbed or drifted."
    )


def _of(said: CompareStudy, pair: RunComparison) -> dict[str, str]:
    return {"run": pair.head} if len(said.pairs) > 1 else {}


def _frame(rows: list[dict[str, Any]], columns: list[str], said: CompareStudy) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=(["run"] if len(said.pairs) > 1 else []) + columns)


def _told(name: str, value: Any) -> str:
    if value is None or value == "" or value == [] or value == ():
        return "–"
    if name == "git_revision":
        return str(value)[:12]
    if name.endswith("_bytes"):
        return size(value)
    return joined(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _value(value: float | str | None, unit: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return (
        seconds(value) if unit == "s" else f"{value:,}" if isinstance(value, int) else f"{digits(value)} {unit}".strip()
    )
