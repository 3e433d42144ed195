"""In what two runs differ before anything was timed: machine, software, parameters; and what forbids comparing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inferbench_lib.records import Machine, Run

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
SYSTEM = ("operating_system", "governor", "frequency_hz", "python", "threadpools", "git_revision", "git_dirty")
EFFORT = frozenset(
    {"reuse", "min_rounds", "max_rounds", "target_width", "time_limit_s", "budget_s", "warmup", "profile_rounds"}
    | {"iterations", "iterations_medium", "iterations_large"}
)
"""Parameters that say how long is measured, not what."""
CHOICE = frozenset({"device", "measure_memory"})
"""Parameters that say what else is measured; so does every list. Each cell is compared with its like."""
LIMITS = frozenset({"max_latency_s", "max_memory_bytes"})
"""Parameters that only the best batch depends on."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing in which two runs differ. `kind` is machine, software or parameters; None where a run does not tell."""

    kind: str
    name: str
    base: Any
    head: Any


def is_same_machine(base: Machine, head: Machine) -> bool:
    """Whether two machines are alike in all that decides what they can do."""
    return all(getattr(base, name) == getattr(head, name) for name in HARDWARE)


def differences(base: Mapping[str, Run], head: Mapping[str, Run]) -> tuple[Difference, ...]:
    """In what two runs differ, machine first; parameters by notebook. Of either run's notebooks the machine is one."""
    both = [name for name in base if name in head]
    machines = [next(iter(runs.values())).machine for runs in (base, head) if runs]
    found = [*_machine(*machines)] if len(machines) == 2 else []
    for notebook in both:
        first, second = base[notebook].params, head[notebook].params
        for name in sorted(first.keys() | second.keys()):
            if name != "reuse" and first.get(name) != second.get(name):
                found.append(
                    Difference(
                        kind="parameters", name=f"{notebook}: {name}", base=first.get(name), head=second.get(name)
                    )
                )
    return tuple(found)


def _machine(base: Machine, head: Machine) -> Iterable[Difference]:
    for kind, names in (("machine", HARDWARE), ("software", SYSTEM)):
        for name in names:
            first, second = getattr(base, name), getattr(head, name)
            if name == "threadpools":  # which library was loaded first says nothing
                first, second = sorted(first), sorted(second)
            if first != second:
                yield Difference(kind=kind, name=name, base=first, head=second)
    for mappings in ((base.versions, head.versions), (base.environment, head.environment)):
        for name in sorted(mappings[0].keys() | mappings[1].keys()):
            if mappings[0].get(name) != mappings[1].get(name):
                yield Difference(kind="software", name=name, base=mappings[0].get(name), head=mappings[1].get(name))


def refusal(base: Run, head: Run) -> str:
    """Why two runs of one notebook must not be compared; empty when they may.

    A parameter that one of them does not know yet came with a later version: it is told as a difference, no more.
    """
    if base.schema_version != head.schema_version:
        return f"schema version {base.schema_version} in BASE, {head.schema_version} in HEAD"
    if base.simulated != head.simulated:
        simulated, real = ("BASE", "HEAD") if base.simulated else ("HEAD", "BASE")
        return f"{simulated} is of a simulated device, {real} of a real one"
    told = EFFORT | CHOICE | LIMITS
    work = [
        f"{name}: {base.params[name]} in BASE, {head.params[name]} in HEAD"
        for name in base.params
        if name in head.params
        and name not in told
        and base.params[name] != head.params[name]
        and not isinstance(base.params[name], list | tuple)
    ]
    return f"other work: {'; '.join(work)}" if work else ""
