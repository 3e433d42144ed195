"""Measure the smallest costs: an empty Python call, a torch operator on one element, the start of a process.

A start lasts from before `Process.start()` until the child's first message. A spawned child is a new interpreter that
imports the library itself. A child of fork or of a fork server has what its parent or the server had loaded. The first
start of each method, which also starts its helpers, does not count. The parent is a bare Python with one thread, so
that fork is safe and as cheap as possible. A fork copies page tables: a parent that holds gigabytes pays more.
"""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any

from inferbench_lib.errors import MeasurementError
from inferbench_lib.machine.limit import Limit, call_in_a_process, cost
from inferbench_lib.timing.loop import Budget, Probe, interleave

CALLS_PER_SAMPLE = 10_000
IMPORTS = ("sklearn.ensemble", "torch")
LOADED_BUDGET_S = 4.0
"""Budget of the starts from a parent or a fork server that has loaded a library: loading takes seconds by itself."""
AN_INSTANT_S = 1e-3
SHARE_OF_BARE = 0.2  # a child that imports takes a hundred times as long

Cell = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class StartCost:
    """Seconds until a started process answers.

    `imports` is the module that it has then, or empty; `is_preloaded` is True where its parent or fork server had it.
    """

    method: str
    imports: str
    limit: Limit
    is_preloaded: bool = False


def call_costs(*, budget_s: float = 0.5) -> dict[str, Limit]:
    """Measure one `python call` (through the timing loop) and one `torch operator` (an addition of single elements)."""
    import torch

    one, other, target = torch.ones(1), torch.ones(1), torch.empty(1)
    calls: dict[str, Callable[[Any], Any]] = {
        "python call": lambda _: None,
        "torch operator": lambda _: torch.add(one, other, out=target),
    }
    probes = [Probe(key=name, call=call, block_size=CALLS_PER_SAMPLE) for name, call in calls.items()]
    seconds = interleave(probes, budget_s=budget_s)
    method = f"{CALLS_PER_SAMPLE:,} calls per sample, median of interleaved repeats"
    return {name: cost(seconds[name], method=method) for name in calls}


def start_costs(*, budget_s: float = 8.0, timeout_s: float = 90.0) -> tuple[StartCost, ...]:
    """Measure those of the `cells()` that the budget reaches, in their order.

    Raises MeasurementError when the bare parent fails or takes longer than `timeout_s`.
    """
    time_limit = Budget(timeout_s)
    reaches_loaded = budget_s >= 2 * LOADED_BUDGET_S and bool(loaded_cells())
    rows = call_in_a_process(start_seconds, budget_s - LOADED_BUDGET_S * reaches_loaded, "", timeout_s=timeout_s)
    if reaches_loaded and time_limit.left_s > LOADED_BUDGET_S:
        with suppress(MeasurementError):  # the machine is too slow: the bare starts are kept
            rows += call_in_a_process(start_seconds, LOADED_BUDGET_S, IMPORTS[0], timeout_s=time_limit.left_s)
    method_text = "until the child's first message, median of interleaved repeats"
    return tuple(
        StartCost(
            method=method,
            imports=imports,
            limit=cost(seconds, method=method_text),
            is_preloaded=(method, imports) in loaded_cells(),
        )
        for method, imports, seconds in rows
    )


def bare_cells() -> list[Cell]:
    """Return (start method, module to import) of a bare parent; only a spawned child imports anything itself."""
    bare = [(method, "") for method in multiprocessing.get_all_start_methods()]
    return bare + [("spawn", module) for module in IMPORTS if _is_installed(module)]


def loaded_cells() -> list[Cell]:
    """Return the cells whose parent or fork server has loaded the forest's library beforehand."""
    methods = [method for method in multiprocessing.get_all_start_methods() if method != "spawn"]
    return [(method, IMPORTS[0]) for method in methods if _is_installed(IMPORTS[0])]


def cells() -> list[Cell]:
    """Return all cells that this system offers, each once."""
    return bare_cells() + loaded_cells()


def _is_installed(module: str) -> bool:
    return find_spec(module.partition(".")[0]) is not None


def _start(method: str, module: str, _: object = None) -> None:
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_first_word, args=(sender, module), daemon=True)  # type: ignore[attr-defined]
    process.start()
    sender.close()
    receiver.recv_bytes()
    receiver.close()
    _started.append(process)


def _first_word(sender: Connection, module: str) -> None:
    if module:
        importlib.import_module(module)
    sender.send_bytes(b"!")


_started: list[multiprocessing.process.BaseProcess] = []


def _reap() -> None:
    while _started:
        _started.pop().join()


def start_seconds(budget_s: float, loaded: str) -> list[tuple[str, str, list[float]]]:
    """Return (start method, module, seconds per start), measured in this process after it has imported `loaded`."""
    budget = Budget(budget_s)
    if loaded:
        importlib.import_module(loaded)
        multiprocessing.set_forkserver_preload([loaded])
    here = loaded_cells() if loaded else bare_cells()
    for method in dict.fromkeys(method for method, _ in here):
        _start(method, "")  # the first of each also starts the fork server or the resource tracker
    probes = {cell: Probe(key=cell, call=partial(_start, *cell), prepare=_reap, is_warmed=False) for cell in here}
    quick = [probe for cell, probe in probes.items() if loaded or not cell[1]]
    slow = [probe for probe in probes.values() if probe not in quick]
    share = SHARE_OF_BARE if slow else 1.0
    seconds = interleave(quick, budget_s=share * budget.left_s)
    # A start with the forest's library is timed whatever the budget.
    seconds |= interleave(slow, budget_s=max(AN_INSTANT_S, budget.left_s), minimum_rounds=0)
    _reap()
    return [(*cell, seconds[cell]) for cell in here if cell in seconds]
