"""Rounds: what is compared takes turns, in an order drawn anew each round, a control workload between.

Consecutive calls of one process resemble each other, and machines drift; so the unit of replication is the
round, and every cell meets each stretch of the machine's time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from inferbench_lib.errors import InferbenchError, OutOfMemory, WorkerDied, WorkerHung
from inferbench_lib.measure.host import Host, joined
from inferbench_lib.measure.source import WarmUp
from inferbench_lib.progress import Progress
from inferbench_lib.records import Case, Measurement, Outcome
from inferbench_lib.stats.processes import with_process_scatter
from inferbench_lib.stats.statistics import relative_width
from inferbench_lib.timing.loop import take_turns


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One cell to measure: what it is, where it lives, how many samples it takes in a round."""

    case: Case
    host: Host
    n_samples: int = 1
    warmup: WarmUp = field(default_factory=WarmUp)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The number of rounds: at least, at most, until every median is narrow enough or the time is up.

    `min_rounds` are made whatever the time, because fewer carry no interval. Each host starts anew after
    `rounds_per_process` rounds (None: never), because processes of one program differ more than rounds of one process
    (Kalibera & Jones 2013, "Rigorous benchmarking in reasonable time").
    """

    min_rounds: int
    max_rounds: int
    target_width: float
    time_limit_s: float
    seed: int = 0
    rounds_per_process: int | None = None

    def n_processes(self, n_rounds: int) -> int:
        """Return how many processes of each host so many rounds take."""
        return -(-n_rounds // self.rounds_per_process) if self.rounds_per_process else 1

    def steps(self, n_cells: int) -> int:
        """Return the steps of progress that so many cells take at most: a warm-up in each process, and every turn."""
        return n_cells * (self.max_rounds + self.n_processes(self.max_rounds))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The measured rows and the order of their turns; `windows_s` are the monotonic times of each cell's turns."""

    measurements: tuple[Measurement, ...]
    orders: tuple[tuple[int, ...], ...]
    control_s: tuple[tuple[float, ...], ...]
    windows_s: tuple[tuple[tuple[float, float], ...], ...]
    stopped_because: str


class _Cells:
    """The state of the cells while rounds go on; a cell that failed keeps its row and its reason."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.failures: dict[int, tuple[Outcome, str]] = {}
        self.seen: list[list[Measurement]] = [[] for _ in entries]
        self.round_medians: list[list[float]] = [[] for _ in entries]
        self.windows: list[list[tuple[float, float]]] = [[] for _ in entries]

    def ask(self, index: int, method: str, *arguments: Any) -> Any:
        """Call the cell's host; return None where the cell has failed or fails now."""
        entry = self.entries[index]
        return self.attempt(index, lambda: entry.host.call(method, entry.case, *arguments))

    def start(self, progress: Progress) -> None:
        """Wait for every host, start their benches one after another, and warm up every cell.

        A bench that fails is the end of all its cells.
        """
        hosts = self._living()
        for first, *_ in hosts:
            self.attempt(first, self.entries[first].host.ready)
        for first, *others in hosts:
            progress.now(f"starting {self.entries[first].case}")
            self.attempt(first, partial(self.entries[first].host.call, "start"))
            self.failures |= {other: self.failures[first] for other in others if first in self.failures}
        for index, entry in enumerate(self.entries):
            progress.now(f"warming up {entry.case}")
            self.ask(index, "prepare", entry.warmup)
            progress.step()

    def renew(self, progress: Progress) -> None:
        """Keep what every process saw, and start new ones."""
        for index in range(len(self.entries)):
            self._collect(index)
        for first, *_ in self._living():
            self.attempt(first, self.entries[first].host.renew)
        self.start(progress)

    def _living(self) -> list[list[int]]:
        """Return the cells that have not failed, by host."""
        hosts: dict[int, list[int]] = {}
        for index, entry in enumerate(self.entries):
            if index not in self.failures:
                hosts.setdefault(id(entry.host), []).append(index)
        return list(hosts.values())

    def attempt(self, index: int, act: Callable[[], Any]) -> Any:
        """Return what `act` returns; note a failure of the cell, or of every cell of a process that ended."""
        if index in self.failures:
            return None
        host = self.entries[index].host
        try:
            return act()
        except OutOfMemory as error:
            self.failures[index] = (Outcome.OOM, str(error))
        except (WorkerDied, WorkerHung) as error:
            for other, entry in enumerate(self.entries):
                if entry.host is host:
                    self.failures.setdefault(other, (Outcome.FAILED, str(error)))
        except InferbenchError as error:  # of the cell itself, or a device, scheduler or memory cap that is not here
            self.failures[index] = (Outcome.FAILED, str(error))
        return None

    def is_settled(self, target_width: float) -> bool:
        """Tell whether every living cell's median is known to within `target_width`."""
        living = [self._so_far(index) for index in range(len(self.entries)) if index not in self.failures]
        return all(relative_width(cell) <= target_width for cell in with_process_scatter(living))

    def _so_far(self, index: int) -> Measurement:
        """Return a row of one sample per round, as far as the rounds have come."""
        medians, earlier = self.round_medians[index], [len(row.round_sizes) for row in self.seen[index]]
        return Measurement(
            case=self.entries[index].case,
            samples_s=tuple(medians),
            round_sizes=(1,) * len(medians),
            process_sizes=(*earlier, len(medians) - sum(earlier)),
            worker_pid=id(self.entries[index].host),
        )

    def measurement(self, index: int) -> Measurement:
        """Return the cell's row, whatever became of it."""
        self._collect(index)
        return joined(self.seen[index])

    def _collect(self, index: int) -> None:
        """Keep the row of the cell's present process; one that still answers tells what it saw before a failure."""
        seen, failure = self.seen[index], self.failures.pop(index, None)
        if failure is None or not seen or seen[-1].outcome is Outcome.OK:
            measured: Measurement | None = self.ask(index, "finish")
            outcome, reason = failure or self.failures.get(index, (Outcome.OK, ""))
            row = measured or Measurement(case=self.entries[index].case, outcome=outcome, reason=reason)
            seen.append(row if row.outcome is not Outcome.OK else replace(row, outcome=outcome, reason=reason))
        if failure is not None:
            self.failures[index] = failure


