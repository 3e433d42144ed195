"""Measure the costs around work: an empty call, a torch operator, the start of a process, data handed to another one.

A start lasts from before `Process.start()` until the child's first message. A spawned child is a new interpreter that
imports the library itself. A child of fork or of a fork server has what its parent or the server had loaded. The first
start of each method, which also starts its helpers, does not count. The parent is a bare Python with one thread, so
that fork is safe and as cheap as possible. A fork copies page tables: a parent that holds gigabytes pays more.

A transfer lasts from the moment when the sender holds the data until the receiver answers that it can use all of it.
The sender writes shared memory, and a file that both have mapped, once, and the receiver uses it in place. The other
methods copy the data into and out of a pipe.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from inferbench_lib.errors import MeasurementError
from inferbench_lib.machine.limit import Limit, call_in_a_process, cost
from inferbench_lib.timing.loop import Budget, Probe, interleave

if TYPE_CHECKING:
    from inferbench_lib.processes.shared_array import SharedArray

CALLS_PER_SAMPLE = 10_000
IMPORTS = ("sklearn.ensemble", "torch")
LOADED_BUDGET_S = 4.0
"""Budget of the starts from a parent or a fork server that has loaded a library: loading takes seconds by itself."""
AN_INSTANT_S = 1e-3
SHARE_OF_BARE = 0.2  # a child that imports takes a hundred times as long
COPIED = ("pickle", "pipe")
METHODS = (*COPIED, "shared memory", "memory map")
SIZES_BYTES = (1 << 10, 64 << 10, 1 << 20, 16 << 20)
_LAST_BYTE = 7

Cell = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class StartCost:
    """Seconds until a started process answers; `imports` is the module that it has then, or empty."""

    method: str
    imports: str
    limit: Limit


@dataclass(frozen=True, kw_only=True)
class TransferCost:
    """Seconds to hand `size_bytes` to another process."""

    method: str
    size_bytes: int
    limit: Limit


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
    return {name: cost(seconds[name]) for name in calls}


def start_costs(*, budget_s: float = 8.0, timeout_s: float = 90.0) -> tuple[StartCost, ...]:
    """Measure those of the `cells()` that the budget reaches, in their order.

    Raises MeasurementError when the bare parent fails or takes longer than `timeout_s`.
    """
    time_limit = Budget(timeout_s)
    reaches_loaded = budget_s >= 2 * LOADED_BUDGET_S
    rows = call_in_a_process(start_seconds, budget_s - LOADED_BUDGET_S * reaches_loaded, "", timeout_s=timeout_s)
    if reaches_loaded and time_limit.left_s > LOADED_BUDGET_S:
        with suppress(MeasurementError):  # the machine is too slow: the bare starts are kept
            rows += call_in_a_process(start_seconds, LOADED_BUDGET_S, IMPORTS[0], timeout_s=time_limit.left_s)
    return tuple(StartCost(method=method, imports=imports, limit=cost(seconds)) for method, imports, seconds in rows)


def bare_cells() -> list[Cell]:
    """Return (start method, module to import) of a bare parent; only a spawned child imports anything itself."""
    bare = [(method, "") for method in multiprocessing.get_all_start_methods()]
    return bare + [("spawn", module) for module in IMPORTS]


def loaded_cells() -> list[Cell]:
    """Return the cells whose parent or fork server has loaded the forest's library beforehand."""
    return [(method, IMPORTS[0]) for method in multiprocessing.get_all_start_methods() if method != "spawn"]


def cells() -> list[Cell]:
    """Return all cells that this system offers, each once."""
    return bare_cells() + loaded_cells()


