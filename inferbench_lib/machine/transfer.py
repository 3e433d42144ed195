"""Measure the cost of handing data to another process, by size: pickled, raw in a pipe, in shared memory, in a file.

It lasts from the moment when the sender holds the data until the receiver answers that it can use all of it. The
sender writes shared memory, and a file that both have mapped, once, and the receiver uses it in place. The other
methods copy the data into and out of a pipe.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from inferbench_lib.errors import MeasurementError
from inferbench_lib.machine.limit import Limit, call_in_a_process, cost
from inferbench_lib.processes.shared_array import SharedArray
from inferbench_lib.timing.loop import Probe, interleave

COPIED = ("pickle", "pipe")
METHODS = (*COPIED, "shared memory", "memory map")
SIZES_BYTES = (1 << 10, 64 << 10, 1 << 20, 16 << 20)
_LAST_BYTE = 7


@dataclass(frozen=True, kw_only=True)
class TransferCost:
    """Seconds to hand `size_bytes` to another process."""

    method: str
    size_bytes: int
    limit: Limit


def transfer_costs(
    *, sizes_bytes: Sequence[int] = SIZES_BYTES, budget_s: float = 3.0, timeout_s: float = 90.0
) -> tuple[TransferCost, ...]:
    """Measure each method and size; shared memory is left out where there is no room for it.

    Raises MeasurementError when the measuring process fails or takes longer than `timeout_s`.
    """
    rows = call_in_a_process(transfer_seconds, budget_s, sizes_bytes, timeout_s=timeout_s)
    return tuple(
        TransferCost(
            method=method,
            size_bytes=size,
            limit=cost(seconds, method=f"{method}, until the receiver answers, median of interleaved repeats"),
        )
        for method, size, seconds in rows
    )


def transfer_seconds(budget_s: float, sizes: Sequence[int]) -> list[tuple[str, int, list[float]]]:
    """Return (method, size in bytes, seconds per transfer) from this process to a spawned one."""
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
        cells = [(method, size) for size in sizes for method in METHODS if method in COPIED or method in shared]
        probes = [Probe(key=cell, call=_sender(ours, shared, *cell), check=_check) for cell in cells]
        seconds = interleave(probes, budget_s=budget_s)
        ours.send_bytes(b"end")
        receiver.join()
    return [(*cell, seconds[cell]) for cell in cells]


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
