"""Read how many CPUs and how much memory this process may use: affinity, and the control groups of Linux.

`os.cpu_count()` ignores both. A limit of any ancestor group holds too, so every reading walks from the process's own
group up to the mount point. Version 1 and version 2 hierarchies may coexist; both are read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from inferbench_lib.records import Flag
from inferbench_lib.timing.procfs import parse_cpu_list, parse_fields, parse_number, read_text

V2 = ""
_NO_LIMIT_BYTES = 1 << 60  # version 1 writes "no limit" as the largest page-aligned signed integer


@dataclass(frozen=True, kw_only=True)
class Throttling:
    """The number of periods, and the seconds in all, in which a CPU quota stopped the process's groups."""

    periods: int
    seconds: float


def usable_cpus(root: str | Path = "/") -> tuple[int, str]:
    """Return (count, reason): the smaller of the affinity and the control groups' CPU quota, at least 1.

    A fraction of a CPU does not count: the kernel would stop a thread on it in every period. `root` is the folder of
    `proc` and `sys`. The reason is a text such as "2 of 64 CPUs usable (cgroup quota)".
    """
    root = Path(root)
    present = parse_cpu_list(read_text(root / "sys/devices/system/cpu/online") or "")
    allowed = _affinity(root, present) if present else frozenset(_affinity_without_proc())
    total = len(present) or os.cpu_count() or len(allowed)
    quota = cpu_quota(root)
    if quota is not None and quota < len(allowed):
        count = max(1, int(quota))
        return count, _sentence(count, total, "cgroup quota" if quota >= 1 else f"cgroup quota of {quota:.2g} CPU")
    count = max(1, len(allowed))
    return count, _sentence(count, total, "affinity" if count < total else "")


def oversubscription_flag(n_processes: int, n_threads: int, usable: int) -> Flag | None:
    """Return a flag when processes × threads exceed the usable CPUs, else None."""
    wanted = n_processes * n_threads
    if wanted <= usable:
        return None
    return Flag(
        name="oversubscribed",
        text=(
            f"{_count(n_processes, 'process', 'processes')} × {_count(n_threads, 'thread', 'threads')} "
            f"want {wanted} CPUs, {usable} {'is' if usable == 1 else 'are'} usable: "
            "they will wait for each other; lower n_processes or the threads per process"
        ),
    )


def parse_memberships(text: str) -> dict[str, str]:
    """Return the path of the own group by controller, from `/proc/<pid>/cgroup`; `V2` is the key of version 2."""
    rows = (line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2)
    return {controller: path for _, controllers, path in rows for controller in controllers.split(",")}


def parse_mounts(text: str) -> dict[str, tuple[str, str]]:
    """Return (root in the hierarchy, mount point) by controller, from `/proc/<pid>/mountinfo` (see proc(5))."""
    mounts: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if not separator or len(left) < 5 or len(right) < 3:
            continue
        if right[0] == "cgroup2":
            mounts.setdefault(V2, (left[3], left[4]))
        elif right[0] == "cgroup":
            for option in right[2].split(","):
                mounts.setdefault(option, (left[3], left[4]))
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
    memberships = parse_memberships(read_text(root / "proc/self/cgroup") or "")
    mounts = parse_mounts(read_text(root / "proc/self/mountinfo") or "")
    return tuple(
        root / path.relative_to("/")
        for name in (controller, V2)
        if name in memberships and name in mounts
        for path in group_paths(memberships[name], *mounts[name])
        if path.is_absolute() and "\0" not in str(path)
    )


def parse_quota_v2(text: str) -> float | None:
    """Return the CPUs that a `cpu.max` allows, None for no limit or for anything else."""
    quota, _, period = text.partition(" ")
    return parse_quota_v1(quota, period or "100000")


def parse_quota_v1(quota_us: str, period_us: str) -> float | None:
    """Return the CPUs that `cpu.cfs_quota_us` over `cpu.cfs_period_us` allows, None for no limit or anything else."""
    quota, period = parse_number(quota_us), parse_number(period_us)
    return quota / period if quota and period and quota > 0 and period > 0 else None


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the smallest CPU quota of the own group and every ancestor, in CPUs; None where there is none."""
    return _smallest(_folder_quota, group_folders("cpu", root))


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """Return the smallest memory limit of the own group and every ancestor; None where there is none."""
    limit = _smallest(_folder_memory_limit, group_folders("memory", root))
    return None if limit is None else int(limit)


def parse_throttling(text: str) -> Throttling | None:
    """Return what a `cpu.stat` counts: version 2 in microseconds (`throttled_usec`), version 1 in nanoseconds."""
    words = {name: parse_number(value) for name, _, value in (line.partition(" ") for line in text.splitlines())}
    periods = words.get("nr_throttled")
    if periods is None:
        return None
    seconds = (words.get("throttled_usec") or 0) / 1e6 + (words.get("throttled_time") or 0) / 1e9
    return Throttling(periods=periods, seconds=seconds)


def throttling(root: Path = Path("/")) -> Throttling | None:
    """Return how much the CPU quotas of the own group and its ancestors stopped; None where nothing counts it."""
    texts = (read_text(folder / "cpu.stat") for folder in group_folders("cpu", root))
    seen = [found for text in texts if text is not None and (found := parse_throttling(text)) is not None]
    if not seen:
        return None
    return Throttling(periods=sum(one.periods for one in seen), seconds=sum(one.seconds for one in seen))


def _smallest(read: Callable[[Path], float | None], folders: Iterable[Path]) -> float | None:
    return min((limit for folder in folders if (limit := read(folder)) is not None), default=None)


def _folder_quota(folder: Path) -> float | None:
    maximum = read_text(folder / "cpu.max")
    if maximum:
        return parse_quota_v2(maximum)
    quota_us, period_us = read_text(folder / "cpu.cfs_quota_us"), read_text(folder / "cpu.cfs_period_us")
    return parse_quota_v1(quota_us, period_us) if quota_us and period_us else None


def _folder_memory_limit(folder: Path) -> float | None:
    text = read_text(folder / "memory.max") or read_text(folder / "memory.limit_in_bytes")
    limit = parse_number(text or "")
    return None if limit is None or not 0 <= limit < _NO_LIMIT_BYTES else limit


def _affinity(root: Path, present: frozenset[int]) -> frozenset[int]:
    listed = parse_fields(read_text(root / "proc/self/status") or "").get("Cpus_allowed_list")
    return present if listed is None else parse_cpu_list(listed) & present


def _affinity_without_proc() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _sentence(count: int, total: int, reason: str) -> str:
    text = f"{count} of {total} CPUs usable"
    return f"{text} ({reason})" if reason else text


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
