"""Measure the threads that each library takes by default, and the time of its work on them.

Each library has a process of its own, in the environment as it is. There a small piece of its work takes turns on its
default threads, on as many as there are usable CPUs, and on one.

A CPU quota stops all threads of a group once they have used it up, until its next period. So where a default exceeds
the usable CPUs, a turn waits for a new period, and lasts as long as one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inferbench_lib.errors import InferbenchError
from inferbench_lib.machine.libraries import LIBRARIES, Library
from inferbench_lib.machine.sampler import Sampler
from inferbench_lib.processes.remote import Remote
from inferbench_lib.records import Flag
from inferbench_lib.timing.loop import Budget, Probe, interleave
from inferbench_lib.timing.telemetry import flags

TURN_S, QUOTA_TURN_S = 0.01, 0.1
"""Seconds of calls in a turn; the usual period of a CPU quota where the default exceeds the usable CPUs."""
MINIMUM_ROUNDS = 6
"""The fewest rounds that carry a 95 % interval."""
AT_MOST_S = 60.0
"""A library that has not started, or not answered, by then has a reason instead of times."""
UNUSED = "not timed: an ordinary forward pass does not use them"


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Seconds per call of a library's work on so many threads, one value per round."""

    n_inputs: int
    n_threads: int
    seconds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class DefaultThreads:
    """The threads that a library takes by default; `reason` says why they, or their times, are not known.

    `flags` tell what the observer saw while it was timed.
    """

    library: str
    default: int | None = None
    timed: tuple[Timed, ...] = ()
    reason: str = ""
    flags: tuple[Flag, ...] = ()


class ThreadBench:
    """One library's work, in the process that made it."""

    def __init__(self, library: str, forest: Path) -> None:
        self._library = library
        self._subject = LIBRARIES[library].load(forest)

    def measure(self, usable: int, budget_s: float, seed: int) -> list[DefaultThreads]:
        """Time the work on the default threads, on the usable CPUs and on one thread, in at least six rounds."""
        subject, budget = self._subject, Budget(budget_s)
        is_over = subject.default > usable

        def prepare(n_threads: int) -> None:
            subject.set_threads(None if n_threads == subject.default else n_threads)
            if is_over:
                time.sleep(QUOTA_TURN_S)

        cells = [(n_inputs, n) for n_inputs in subject.calls for n in sorted({subject.default, usable, 1})]
        probes = [
            Probe(key=(n_inputs, n), call=subject.calls[n_inputs], prepare=partial(prepare, n),
                  is_warmed=subject.is_warmed)
            for n_inputs, n in cells
        ]  # fmt: skip
        sized = [_sized(probe, QUOTA_TURN_S if is_over else TURN_S) for probe in probes]
        seconds = interleave(sized, budget_s=budget.left_s, minimum_rounds=MINIMUM_ROUNDS, seed=seed)
        timed = [Timed(n_inputs=n_inputs, n_threads=n, seconds=tuple(seconds[n_inputs, n])) for n_inputs, n in cells]
        found = [DefaultThreads(library=self._library, default=subject.default, timed=tuple(timed))]
        return found + [DefaultThreads(library=of, default=n, reason=UNUSED) for of, n in subject.untimed.items()]

    def close(self) -> None:
        """End what the library has started."""
        self._subject.close()


def default_threads(
    usable: int,
    forest: Path,
    sampler: Sampler,
    *,
    budget_s: float,
    seed: int = 0,
    timeout_s: float = AT_MOST_S,
    on_library: Callable[[str], None] = lambda name: None,
) -> tuple[DefaultThreads, ...]:
    """Measure every library in about `budget_s` seconds beside the start of the processes, which start together.

    `forest` is the file of a pickled scikit-learn model. A library that is not installed, fails or hangs has a row with
    the reason. `on_library` gets the name of each as it begins, outside every timed region.
    """
    reasons = {name: reason for name, of in LIBRARIES.items() if (reason := _missing(of))}
    benches: dict[str, Remote] = {}
    rows: list[DefaultThreads] = []
    with ExitStack() as stack:

        def attempt(library: str, act: Callable[[], Any]) -> Any:
            try:
                return None if library in reasons else act()
            except InferbenchError as error:
                reasons[library] = (str(error).splitlines() or [type(error).__name__])[0]

        for name in LIBRARIES:
            start = partial(Remote, partial(ThreadBench, name, forest), name=f"threads of {name}", timeout_s=timeout_s)
            if bench := attempt(name, start):
                benches[name] = stack.enter_context(bench)
        for name, bench in benches.items():  # no start beside a library that is timed
            attempt(name, bench.ready)
        for name in LIBRARIES:
            on_library(name)
            began_s = time.monotonic()
            if name in benches:
                share_s = budget_s / len(benches)
                found = attempt(name, partial(benches[name].call, "measure", usable, share_s, seed)) or []
                seen = flags(sampler.window(began_s, time.monotonic()))
                rows += [replace(row, flags=seen) for row in found]
                benches[name].close()
            if name in reasons:
                rows.append(DefaultThreads(library=name, reason=reasons[name]))
    return tuple(rows)


def _missing(library: Library) -> str:
    """Return how to install a library whose packages are not all here; empty where they are."""
    absent = [package for module, package in library.packages.items() if find_spec(module) is None]
    return f"not installed: pip install {' '.join(absent)}" if absent else ""


def _sized(probe: Probe, turn_s: float) -> Probe:
    """Return the probe with a block of as many calls as were made in a turn, after one that warms up."""
    probe.prepare()
    probe.call(None)
    n_calls, turn = 0, Budget(turn_s)
    while not n_calls or turn.left_s > 0:
        probe.call(None)
        n_calls += 1
    return replace(probe, block_size=n_calls)
