"""The frame of one notebook's measuring: processes for the benches, an observer, a control workload, progress."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import Any, Self

from inferbench_lib import store
from inferbench_lib.config import Seeded
from inferbench_lib.errors import NotAvailable, WorkerError
from inferbench_lib.machine.facts import read_machine
from inferbench_lib.machine.sampler import Sampler
from inferbench_lib.measure.control import ControlWork
from inferbench_lib.measure.host import Host
from inferbench_lib.measure.rounds import Entry, Plan, Schedule, run_rounds
from inferbench_lib.processes.child import thread_limits
from inferbench_lib.progress import Progress
from inferbench_lib.records import CPU, Flag, Measurement, Run
from inferbench_lib.stats.processes import difference, with_process_scatter
from inferbench_lib.timing.memory import PeakMemory
from inferbench_lib.timing.telemetry import flags as telemetry_flags

CONTROL_LIMIT = 0.10
"""The largest spread of the control workload's rounds without a flag: a reader would act on more."""
FLAGGED_SHARE = 1 / 3
"""A cell is flagged when more than this share of its turns was."""


class Session:
    """One notebook's measuring, from the first process to the stored run. A context manager."""

    def __init__(self, notebook: str, config: Seeded, *, steps: int = 0) -> None:
        self.notebook, self.config = notebook, config
        self.progress = Progress(notebook, steps)
        self.schedules: dict[str, Schedule] = {}
        self._started = datetime.now(UTC)
        self._began_s = time.monotonic()
        self._stack = ExitStack()
        self.sampler = Sampler()
        self._hosts: list[Host] = []
        self._control: Host | None = None
        self._lost_control = ""

    def __enter__(self) -> Self:
        self._stack.enter_context(self.progress)
        self.progress.now("reading the machine")
        self.machine = read_machine()
        self._stack.enter_context(self.sampler)
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts:
            host.hang_up()  # all of them end at the same time
        self._stack.close()

    def host(
        self, factory: Callable[[], Any], name: str, n_threads: int = 1, environment: Mapping[str, str] | None = None
    ) -> Host:
        """Start a process for a bench, its thread limits and environment set before anything is imported there."""
        self.progress.now(f"starting {name}")
        self._hosts.append(Host(factory, environment={**thread_limits(n_threads), **(environment or {})}, name=name))
        return self._stack.enter_context(self._hosts[-1])

    def measure(
        self, entries: Sequence[Entry], *, name: str = "rounds", memory: bool = False, plan: Plan | None = None
    ) -> Schedule:
        """Let the cells take turns; return their rows, flagged with what was seen beside them.

        Without a `plan` of its own it takes the rounds that the parameters ask for.
        """
        if self._control is None:
            self._control = self.host(ControlWork, "control")
        for device in {entry.case.device for entry in entries} - {CPU}:
            self.sampler.watch(device)
        schedule = run_rounds(
            entries,
            plan or plan_of(self.config),
            self.progress,
            control=partial(self._control_s, self._control),
            peak_memory=_peak_memory if memory else None,
        )
        drifted = control_flag(schedule.control_s, self._lost_control)
        flagged = [
            replace(row, flags=(*row.flags, *drifted, *self._seen(windows, row.case.device)))
            for row, windows in zip(schedule.measurements, schedule.windows_s, strict=True)
        ]
        rows = [
            replace(row, flags=(*row.flags, *filter(None, [difference(row)]))) if row.samples_s else row
            for row in flagged
        ]
        self.schedules[name] = replace(schedule, measurements=with_process_scatter(rows))
        return self.schedules[name]

    def _control_s(self, control: Host) -> float | None:
        """Time the control workload; return None once its process has failed, which costs no cell its row."""
        if self._lost_control:
            return None
        try:
            return float(control.call("seconds"))
        except WorkerError as error:
            self._lost_control = str(error)
            return None

    def finish(self, measurements: Sequence[Measurement], tables: Mapping[str, Any], *, simulated: bool = False) -> Run:
        """Return the run as a value, before anything is concluded from it."""
        kept = ("orders", "control_s", "stopped_because")
        schedules = {name: {of: getattr(seen, of) for of in kept} for name, seen in self.schedules.items()}
        return Run(
            notebook=self.notebook,
            run_id=store.run_folder().name,
            machine=self.machine,
            params=self.config.model_dump(),
            started_at=self._started.isoformat(timespec="seconds"),
            duration_s=time.monotonic() - self._began_s,
            measurements=tuple(measurements),
            tables={"schedules": schedules, **tables},
            simulated=simulated,
        )

    def _seen(self, windows: Sequence[tuple[float, float]], device: str) -> tuple[Flag, ...]:
        """Return what the observer flagged in more than a third of a cell's turns on a device."""
        seen = [flag for window in windows for flag in telemetry_flags(self.sampler.window(*window, device))]
        counts = Counter(flag.name for flag in seen)
        return tuple(
            flag
            if counts[name] == len(windows)
            else replace(flag, text=f"in {counts[name]} of {len(windows)} rounds {flag.text}")
            for name, flag in {flag.name: flag for flag in seen}.items()
            if flag.invalidates or counts[name] > FLAGGED_SHARE * len(windows)
        )


def plan_of(config: Seeded) -> Plan:
    """Return the rounds that a notebook's parameters ask for."""
    return Plan(**{of.name: getattr(config, of.name) for of in fields(Plan)})


def control_flag(control_s: Sequence[Sequence[float]], lost: str = "") -> tuple[Flag, ...]:
    """Return a flag when the control workload's round medians differ by more than `CONTROL_LIMIT`, or it was lost."""
    medians = [median(values) for values in control_s if values] or [1.0]
    spread = max(medians) / min(medians) - 1
    text = (
        f"the machine's speed changed by up to {spread:.0%} during the run (limit {CONTROL_LIMIT:.0%}): "
        "ratios hold, seconds less so"
    )
    if lost:
        text = f"the control workload could not go on, so a change of the machine's speed was not seen: {lost}"
    return (Flag(name="drift", text=text),) if lost or spread > CONTROL_LIMIT else ()


def _peak_memory(entry: Entry) -> int | None:
    """Measure the process tree's peak while it runs the cell untimed; None where this system does not tell it."""
    try:
        with PeakMemory(entry.host.pid) as peak:
            entry.host.call("run", entry.case, 3)
    except NotAvailable:
        return None
    return peak.n_bytes
