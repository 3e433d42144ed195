"""What it costs to start a process, by start method, bare and with the libraries that a worker needs.

From before `Process.start()` until the child's first word. A spawned child is a fresh interpreter that imports the
library itself; a forked one, or one of a fork server, has what its parent or the server had loaded before. The first
start of each method, which also starts its helpers, is not counted. The parent is a bare Python of one
thread, so that fork is safe and its cost is the least possible: a fork copies the parent's page tables, and a
parent that holds gigabytes pays more.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

from inferbench_lib.errors import MeasurementError
from inferbench_lib.machine.clean_process import answer_of
from inferbench_lib.machine.limit import Limit, Probe, cost, interleave

IMPORTS = ("sklearn.ensemble", "torch")
LOADED_BUDGET_S = 4.0
"""A parent that has loaded a library, and a fork server that has, take seconds before anything can be timed."""
AN_INSTANT_S = 1e-3
SHARE_OF_BARE = 0.2  # a child that imports takes a hundred times as long

Cell = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class StartCost:
    """Seconds until a started process answers.

    `imports` is the module that it has then, or empty; `is_preloaded` says that its parent or fork server had it.
    """

    method: str
    imports: str
    limit: Limit
    is_preloaded: bool = False


def start_costs(*, budget_s: float = 8.0, timeout_s: float = 90.0) -> tuple[StartCost, ...]:
    """The cost of the `cells()` that the budget reaches, the first ones first.

    Raises MeasurementError when the bare parent fails or takes longer than `timeout_s`.
    """
    started_s = monotonic()
    reaches_loaded = budget_s >= 2 * LOADED_BUDGET_S and bool(loaded_cells())
    bare_s = budget_s - LOADED_BUDGET_S * reaches_loaded
    rows = _rows(bare_s, "", timeout_s)
    left_s = timeout_s - (monotonic() - started_s)
    if reaches_loaded and left_s > LOADED_BUDGET_S:
        with suppress(
            MeasurementError
        ):  # too slow a machine: what the bare parent found is kept, the rest is unreached
            rows += _rows(LOADED_BUDGET_S, IMPORTS[0], left_s)
    said = "until the child's first word, median of interleaved repeats"
    return tuple(
        StartCost(
            method=method,
            imports=imports,
            limit=cost(seconds, method=said),
            is_preloaded=(method, imports) in loaded_cells(),
        )
        for method, imports, seconds in rows
    )


def _rows(budget_s: float, loaded: str, timeout_s: float) -> list[list[Any]]:
    rows: list[list[Any]] = answer_of("inferbench_lib.machine.process_cost", str(budget_s), loaded, timeout_s=timeout_s)
    return rows


def bare_cells() -> list[Cell]:
    """(start method, module to import) of a bare parent; only a spawned child imports anything itself."""
    bare = [(method, "") for method in multiprocessing.get_all_start_methods()]
    return bare + [("spawn", module) for module in IMPORTS if _is_installed(module)]


def loaded_cells() -> list[Cell]:
    """Where the parent, or the fork server, has loaded the library of a forest beforehand."""
    methods = [method for method in multiprocessing.get_all_start_methods() if method != "spawn"]
    return [(method, IMPORTS[0]) for method in methods if _is_installed(IMPORTS[0])]


def cells() -> list[Cell]:
    """All that this system offers, each once."""
    return bare_cells() + loaded_cells()


def _is_installed(module: str) -> bool:
    return find_spec(module.partition(".")[0]) is not None


def _start(method: str, module: str) -> None:
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_first_word, args=(sender, module), daemon=True)  # type: ignore[attr-defined]
    process.start()
    sender.close()
    receiver.recv_bytes()
    receiver.close()
    _started.append(process)


def _call(cell: tuple[str, str]) -> Callable[[Any], None]:
    return lambda _: _start(*cell)


def _first_word(sender: Connection, module: str) -> None:
    if module:
        importlib.import_module(module)
    sender.send_bytes(b"!")


_started: list[multiprocessing.process.BaseProcess] = []


def _reap() -> None:
    while _started:
        _started.pop().join()


def _main(budget_s: float, loaded: str) -> None:
    started_s = monotonic()
    if loaded:
        importlib.import_module(loaded)
        multiprocessing.set_forkserver_preload([loaded])
    here = loaded_cells() if loaded else bare_cells()
    for method in dict.fromkeys(method for method, _ in here):
        _start(method, "")  # the first of each also starts the fork server or the resource tracker
    probes = {cell: Probe(key=cell, call=_call(cell), prepare=_reap, is_warmed=False) for cell in here}
    quick = [probe for cell, probe in probes.items() if loaded or not cell[1]]
    slow = [probe for probe in probes.values() if probe not in quick]
    share = SHARE_OF_BARE if slow else 1.0
    seconds = interleave(quick, budget_s=share * (budget_s - (monotonic() - started_s)))
    left_s = max(AN_INSTANT_S, budget_s - (monotonic() - started_s))  # a forest's start is timed whatever the budget
    seconds |= interleave(slow, budget_s=left_s, minimum_rounds=0)
    _reap()
    print(json.dumps([[*cell, seconds[cell]] for cell in here if cell in seconds]))


if __name__ == "__main__":
    _main(float(sys.argv[1]), sys.argv[2])
