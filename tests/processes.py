"""What tests ask the system about processes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path


def is_running(pid: int) -> bool:
    """Whether the process exists and is more than an entry that waits for its parent."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def children(pid: int) -> set[int]:
    """The processes that `pid` started and that run."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] not in "ZX" and int(fields[1]) == pid:
            found.add(int(stat.parent.name))
    return found


def children_here() -> set[int]:
    """This process's running children, without the resource trackers that multiprocessing and loky keep."""
    found = children(os.getpid())
    return {pid for pid in found if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()}


def shared_memory_files(pid: int) -> set[Path]:
    """The files in /dev/shm that the process has mapped, semaphores among them."""
    return {Path(name) for name in re.findall(r"/dev/shm/\S+", Path(f"/proc/{pid}/maps").read_text())}


def eventually(holds: Callable[[], bool], within_s: float = 20) -> bool:
    """Whether it comes to hold within the time."""
    deadline = time.monotonic() + within_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()
