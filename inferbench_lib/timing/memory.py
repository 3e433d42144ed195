"""Read the memory of a process and all its descendants, in a pass of its own: never during a latency measurement.

PSS divides each page among the processes that map it, so a tree's sum counts shared memory once. The sum of RSS counts
shared pages once per process (see proc_pid_smaps(5)).
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from inferbench_lib.errors import NotAvailable


def memory_of_tree(pid: int) -> int:
    """Return the bytes of the process and its descendants now: PSS, or RSS where not every process tells its PSS.

    Processes that end meanwhile are left out. Raises NotAvailable when the process does not exist or the system does
    not let its memory be read.
    """
    import psutil

    try:
        root = psutil.Process(pid)
        # The creator of shared memory is read last: a page that a child maps meanwhile is undercounted, not doubled.
        processes = [*root.children(recursive=True), root]
    except (psutil.Error, OSError) as error:
        raise NotAvailable(f"memory of process {pid}: expected a running process, got: {error}") from error
    seen: list[Any] = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            try:
                seen.append(process.memory_full_info())
            except psutil.AccessDenied:
                seen.append(process.memory_info())
    if not seen:
        raise NotAvailable(f"memory of process {pid}: expected a running process, got one that ended while it was read")
    kind = "pss" if all(hasattr(one, "pss") for one in seen) else "rss"
    return sum(getattr(one, kind) for one in seen)


class PeakMemory:
    """The highest memory of a process tree while it is open, sampled by a thread of the caller.

    `with PeakMemory(pid) as peak: …` then `peak.n_bytes`. A peak shorter than `interval_s` can be missed.
    """

    def __init__(self, pid: int, *, interval_s: float = 0.02) -> None:
        self._pid, self._interval_s = pid, interval_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.n_bytes = 0

    def __enter__(self) -> PeakMemory:
        self.n_bytes = memory_of_tree(self._pid)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self._interval_s):
            try:
                self.n_bytes = max(self.n_bytes, memory_of_tree(self._pid))
            except NotAvailable:  # the process ended: its peak is what was seen
                return
