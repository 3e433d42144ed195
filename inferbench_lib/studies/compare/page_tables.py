"""The tables of `compare`, and how its verdicts come about in words."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from inferbench_lib.records import Verdict
from inferbench_lib.report.display import Table
from inferbench_lib.report.words import digits, interval, joined, plural, seconds, share, size, times
from inferbench_lib.stats.unpaired import MIN_EFFECT
from inferbench_lib.studies.compare.changes import PROCESS_SCATTER, Change, PairStudy, may_differ
from inferbench_lib.studies.compare.page import label
from inferbench_lib.studies.compare.study import CompareStudy, verdict


def differences(said: CompareStudy) -> Table:
    """In what do the runs differ, before anything was timed?"""
    columns = ["kind", "what", "BASE", "HEAD"]
    rows = [
        {"kind": one.kind, "what": one.name, "BASE": _told(one.name, one.base), "HEAD": _told(one.name, one.head)}
        | _of(said, pair)
        for pair in said.pairs
        for one in pair.differences
    ]
    alike = joined(pair.head for pair in said.pairs if pair.same_machine)
    other = joined(pair.head for pair in said.pairs if not pair.same_machine)
    told = (
        [f"By processor, cores, memory and accelerator of one machine with {said.names[0]}: {alike}."] if alike else []
    )
    told += [f"Of another machine than {said.names[0]}: {other}."] if other else []
    told += [f"{plural(len(rows), 'difference')} in all."] if said.pairs else ["There are no two runs."]
    reading = " ".join(told)
    return Table(frame=_frame(rows, columns, said), reading=reading)


def changes(said: CompareStudy) -> Table:
    """Every cell and every figure that both runs have, whatever can be said of it; several heads beside each other."""
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
        reading="The ratio is HEAD over BASE: of speeds where the unit is seconds, else of the values; above 1× is "
        "faster, or higher.",
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
    """What is not compared, or has no verdict, and why."""
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
    """Did the machine itself run at the same speed?"""
    columns = ["notebook", "control speed, HEAD over BASE", "95 % interval", "times: no difference between"]
    rows = [
        {
            "notebook": one.notebook,
            columns[1]: times(one.control.value),
            columns[2]: interval(one.control.low, one.control.high, times),
            columns[3]: f"{one.zone[0]:.3f}× and {one.zone[1]:.3f}×",
        }
        | _of(said, pair)
        for pair in said.pairs
        for one in pair.notebooks
        if one.control is not None
    ]
    return Table(frame=_frame(rows, columns, said), reading=" ".join(_meaning(pair) for pair in said.pairs))


def _meaning(pair: PairStudy) -> str:
    known = [one.control for one in pair.notebooks if one.control is not None]
    if not known:
        return f"{pair.head}: neither run took a control workload that could be compared."
    far = max(known, key=lambda one: abs(math.log(one.value)))
    measured = f"the same fixed work ran at {times(far.value)} ({interval(far.low, far.high, times)}) the speed"
    if not pair.same_machine:
        return (
            f"{pair.head}: {measured}, one CPU against one CPU of another machine; it is shown for scale, and no "
            "verdict makes allowance for it."
        )
    low, high = far.low or far.value, far.high or far.value
    if 1 / (1 + MIN_EFFECT) <= low <= high <= 1 + MIN_EFFECT:
        return (
            f"{pair.head}: at most {measured}, within the {share(MIN_EFFECT)} that counts as no difference: what "
            "changed did not change because the machine's own speed did."
        )
    return (
        f"{pair.head}: {measured}. The machine was not equally fast in both runs, as far as can be told; a time or a "
        "rate is called changed only where its whole interval lies beyond that too. Ratios within a run, as speedups, "
        "need no such allowance."
    )


def method(said: CompareStudy) -> str:
    """How the verdicts came about, in one paragraph that is true of these runs."""
    levels = [one.level for pair in said.pairs for one in pair.notebooks if one.changes]
    shared = f" Here that is up to {100 * max(levels):.2f} %." if levels else ""
    return (
        "Each round's median is one value; rounds of two runs have nothing in common, so they are two independent "
        "samples. The ratio of a cell is the median of all ratios of a round of the one to a round of the other, its "
        "interval the exact one of the Mann–Whitney test (Hodges & Lehmann 1963). Figures that are no cell's own time "
        "or rate, as speedups, are compared by the intervals that the runs give them, combined by the method of "
        "variance estimates recovery (Zou & Donner 2008). The comparisons of a notebook share the 5 % chance of an "
        "error (Bonferroni), as "
        f"far as the rounds can carry that: the 95 % interval is shown, the wider one decides.{shared} A difference is "
        f"claimed only where that whole interval lies more than {share(MIN_EFFECT)} from 1 and, for times and rates on "
        "one machine, beyond the control workload's own change. Besides, the ratio itself must be more than "
        f"{100 * may_differ('s'):.1f} % from 1, or {100 * may_differ('×'):.1f} % for speedups and shares, which rest "
        "on two processes in each run: processes of one program differ among themselves, which no number of rounds "
        "within them shows, and 19 times of 20 by less than that where their standard deviation is "
        f"{share(PROCESS_SCATTER)} or less. A difference is withheld as unstable where one of the two was disturbed or "
        "drifted."
    )


def _of(said: CompareStudy, pair: PairStudy) -> dict[str, str]:
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
