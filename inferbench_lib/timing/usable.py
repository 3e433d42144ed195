"""How many CPUs this process may really use, and whether a configuration asks for more.

`os.cpu_count()` ignores affinity and quota; a quota may sit on any ancestor of the process's control group.
"""

from __future__ import annotations

import os
from pathlib import Path

from inferbench_lib.records import Flag
from inferbench_lib.timing.cgroup import cpu_quota
from inferbench_lib.timing.procfs import parse_cpu_list, parse_fields, read_text


def usable_cpus(root: str | Path = "/") -> tuple[int, str]:
    """(count, reason): the smaller of the affinity and the control groups' CPU quota, at least 1.

    A fraction of a CPU is left out: a thread on it would be stopped in every period. `root` is where
    `proc` and `sys` are found. The reason is words for a reader, such as "2 of 64 CPUs usable (cgroup quota)".
    """
    root = Path(root)
    present = _online(root)
    allowed = _allowed(root) & present if present else frozenset(_allowed_without_proc())
    total = len(present) or os.cpu_count() or len(allowed)
    quota = cpu_quota(root)
    if quota is not None and quota < len(allowed):
        count = max(1, int(quota))
        return count, _sentence(count, total, "cgroup quota" if quota >= 1 else f"cgroup quota of {quota:.2g} CPU")
    count = max(1, len(allowed))
    return count, _sentence(count, total, "affinity" if count < total else "")


def oversubscription_flag(n_processes: int, n_threads: int, usable: int) -> Flag | None:
    """A flag when processes × threads ask for more CPUs than are usable, else None."""
    wanted = n_processes * n_threads
    if wanted <= usable:
        return None
    return Flag(
        name="oversubscribed",
        text=(
            f"{_count(n_processes, 'process', 'processes')} × {_count(n_threads, 'thread', 'threads')} "
            f"want {wanted} CPUs, {usable} {'is' if usable == 1 else 'are'} usable: "
            "they take turns or stand by; lower n_processes or the threads of each"
        ),
    )


def _online(root: Path) -> frozenset[int]:
    return parse_cpu_list(read_text(root / "sys/devices/system/cpu/online") or "")


def _allowed(root: Path) -> frozenset[int]:
    listed = parse_fields(read_text(root / "proc/self/status") or "").get("Cpus_allowed_list")
    return _online(root) if listed is None else parse_cpu_list(listed)


def _allowed_without_proc() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _sentence(count: int, total: int, reason: str) -> str:
    text = f"{count} of {total} CPUs usable"
    return f"{text} ({reason})" if reason else text


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
