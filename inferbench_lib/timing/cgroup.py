"""Control groups on Linux: which limits hold for this process, and how often they held it back.

A limit of any ancestor holds too, so every reading walks from the process's own group up to the mount point.
Version 1 and version 2 hierarchies may stand side by side; both are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from inferbench_lib.timing.procfs import parse_number, read_text

V2 = ""
_NO_LIMIT_BYTES = 1 << 60  # version 1 writes "no limit" as the largest page-aligned signed integer


@dataclass(frozen=True, kw_only=True)
class Throttling:
    """How often, and for how many seconds in all, a CPU quota stopped the process's groups."""

    periods: int
    seconds: float


def parse_memberships(text: str) -> dict[str, str]:
    """Controller → path of the own group, from `/proc/<pid>/cgroup`; version 2 stands under `V2`."""
    rows = (line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2)
    return {controller: path for _, controllers, path in rows for controller in controllers.split(",")}


def parse_mounts(text: str) -> dict[str, tuple[str, str]]:
    """Controller → (root inside the hierarchy, mount point), from `/proc/<pid>/mountinfo` (see proc(5))."""
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
    """Folders of the own group and of each ancestor that can be seen, nearest first.

    A container may see its own group as the mount's root: the path is then what is left below that root.
    """
    path = PurePosixPath(membership)
    if ".." in path.parts:  # the group lies outside what this namespace may see
        inside = PurePosixPath()
    elif path.is_relative_to(mount_root):
        inside = path.relative_to(mount_root)
    else:
        inside = PurePosixPath(*path.parts[path.is_absolute() :])
    top = PurePosixPath(mount_point)
    own = top / inside
    return (own, *(parent for parent in own.parents if parent.is_relative_to(top)))


def group_folders(controller: str, root: Path) -> tuple[Path, ...]:
    """Every folder whose limits of `controller` hold for this process, as seen under `root`."""
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
    """CPUs that a `cpu.max` allows, None for no limit or for anything else."""
    quota, _, period = text.partition(" ")
    return parse_quota_v1(quota, period or "100000")


def parse_quota_v1(quota_us: str, period_us: str) -> float | None:
    """CPUs that `cpu.cfs_quota_us` over `cpu.cfs_period_us` allows, None for no limit or for anything else."""
    quota, period = parse_number(quota_us), parse_number(period_us)
    return quota / period if quota and period and quota > 0 and period > 0 else None


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The smallest CPU quota of the own group and every ancestor, in CPUs; None where there is none."""
    return _smallest(_folder_quota, group_folders("cpu", root))


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """The smallest memory limit of the own group and every ancestor; None where there is none."""
    limit = _smallest(_folder_memory_limit, group_folders("memory", root))
    return None if limit is None else int(limit)


def parse_throttling(text: str) -> Throttling | None:
    """From a `cpu.stat`: version 2 counts microseconds (`throttled_usec`), version 1 nanoseconds."""
    words = {name: parse_number(value) for name, _, value in (line.partition(" ") for line in text.splitlines())}
    periods = words.get("nr_throttled")
    if periods is None:
        return None
    seconds = (words.get("throttled_usec") or 0) / 1e6 + (words.get("throttled_time") or 0) / 1e9
    return Throttling(periods=periods, seconds=seconds)


def throttling(root: Path = Path("/")) -> Throttling | None:
    """What the CPU quotas of the own group and its ancestors did so far; None where nothing counts it."""
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
