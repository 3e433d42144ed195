"""Read how many CPUs and how much memory this process may use: affinity, and the control groups of Linux.

`os.cpu_count()` ignores both. A limit of any ancestor group holds too, so every reading walks from the process's own
group up to the mount point. Version 1 and version 2 hierarchies may coexist; both are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from inferbench_lib.records import Flag
from inferbench_lib.timing.procfs import parse_cpu_list, parse_fields, parse_number, read_text

V2 = ""
_MOUNT = re.compile(r"^\S+ \S+ \S+ (\S+) (\S+) .* - (cgroup2?) \S+ (\S+)$", re.MULTILINE)
_USUAL_PERIOD_US = 100_000
_NO_LIMIT_BYTES = 1 << 60  # version 1 writes "no limit" as the largest page-aligned signed integer

Number = TypeVar("Number", int, float)


def usable_cpus(root: Path = Path("/")) -> tuple[int, str]:
    """Return (count, reason): the smaller of the affinity and the control groups' CPU quota, at least 1.

    A fraction of a CPU does not count: the kernel would stop a thread on it in every period. `root` is the folder of
    `proc` and `sys`. The reason is a text such as "2 of 64 CPUs usable (cgroup quota)".
    """
    present = parse_cpu_list(read_text(root / "sys/devices/system/cpu/online"))
    total = len(present) or os.cpu_count() or 1
    if present:
        affinity = parse_fields(read_text(root / "proc/self/status")).get("Cpus_allowed_list")
        n_allowed = total if affinity is None else len(parse_cpu_list(affinity) & present) or 1
    else:  # no Linux
        n_allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    quota = _smallest(_folder_quota, group_folders("cpu", root))
    if quota is not None and quota < n_allowed:
        count, why = max(1, int(quota)), " (cgroup quota)" if quota >= 1 else f" (cgroup quota of {quota:.2g} CPU)"
    else:
        count, why = n_allowed, " (affinity)" if n_allowed < total else ""
    return count, f"{count} of {total} CPUs usable{why}"


def oversubscription_flag(n_processes: int, n_threads: int, usable: int) -> Flag | None:
    """Return a flag when processes × threads exceed the usable CPUs, else None."""
    if n_processes * n_threads <= usable:
        return None
    text = (
        f"{n_processes} process{'es' * (n_processes > 1)} × {n_threads} thread{'s' * (n_threads > 1)} "
        f"want {n_processes * n_threads} CPUs, {usable} {'is' if usable == 1 else 'are'} usable: "
        "they will wait for each other; lower n_processes or the threads per process"
    )
    return Flag(name="oversubscribed", text=text)


def parse_memberships(text: str) -> dict[str, str]:
    """Return the path of the own group by controller, from `/proc/<pid>/cgroup`; `V2` is the key of version 2."""
    rows = (line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2)
    return {controller: path for _, controllers, path in rows for controller in controllers.split(",")}


def parse_mounts(text: str) -> dict[str, tuple[str, str]]:
    """Return (root in the hierarchy, mount point) by controller, from `/proc/<pid>/mountinfo` (see proc(5))."""
    mounts: dict[str, tuple[str, str]] = {}
    for root, point, kind, options in _MOUNT.findall(text):
        for controller in [V2] if kind == "cgroup2" else options.split(","):
            mounts.setdefault(controller, (root, point))
    return mounts


def group_paths(membership: str, mount_root: str, mount_point: str) -> tuple[PurePosixPath, ...]:
    """Return the folders of the own group and of each visible ancestor, nearest first.

    A container may see its own group as the mount's root: the path is then relative to that root.
    """
    path = PurePosixPath(membership)
    if ".." in path.parts:  # the group lies outside this namespace
        inside = PurePosixPath()
    elif path.is_relative_to(mount_root):
        inside = path.relative_to(mount_root)
    else:
        inside = PurePosixPath(*path.parts[path.is_absolute() :])
    top = PurePosixPath(mount_point)
    own = top / inside
    return (own, *(parent for parent in own.parents if parent.is_relative_to(top)))


def group_folders(controller: str, root: Path) -> tuple[Path, ...]:
    """Return every folder whose limits of `controller` hold for this process, as seen under `root`."""
    memberships = parse_memberships(read_text(root / "proc/self/cgroup"))
    mounts = parse_mounts(read_text(root / "proc/self/mountinfo"))
    return tuple(
        root / path.relative_to("/")
        for name in (controller, V2)
        if name in memberships and name in mounts
        for path in group_paths(memberships[name], *mounts[name])
        if path.is_absolute() and "\0" not in str(path)
    )


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """Return the smallest memory limit of the own group and every ancestor; None where there is none."""
    return _smallest(_folder_memory_limit, group_folders("memory", root))


def parse_throttling(cpu_stat: str) -> tuple[int, float] | None:
    """Return how many periods, and seconds in all, a CPU quota stopped a group; None where nothing counts it.

    Version 2 counts microseconds (`throttled_usec`), version 1 nanoseconds (`throttled_time`).
    """
    words = {name: parse_number(value) for name, _, value in (line.partition(" ") for line in cpu_stat.splitlines())}
    periods = words.get("nr_throttled")
    if periods is None:
        return None
    return periods, (words.get("throttled_usec") or 0) / 1e6 + (words.get("throttled_time") or 0) / 1e9


def throttling(root: Path = Path("/")) -> dict[str, Any]:
    """Return `throttled_periods` and `throttled_s`, summed over the own group and its ancestors; empty if unknown."""
    stats = (parse_throttling(read_text(folder / "cpu.stat")) for folder in group_folders("cpu", root))
    seen = [stat for stat in stats if stat]
    return {"throttled_periods": sum(n for n, _ in seen), "throttled_s": sum(s for _, s in seen)} if seen else {}


def _smallest(read: Callable[[Path], Number | None], folders: Iterable[Path]) -> Number | None:
    return min((limit for folder in folders if (limit := read(folder)) is not None), default=None)


def _folder_quota(folder: Path) -> float | None:
    """Return the CPUs that a group's quota allows, in version 2 or version 1; None for no limit or anything else."""
    quota_us, _, period_us = read_text(folder / "cpu.max").partition(" ")
    quota = parse_number(quota_us or read_text(folder / "cpu.cfs_quota_us"))
    period = parse_number(period_us or read_text(folder / "cpu.cfs_period_us")) or _USUAL_PERIOD_US
    return quota / period if quota and quota > 0 and period > 0 else None


def _folder_memory_limit(folder: Path) -> int | None:
    limit = parse_number(read_text(folder / "memory.max") or read_text(folder / "memory.limit_in_bytes"))
    return None if limit is None or not 0 <= limit < _NO_LIMIT_BYTES else limit
