"""Compare one stored run, BASE, with each of the others, HEAD: first in what they differ before anything was timed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from inferbench_lib.findings import Interval
from inferbench_lib.records import Figure, Machine, Run, from_plain
from inferbench_lib.stats.entries import entry
from inferbench_lib.stats.processes import SCATTER
from inferbench_lib.stats.verdict import control_ratio, shared_level
from inferbench_lib.studies.compare.changes import LIMITS, Change, Rule, compare_all, missing, n_questions

HARDWARE = (
    "cpu_model",
    "architecture",
    "physical_cores",
    "logical_cores",
    "usable_cpus",
    "memory_bytes",
    "memory_limit_bytes",
    "virtualisation",
    "accelerators",
)
"""Two machines alike in these are taken for one; a machine's name is never stored."""
SYSTEM = ("operating_system", "governor", "frequency_hz", "python", "git_revision", "git_dirty")
SAME_WORK = LIMITS | {
    *("reuse", "min_rounds", "max_rounds", "target_width", "time_limit_s", "budget_s", "warmup", "profile_rounds"),
    "rounds_per_process",
    *("iterations", "iterations_medium", "iterations_large", "device", "measure_memory"),
}
"""Parameters that set how long or what else is measured, as every list does: each cell is compared with its like."""
Difference = tuple[str, str, Any, Any]
"""Setting in which two runs differ: machine, software or parameters; its name; BASE and HEAD, None where missing."""


@dataclass(frozen=True, kw_only=True)
class NotebookComparison:
    """Notebook of two runs: the reason why it is `refused`, or its changes by one rule, and what only one run has."""

    notebook: str
    rule: Rule
    refused: str = ""
    changes: tuple[Change, ...] = ()
    only_base: tuple[str, ...] = ()
    only_head: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """HEAD compared with BASE; on the `same_machine` where both are alike in all that decides what they can do."""

    head: str
    differences: tuple[Difference, ...]
    same_machine: bool
    notebooks: tuple[NotebookComparison, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """Return all cells and figures, of all notebooks."""
        return tuple(change for one in self.notebooks for change in one.changes)

    @property
    def control(self) -> Interval | None:
        """Return the control ratio of the notebooks that is farthest from 1, None without any."""
        known = [one.rule.control for one in self.notebooks if one.rule.control is not None]
        return max(known, key=lambda one: abs(math.log(one.value)), default=None)


@dataclass(frozen=True, kw_only=True)
class CompareStudy:
    """BASE compared with each head."""

    run: Run
    pairs: tuple[RunComparison, ...]


def study(run: Run) -> CompareStudy:
    """Compare the runs that a `compare` record holds with its first."""
    runs = [
        (str(of["name"]), {name: from_plain(values) for name, values in of["notebooks"].items()})
        for of in run.tables["runs"]
    ]
    return CompareStudy(run=run, pairs=tuple(compare_runs(runs[0][1], head, name) for name, head in runs[1:]))


def figures(said: CompareStudy) -> dict[str, Figure]:
    """Return the entries of `summary.json`: the ratio HEAD over BASE of whatever could be judged."""
    return {
        f"{notebook.notebook}/{change.name}{f' [{pair.head}]' if len(said.pairs) > 1 else ''}": entry(
            change.ratio, "×", change.verdict
        )
        for pair in said.pairs
        for notebook in pair.notebooks
        for change in notebook.changes
        if change.ratio.is_judged
    }


def compare_runs(base: Mapping[str, Run], head: Mapping[str, Run], head_name: str) -> RunComparison:
    """Compare two runs, notebook by notebook."""
    found = _differences(base, head)
    rule = Rule(same_machine=all(kind != "machine" for kind, *_ in found))
    names = dict.fromkeys([*base, *head])
    notebooks = tuple(_compare_notebook(name, base.get(name), head.get(name), rule) for name in names)
    return RunComparison(head=head_name, differences=found, same_machine=rule.same_machine, notebooks=notebooks)


def _compare_notebook(name: str, base: Run | None, head: Run | None, rule: Rule) -> NotebookComparison:
    if base is None or head is None:
        refused = f"{'BASE' if base is None else 'HEAD'} does not hold it"
        return NotebookComparison(notebook=name, rule=rule, refused=refused)
    if why := _refusal(base, head):
        return NotebookComparison(notebook=name, rule=rule, refused=why)
    is_replicated = all(SCATTER in run.summary for run in (base, head))
    rule = replace(rule, control=control_ratio(base, head), is_replicated=is_replicated)
    rule = replace(rule, level=shared_level(n_questions(compare_all(base, head, rule))))
    return NotebookComparison(
        notebook=name,
        rule=rule,
        changes=compare_all(base, head, rule),
        only_base=missing(base, head),
        only_head=missing(head, base),
    )


def _differences(base: Mapping[str, Run], head: Mapping[str, Run]) -> tuple[Difference, ...]:
    """List in what two runs differ, machine first, then software, then the parameters of each notebook."""
    first, second = (next(iter(runs.values())).machine for runs in (base, head))
    compared: list[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]] = [
        ("machine", "", _facts(first, HARDWARE), _facts(second, HARDWARE)),
        ("software", "", _software(first), _software(second)),
        *(("parameters", f"{name}: ", base[name].params, head[name].params) for name in base if name in head),
    ]
    return tuple(
        (kind, f"{prefix}{name}", before.get(name), after.get(name))
        for kind, prefix, before, after in compared
        for name in dict.fromkeys([*before, *after])
        if name != "reuse" and before.get(name) != after.get(name)
    )


def _facts(machine: Machine, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(machine, name) for name in names}


def _software(machine: Machine) -> dict[str, Any]:
    threadpools = sorted(machine.threadpools)  # the order in which they were loaded says nothing
    return {**_facts(machine, SYSTEM), "threadpools": threadpools, **machine.versions, **machine.environment}


def _refusal(base: Run, head: Run) -> str:
    """Return why two runs of one notebook must not be compared; empty when they may.

    A parameter that one of them does not know came with a later version: it is a difference, no reason to refuse.
    """
    if base.schema_version != head.schema_version:
        return f"schema version {base.schema_version} in BASE, {head.schema_version} in HEAD"
    if base.simulated != head.simulated:
        simulated, real = ("BASE", "HEAD") if base.simulated else ("HEAD", "BASE")
        return f"{simulated} is of a simulated device, {real} of a real one"
    work = [
        f"{name}: {value} in BASE, {head.params[name]} in HEAD"
        for name, value in base.params.items()
        if name not in SAME_WORK and not isinstance(value, list | tuple | dict)
        if name in head.params and value != head.params[name]
    ]
    return f"other work: {'; '.join(work)}" if work else ""