def run_rounds(
    entries: Sequence[Entry],
    plan: Plan,
    progress: Progress,
    *,
    control: Callable[[], float | None],
    peak_memory: Callable[[Entry], int | None] | None = None,
    read_s: Callable[[], float] = time.monotonic,
) -> Schedule:
    """Prepare every cell, then let the cells take turns until `plan` is met; memory last, in a pass of its own.

    Benches start one after another once all hosts are up, because starts and first calls are results too.
    `control` runs a fixed small workload after every turn and returns its seconds, or None once it cannot run any more.
    Progress is shown between turns only. A cell that fails keeps its row, and the others go on.
    """
    cells = _Cells(entries)
    cells.start(progress)
    turns = take_turns(range(len(entries)), plan.seed)
    orders: list[tuple[int, ...]] = []
    control_s: list[tuple[float, ...]] = []
    started_s = read_s()
    stopped_because = ""
    while not stopped_because:
        order = next(turns)
        controls = []
        for index in order:
            progress.now(f"round {len(orders) + 1}: {entries[index].case}")
            begin_s = read_s()
            samples = cells.ask(index, "turn", entries[index].n_samples)
            if samples:
                cells.windows[index].append((begin_s, read_s()))
                cells.round_medians[index].append(sorted(samples)[len(samples) // 2])
            seconds = control()
            controls += [] if seconds is None else [seconds]
            progress.step()
        orders.append(order)
        control_s.append(tuple(controls))
        stopped_because = _reason_to_stop(cells, plan, len(orders), read_s() - started_s)
        if not stopped_because and plan.rounds_per_process and len(orders) % plan.rounds_per_process == 0:
            begin_s = read_s()
            cells.renew(progress)
            started_s += read_s() - begin_s  # no time for rounds
    peaks: list[int | None] = [None] * len(entries)
    if peak_memory:
        peaks = [cells.attempt(index, partial(peak_memory, entry)) for index, entry in enumerate(entries)]
    rows = [cells.measurement(index) for index in range(len(entries))]
    measurements = tuple(
        replace(row, peak_memory_bytes=row.peak_memory_bytes or peak) for row, peak in zip(rows, peaks, strict=True)
    )
    spared = plan.steps(len(entries)) - replace(plan, max_rounds=len(orders)).steps(len(entries))
    progress.expect(max(progress.done, progress.total - spared))
    return Schedule(
        measurements=measurements,
        orders=tuple(orders),
        control_s=tuple(control_s),
        windows_s=tuple(tuple(windows) for windows in cells.windows),
        stopped_because=stopped_because,
    )


def _reason_to_stop(cells: _Cells, plan: Plan, n_rounds: int, elapsed_s: float) -> str:
    if len(cells.failures) == len(cells.entries):
        return "every cell failed"
    if n_rounds < plan.min_rounds:
        return ""
    if n_rounds >= plan.max_rounds:
        return f"{n_rounds} rounds were the most asked for"
    if elapsed_s >= plan.time_limit_s:
        return f"the time limit of {plan.time_limit_s:g} s was reached"
    if cells.is_settled(plan.target_width):
        return f"every median was known to within {plan.target_width:.0%}"
    return ""
