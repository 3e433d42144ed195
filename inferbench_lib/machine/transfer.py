"""Measure the cost of handing data to another process, by size: pickled, raw in a pipe, in shared memory, in a file.

It lasts from the moment when the sender holds the data until the receiver answers that it can use all of it. The
sender writes shared memory, and a file that both have mapped, once, and the receiver uses it in place. The other
methods copy the data into and out of a pipe.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from inferbench_lib.errors import MeasurementError
from inferbench_lib.machine.limit import Limit, call_in_a_process, cost
from inferbench_lib.timing.loop import Probe, interleave

METHODS = ("pickle", "pipe", "shared memory", "memory map")
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
    """Measure each method and size; shared memory is left out where `/dev/shm` has no room for it.

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


def _fits_shared_memory(size_bytes: int) -> bool:
    """Return True where there is room: a larger segment can be created, but kills its writer (SIGBUS)."""
    if not os.path.isdir("/dev/shm"):  # noqa: PTH112 - only Linux has it
        return True
    free = os.statvfs("/dev/shm")
    return free.f_bavail * free.f_frsize > 2 * size_bytes


def _receive(connection: Connection, segment_name: str, file: str) -> None:
    with ExitStack() as stack:
        shared = _views(stack, SharedMemory(segment_name) if segment_name else None, file)
        while (method := connection.recv_bytes().decode()) != "end":
            if method in shared:
                last = shared[method][int.from_bytes(connection.recv_bytes(), "little") - 1]
            else:
                data = connection.recv() if method == "pickle" else connection.recv_bytes()
                last = data[-1]
            connection.send_bytes(bytes([last]))


def _views(stack: ExitStack, segment: SharedMemory | None, file: str) -> Mapping[str, memoryview]:
    """Return, by method, the memory that both processes see until the stack closes."""
    views = {}
    if segment is not None:
        stack.callback(segment.close)
        assert segment.buf is not None
        views["shared memory"] = segment.buf
    with Path(file).open("r+b") as opened:
        mapped = stack.enter_context(mmap.mmap(opened.fileno(), 0))
    views["memory map"] = stack.enter_context(memoryview(mapped))
    return views


def _sender(connection: Connection, shared: Mapping[str, memoryview], method: str, size: int) -> Callable[[Any], int]:
    data = bytes(size - 1) + bytes([_LAST_BYTE])

    def send(_: object) -> int:
        connection.send_bytes(method.encode())
        if method == "pickle":
            connection.send(data)
        elif method == "pipe":
            connection.send_bytes(data)
        else:
            shared[method][:size] = data
            connection.send_bytes(size.to_bytes(8, "little"))
        return connection.recv_bytes()[0]

    return send


def _check(_: object, last_byte: int) -> None:
    if last_byte != _LAST_BYTE:
        raise MeasurementError(f"transfer: expected the receiver to see {_LAST_BYTE} at the end, got {last_byte}")


@contextmanager
def _segment(size_bytes: int) -> Iterator[SharedMemory | None]:
    """Yield shared memory of that size, None for size 0; remove it afterwards."""
    segment = SharedMemory(create=True, size=size_bytes) if size_bytes else None
    try:
        yield segment
    finally:
        if segment is not None:
            segment.unlink()


def transfer_seconds(budget_s: float, sizes: Sequence[int]) -> list[tuple[str, int, list[float]]]:
    """Return (method, size in bytes, seconds per transfer) from this process to a spawned one."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    shared_sizes = [size for size in sizes if _fits_shared_memory(size)]
    # The stack closes the views first: a segment that still has views cannot be closed.
    with TemporaryDirectory() as folder, _segment(max(shared_sizes, default=0)) as segment, ExitStack() as stack:
        file = Path(folder) / "mapped"
        file.write_bytes(bytes(max(sizes)))
        receiver = context.Process(
            target=_receive, args=(theirs, segment.name if segment else "", str(file)), daemon=True
        )
        receiver.start()
        shared = _views(stack, segment, str(file))
        cells = [(m, size) for size in sizes for m in METHODS if m != "shared memory" or size in shared_sizes]
        probes = [Probe(key=cell, call=_sender(ours, shared, *cell), check=_check) for cell in cells]
        seconds = interleave(probes, budget_s=budget_s)
        ours.send_bytes(b"end")
        receiver.join()
    return [(*cell, seconds[cell]) for cell in cells]