def start_seconds(budget_s: float, loaded: str) -> list[tuple[str, str, list[float]]]:
    """Return (start method, module, seconds per start), measured in this process after it has imported `loaded`."""
    budget = Budget(budget_s)
    if loaded:
        importlib.import_module(loaded)
        multiprocessing.set_forkserver_preload([loaded])
    here = loaded_cells() if loaded else bare_cells()
    started: list[multiprocessing.process.BaseProcess] = []

    def start(method: str, module: str, _: object = None) -> None:
        started.append(_start(method, module))

    def reap() -> None:
        while started:
            started.pop().join()

    for method in dict.fromkeys(method for method, _ in here):
        start(method, "")  # the first of each also starts the fork server or the resource tracker
    probes = {cell: Probe(key=cell, call=partial(start, *cell), prepare=reap, is_warmed=False) for cell in here}
    quick = [probe for cell, probe in probes.items() if loaded or not cell[1]]
    slow = [probe for probe in probes.values() if probe not in quick]
    share = SHARE_OF_BARE if slow else 1.0
    seconds = interleave(quick, budget_s=share * budget.left_s)
    # A start with the forest's library is timed whatever the budget.
    seconds |= interleave(slow, budget_s=max(AN_INSTANT_S, budget.left_s), minimum_rounds=0)
    reap()
    return [(*cell, seconds[cell]) for cell in here if cell in seconds]


def _start(method: str, module: str) -> multiprocessing.process.BaseProcess:
    """Start a process and wait for its first word."""
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process: multiprocessing.process.BaseProcess
    process = context.Process(target=_first_word, args=(sender, module), daemon=True)  # type: ignore[attr-defined]
    process.start()
    sender.close()
    receiver.recv_bytes()
    receiver.close()
    return process


def _first_word(sender: Connection, module: str) -> None:
    if module:
        importlib.import_module(module)
    sender.send_bytes(b"!")


def transfer_costs(
    *, sizes_bytes: Sequence[int] = SIZES_BYTES, budget_s: float = 3.0, timeout_s: float = 90.0
) -> tuple[TransferCost, ...]:
    """Measure each method and size; shared memory is left out where there is no room for it.

    Raises MeasurementError when the measuring process fails or takes longer than `timeout_s`.
    """
    rows = call_in_a_process(transfer_seconds, budget_s, sizes_bytes, timeout_s=timeout_s)
    return tuple(TransferCost(method=method, size_bytes=size, limit=cost(seconds)) for method, size, seconds in rows)


def transfer_seconds(budget_s: float, sizes: Sequence[int]) -> list[tuple[str, int, list[float]]]:
    """Return (method, size in bytes, seconds per transfer) from this process to a spawned one."""
    from inferbench_lib.processes.shared_array import SharedArray  # loads numpy, which no started process should

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with (
        SharedArray.empty(max(sizes), "u1") as memory,
        SharedArray.empty(max(sizes), "u1", in_memory=False) as file,
    ):
        in_memory = "memfd:" in os.path.realpath(memory.handle.path)  # else it had no room there, and is a file too
        shared = {"memory map": file} | ({"shared memory": memory} if in_memory else {})
        receiver = context.Process(target=_receive, args=(theirs, shared), daemon=True)
        receiver.start()
        pairs = [(method, size) for size in sizes for method in METHODS if method in COPIED or method in shared]
        probes = [Probe(key=pair, call=_sender(ours, shared, *pair), check=_check) for pair in pairs]
        seconds = interleave(probes, budget_s=budget_s)
        ours.send_bytes(b"end")
        receiver.join()
    return [(*pair, seconds[pair]) for pair in pairs]


def _receive(connection: Connection, shared: Mapping[str, SharedArray]) -> None:
    while (method := connection.recv_bytes().decode()) != "end":
        if method in shared:
            last = shared[method].array[int.from_bytes(connection.recv_bytes(), "little") - 1]
        else:
            data = connection.recv() if method == "pickle" else connection.recv_bytes()
            last = data[-1]
        connection.send_bytes(bytes([last]))


def _sender(connection: Connection, shared: Mapping[str, SharedArray], method: str, size: int) -> Callable[[Any], int]:
    data = bytes(size - 1) + bytes([_LAST_BYTE])

    def send(_: object) -> int:
        connection.send_bytes(method.encode())
        if method == "pickle":
            connection.send(data)
        elif method == "pipe":
            connection.send_bytes(data)
        else:
            shared[method].array.data[:size] = data
            connection.send_bytes(size.to_bytes(8, "little"))
        return connection.recv_bytes()[0]

    return send


def _check(_: object, last_byte: int) -> None:
    if last_byte != _LAST_BYTE:
        raise MeasurementError(f"transfer: expected the receiver to see {_LAST_BYTE} at the end, got {last_byte}")
