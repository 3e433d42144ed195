"""How many workers may compute at a time, so that none waits for a CPU: as many as the CPUs carry."""

from __future__ import annotations

from collections.abc import Iterable

from inferbench_lib.records import Span
from inferbench_lib.timing.usable import usable_cpus


class CpuDemand:
    """What calls of `n_threads` were seen to use of the CPUs; that many until one was seen."""

    def __init__(self, n_threads: int) -> None:
        self._n_cpus, _ = usable_cpus()
        self._n_threads = n_threads
        self._most: float | None = None
        self._have_begun: set[int] = set()

    def note(self, spans: Iterable[Span]) -> None:
        """Learn from a worker's calls but its first, which may load things.

        The most that a call used counts: whoever else wants the CPUs makes it look like less, never like more.
        """
        for span in spans:
            if span.kind == "compute" and span.end_s > span.start_s:
                if span.worker in self._have_begun:
                    used = min(self._n_threads, span.cpu_s / (span.end_s - span.start_s))
                    self._most = max(used, self._most or 0.0)
                self._have_begun.add(span.worker)

    def n_carried(self, n_workers: int) -> int:
        """How many of them the CPUs carry at a time, at least one."""
        used = self._n_threads if self._most is None else self._most
        return n_workers if n_workers * used <= self._n_cpus else max(1, round(self._n_cpus / used))
