"""List in what two runs differ before anything was timed, machine, software and parameters, and what forbids comparing.

Nothing of this is a measurement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
"""Parameters that set how long is measured, not what."""
CHOICE = frozenset({"device", "measure_memory"})
"""Parameters that choose what else is measured, as every list does. Each cell is compared with its like."""
LIMITS = frozenset({"max_latency_s", "max_memory_bytes"})
"""Parameters that only the best batch depends on."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing in which two runs differ. `kind` is machine, software or parameters; None where a run lacks it."""

    kind: str
    name: str
    base: Any
    head: Any


def is_same_machine(base: Machine, head: Machine) -> bool:
    """Return whether two machines are alike in all that decides what they can do."""
    return _picked(base, HARDWARE) == _picked(head, HARDWARE)


def differences(base: Mapping[str, Run], head: Mapping[str, Run]) -> tuple[Difference, ...]:
    """List in what two runs differ, machine first, then software, then the parameters of each notebook."""
    if not base or not head:
        return ()
    first, second = next(iter(base.values())).machine, next(iter(head.values())).machine
    found = [
        *_differing("machine", _picked(first, HARDWARE), _picked(second, HARDWARE)),
        *_differing("software", _picked(first, SYSTEM), _picked(second, SYSTEM)),
        *_differing("software", first.versions, second.versions),
        *_differing("software", first.environment, second.environment),
    ]
    for notebook in (name for name in base if name in head):
        of = _differing("parameters", base[notebook].params, head[notebook].params, prefix=f"{notebook}: ")
        found += [one for one in of if one.name != f"{notebook}: reuse"]
    return tuple(found)


def _picked(machine: Machine, names: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(machine, name) for name in names}
    if "threadpools" in values:  # which library was loaded first says nothing
        values["threadpools"] = sorted(values["threadpools"])
    return values


def _differing(kind: str, base: Mapping[str, Any], head: Mapping[str, Any], prefix: str = "") -> Iterator[Difference]:
    for name in dict.fromkeys([*base, *head]):
        if base.get(name) != head.get(name):
            yield Difference(kind=kind, name=f"{prefix}{name}", base=base.get(name), head=head.get(name))


def refusal(base: Run, head: Run) -> str:
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
        if name in head.params
        and value != head.params[name]
        and name not in EFFORT | CHOICE | LIMITS
        and not isinstance(value, list | tuple)
    ]
    return f"other work: {'; '.join(work)}" if work else ""
