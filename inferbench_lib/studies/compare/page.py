"""Show on the page of `compare` what changed from one run to another, how sure that is, and what is not compared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pandas as pd

from inferbench_lib.findings import Verdict
from inferbench_lib.report.display import Answer, Card, Table
from inferbench_lib.report.words import interval_of, joined, plural, ratio, share, size, times, valued
from inferbench_lib.stats.verdict import PROCESS_SCATTER, between_runs
from inferbench_lib.studies.compare.changes import SAME, Change
from inferbench_lib.studies.compare.figures import ratios
from inferbench_lib.studies.compare.study import CompareStudy, RunComparison

MOST_NAMED = 3
IMPORTANCE = (
    Verdict.FASTER,
    Verdict.SLOWER,
    Verdict.UNSTABLE,
    Verdict.INVALID,
    Verdict.TOO_FEW,
    Verdict.INDISTINGUISHABLE,
)


def answer(said: CompareStudy) -> Answer:
    """Return what changed, by how much, and how sure that is."""
    if not said.pairs:
        return Answer(verdict="Nothing to compare: it takes two stored runs of one profile, or the names of two runs.")
    heads = [(f"{pair.head}: " if len(said.pairs) > 1 else "", pair) for pair in said.pairs]
    return Answer(
        verdict=" ".join(f"{head}{_sentence(pair)}" for head, pair in heads),
        cards=tuple(_cards(said.pairs[0])),
        flags=tuple(f"{head}{flag}" for head, pair in heads for flag in _flags(pair)),
    )


def _sentence(pair: RunComparison) -> str:
    judged = [change for change in pair.changes if change.ratio.is_judged]
    if not judged:
        whys = joined(f"{one.notebook}: {one.refused}" for one in pair.notebooks if one.refused)
        return f"Nothing could be compared{f' ({whys})' if whys else ''}."
    found = sorted((one for one in judged if one.ratio.is_difference), key=_distance, reverse=True)
    counted = plural(len(judged), "cell or figure", "cells and figures")
    where = "" if pair.same_machine else " on another machine"
    withheld = sum(one.ratio.verdict is Verdict.UNSTABLE for one in judged)
    unsure = f" {plural(withheld, 'difference')} withheld: a run was disturbed." if withheld else ""
    unjudged = len(pair.changes) - len(judged)
    unsure += f" {unjudged} more {'has' if unjudged == 1 else 'have'} no verdict." if unjudged else ""
    if not found:
        limit = f"{100 * between_runs('s').scatter:.1f} %"
        spread = f" Only differences above {limit}, the assumed spread between processes, are reported."
        is_replicated = all(one.rule.is_replicated for one in pair.notebooks if one.changes)
        return f"No significant difference{where} in {counted}.{unsure}{'' if is_replicated else spread}"
    most = next((one for one in found if one.is_cell), found[0])
    which = f", {'the cell that changed most' if most.is_cell else 'the most'}" if len(found) > 1 else ""
    return f"{len(found)} of {counted} changed{where}{which}: {most.label} {most.verdict}, {ratio(most.ratio)}.{unsure}"


def _cards(pair: RunComparison) -> Iterator[Card]:
    if judged := [change for change in pair.changes if change.ratio.is_judged]:
        same = sum(change.ratio.verdict is Verdict.INDISTINGUISHABLE for change in judged)
        changed = sum(change.ratio.is_difference for change in judged)
        yield Card(value=f"{same} of {len(judged)}", label=f"with {SAME}", interval=f"changed: {changed}")
    if measured := [change for change in judged if change.ratio.low is not None]:
        most = max(measured, key=lambda change: (change.ratio.is_difference, _distance(change)))
        what = "the largest change" if most.ratio.is_difference else "the largest ratio, not significant"
        yield Card(value=times(most.ratio.value), label=f"{what}: {most.label}", interval=interval_of(most.ratio))
    if speed := pair.control:
        label = "speed of the fixed control work, HEAD over BASE"
        yield Card(value=times(speed.value), label=label, interval=interval_of(speed))


def _flags(pair: RunComparison) -> Iterator[str]:
    for one in pair.notebooks:
        if one.refused:
            yield f"{one.notebook} is not compared: {one.refused}."
    if not pair.same_machine:
        yield "The runs are of different machines: this page compares machines, not versions of a program."
        return
    widest = max((one.rule.tolerance("s") for one in pair.notebooks), key=lambda one: one.high / one.low)
    if widest.high / widest.low > 1.001 * (1 + widest.min_effect) ** 2:
        yield (
            "The machine's own speed changed between the runs: ratios of times from "
            f"{times(widest.low)} to {times(widest.high)} count as no difference here."
        )


def differences(said: CompareStudy) -> Table:
    """List in what the runs differ, before anything was timed."""
    frame = _frame(said, ["kind", "what", "BASE", "HEAD"], _settings)
    base = said.run.params["base"]
    alike = joined(pair.head for pair in said.pairs if pair.same_machine)
    other = joined(pair.head for pair in said.pairs if not pair.same_machine)
    told = [f"Same CPU, cores, memory and accelerator as {base}: {alike}."] if alike else []
    told += [f"Another machine than that of {base}: {other}."] if other else []
    told += [f"{plural(len(frame), 'difference')} in all." if said.pairs else "There are no two runs."]
    return Table(frame=frame, reading=" ".join(told))


def _settings(pair: RunComparison) -> Iterator[tuple[str, ...]]:
    for kind, name, base, head in pair.differences:
        yield kind, name, _setting(name, base), _setting(name, head)


def machine_speed(said: CompareStudy) -> Table:
    """Return the speed of the fixed control work in each notebook."""
    columns = ["notebook", "control speed, HEAD over BASE", "95 % interval", "no difference in times"]
    return Table(frame=_frame(said, columns, _speeds), reading=" ".join(_meaning(pair) for pair in said.pairs))


def _speeds(pair: RunComparison) -> Iterator[tuple[str, ...]]:
    for one in pair.notebooks:
        if (speed := one.rule.control) is not None:
            band = one.rule.tolerance("s")
            yield one.notebook, times(speed.value), interval_of(speed), f"{band.low:.3f}× to {band.high:.3f}×"


def _meaning(pair: RunComparison) -> str:
    far = pair.control
    if far is None:
        return f"{pair.head}: no control workload ran in both runs."
    measured = f"{pair.head}: the fixed work ran at {times(far.value)} ({interval_of(far)}) the speed"
    if not pair.same_machine:
        return f"{measured}, one CPU against one CPU of another machine. Verdicts make no allowance for it."
    tolerance = between_runs("s")
    if tolerance.low <= (far.low or far.value) <= (far.high or far.value) <= tolerance.high:
        return f"{measured}, within the {share(tolerance.min_effect)} that counts as no difference."
    return (
        f"{measured}. The machine may not have been equally fast in both runs: a time or rate is called changed only "
        "where its whole interval lies beyond that too. Ratios within a run, such as speedups, need no allowance."
    )


def changes(said: CompareStudy) -> Table:
    """List every cell and figure that both runs have, what changed first; several heads beside each other."""
    is_several = len(said.pairs) > 1
    rows: dict[tuple[str, str], dict[str, str]] = {}
    order: dict[tuple[str, str], tuple[int, float]] = {}
    for pair in said.pairs:
        for notebook, change in ((one.notebook, change) for one in pair.notebooks for change in one.changes):
            key = (notebook, change.name)
            order[key] = min(order.get(key, (len(IMPORTANCE), 0.0)), _importance(change))
            row = rows.setdefault(key, {"what": change.label, "notebook": notebook})
            row["BASE"] = valued(change.base, change.unit)
            value = "–" if math.isnan(change.ratio.value) else times(change.ratio.value)
            spread = "–" if change.ratio.low is None else interval_of(change.ratio)
            if is_several:
                row[pair.head] = f"{value}{f' ({spread})' if spread != '–' else ''}: {change.verdict}"
            else:
                head = valued(change.head, change.unit)
                row |= {"ratio": value, "interval": spread, "verdict": change.verdict, "HEAD": head}
    heads = list(dict.fromkeys(pair.head for pair in said.pairs))
    columns = ["BASE", *heads] if is_several else ["ratio", "interval", "verdict", "BASE", "HEAD"]
    shown = [rows[key] for key in sorted(rows, key=lambda key: order[key])]
    counts = Counter(change.verdict for pair in said.pairs for change in pair.changes)
    told = joined(f"{count} {verdict}" for verdict, count in counts.most_common())
    return Table(
        frame=pd.DataFrame(shown, columns=["what", *columns, "notebook"]).fillna("–"),
        reading=f"In all: {told}. The interval is the one that decides." if told else "Nothing was compared.",
    )


def _importance(change: Change) -> tuple[int, float]:
    """Return a key that puts the largest change first, and then what has no verdict."""
    value = change.ratio.value
    return max(1, IMPORTANCE.index(change.ratio.verdict)), 0.0 if math.isnan(value) else -_distance(change)


def not_compared(said: CompareStudy) -> Table:
    """Count what is not compared or has no verdict, by the reason, with some names."""
    frame = _frame(said, ["notebook", "why", "how many", "such as"], _left_out)
    return Table(frame=frame, reading="Nothing had to be left out." if frame.empty else "")


def _left_out(pair: RunComparison) -> Iterator[tuple[str, str, int, str]]:
    for one in pair.notebooks:
        by_reason: dict[str, list[str]] = {one.refused: ["all of it"]} if one.refused else {}
        for change in one.changes:
            if change.ratio.verdict in (Verdict.INVALID, Verdict.TOO_FEW, Verdict.UNSTABLE):
                by_reason.setdefault(f"{change.verdict}: {change.ratio.reason}", []).append(change.label)
        by_reason |= {"only in BASE": [*one.only_base], "only in HEAD": [*one.only_head]}
        for why, names in by_reason.items():
            if names:
                more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
                yield one.notebook, why, len(names), f"{', '.join(names[:MOST_NAMED])}{more}"


def method(said: CompareStudy) -> str:
    """Return how the verdicts came about, in one paragraph that is true of these runs."""
    levels = [one.rule.level for pair in said.pairs for one in pair.notebooks if one.changes]
    shared = f" (here at up to {100 * max(levels):.2f} %)" if levels else ""
    of_times, of_ratios = between_runs("s"), between_runs("×")
    return (
        "Two runs share no rounds, so their round medians are two independent samples. A cell's ratio is the median of "
        "all ratios of a round of one run to a round of the other, with the exact interval of the Mann–Whitney test "
        "(Hodges & Lehmann 1963). Other figures are compared by the intervals that the runs give them (Zou & Donner "
        "2008). The comparisons of a notebook share the 5 % chance of an error (Bonferroni), so the intervals are "
        f"wider than those of 95 %{shared}. The whole interval must lie more than {share(of_times.min_effect)} from 1, "
        "and for times and rates on one machine beyond the control workload's own change. Processes of one "
        "program differ: where both runs measured a cell in several processes, its interval includes that. Elsewhere "
        f"their standard deviation is assumed to be {share(PROCESS_SCATTER)}, so the ratio itself must be more than "
        f"{100 * of_times.scatter:.1f} % from 1, or {100 * of_ratios.scatter:.1f} % for speedups and shares, which "
        "rest on two processes in each run. A difference is withheld as unstable where a run was disturbed or drifted."
    )


def _frame(said: CompareStudy, columns: list[str], rows: Callable[[RunComparison], Iterable[Any]]) -> pd.DataFrame:
    """Tabulate the rows of every pair, each after its HEAD where there are several."""
    frame = pd.DataFrame([(pair.head, *row) for pair in said.pairs for row in rows(pair)], columns=["run", *columns])
    return frame if len(said.pairs) > 1 else frame.drop(columns="run")


def _distance(change: Change) -> float:
    return abs(math.log(change.ratio.value))


def _setting(name: str, value: Any) -> str:
    if value in (None, "", [], ()):
        return "–"
    if name.endswith("_bytes"):
        return size(value)
    text = joined(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text[:12] if name == "git_revision" else text


VIEWS = (ratios,)
