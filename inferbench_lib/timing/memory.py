"""Read the memory of a process and all its descendants, in a pass of its own: never during a latency measurement.

PSS divides each page among the processes that map it, so a tree's sum counts shared memory once. USS counts the pages
that only one process maps. The sum of RSS counts shared pages once per process (see proc_pid_smaps(5)).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferbench_lib.errors import NotAvailable

if TYPE_CHECKING:
    import psutil


@dataclass(frozen=True, kw_only=True)
class TreeMemory:
    """Sums over a process tree; PSS and USS are None where the system does not provide them for every process."""

    rss_bytes: int
    pss_bytes: int | None
    uss_bytes: int | None
    n_processes: int


def memory_of_tree(pid: int) -> TreeMemory:
    """Return the memory of the process and its descendants now; processes that end meanwhile are left out.

    Raises NotAvailable when the process does not exist or the system does not let its memory be read.
    """
    import psutil

    try:
        root = psutil.Process(pid)
        # The creator of shared memory is read last: a page that a child maps meanwhile is undercounted, not doubled.
        processes = [*root.children(recursive=True), root]
    except (psutil.Error, OSError) as error:
        raise NotAvailable(f"memory of process {pid}: expected a running process, got: {error}") from error
    seen = [memory for process in processes if (memory := _memory(process)) is not None]
    if not seen:
        raise NotAvailable(f"memory of process {pid}: expected a running process, got one that ended while it was read")
    return TreeMemory(
        rss_bytes=sum(one.rss_bytes for one in seen),
        pss_bytes=_total(one.pss_bytes for one in seen),
        uss_bytes=_total(one.uss_bytes for one in seen),
        n_processes=len(seen),
    )


class PeakMemory:
    """The highest memory of a process tree while it is open, sampled by a thread of the caller.

    `with PeakMemory(pid) as peak: …` then `peak.value`. A peak shorter than `interval_s` can be missed.
    """

    def __init__(self, pid: int, *, interval_s: float = 0.02) -> None:
        self._pid, self._interval_s = pid, interval_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.value: TreeMemory | None = None

    def __enter__(self) -> PeakMemory:
        self.value = memory_of_tree(self._pid)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self._interval_s):
            try:
                now = memory_of_tree(self._pid)
            except NotAvailable:  # the process ended: its peak is what was seen
                return
            self.value = now if self.value is None else highest(self.value, now)


def highest(first: TreeMemory, second: TreeMemory) -> TreeMemory:
    """Return the higher value of each figure."""
    return TreeMemory(
        rss_bytes=max(first.rss_bytes, second.rss_bytes),
        pss_bytes=_higher(first.pss_bytes, second.pss_bytes),
        uss_bytes=_higher(first.uss_bytes, second.uss_bytes),
        n_processes=max(first.n_processes, second.n_processes),
    )


def _memory(process: psutil.Process) -> TreeMemory | None:
    import psutil

    try:
        full = process.memory_full_info()
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return TreeMemory(rss_bytes=process.memory_info().rss, pss_bytes=None, uss_bytes=None, n_processes=1)
    return TreeMemory(
        rss_bytes=full.rss, pss_bytes=getattr(full, "pss", None), uss_bytes=getattr(full, "uss", None), n_processes=1
    )


def _total(values: Iterable[int | None]) -> int | None:
    numbers = list(values)
    return None if None in numbers else sum(number for number in numbers if number is not None)


def _higher(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else max(first, second)
