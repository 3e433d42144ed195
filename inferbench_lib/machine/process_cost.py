"""What it costs to start a process, by start method, and with the libraries that a worker needs.

From before `Process.start()` until the child's first word, its imports included; the first start of each method, which
also starts its helpers, is not counted. The parent is a bare Python of one
thread, so that fork is safe and its cost is the least possible: a fork copies the parent's page tables, and a
parent that holds gigabytes pays more.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any

from inferbench_lib.machine.clean_process import answer_of
from inferbench_lib.machine.limit import Limit, Probe, cost, interleave

IMPORTS = ("sklearn.ensemble", "torch")


@dataclass(frozen=True, kw_only=True)
class StartCost:
    """Seconds until a started process answers; `imports` is the module that it loads first, or empty."""

    method: str
    imports: str
    limit: Limit


def start_costs(*, budget_s: float = 8.0) -> tuple[StartCost, ...]:
    """The cost of every start method here, bare, and of spawn with each library that is installed.

    Raises MeasurementError when the measuring process fails.
    """
    rows = answer_of("inferbench_lib.machine.process_cost", str(budget_s), timeout_s=60 + 10 * budget_s)
    return tuple(
        StartCost(
            method=method,
            imports=imports,
            limit=cost(
                seconds, method="until the child's first word, from a bare parent, median of interleaved repeats"
            ),
        )
        for method, imports, seconds in rows
    )


def cells() -> list[tuple[str, str]]:
    """(start method, module to import): a fresh interpreter imports as long whichever method started it."""
    bare = [(method, "") for method in multiprocessing.get_all_start_methods()]
    return bare + [("spawn", module) for module in IMPORTS if find_spec(module.partition(".")[0])]


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


def _main(budget_s: float) -> None:
    for method in multiprocessing.get_all_start_methods():
        _start(method, "")  # the first of each also starts the fork server or the resource tracker
    probes = [Probe(key=cell, call=_call(cell), prepare=_reap, is_warmed=False) for cell in cells()]
    seconds = interleave(probes, budget_s=budget_s)
    _reap()
    print(json.dumps([[*cell, seconds[cell]] for cell in cells()]))


if __name__ == "__main__":
    _main(float(sys.argv[1]))
