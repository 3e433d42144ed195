"""What it costs to hand data to another process, by size: pickled, as raw bytes through a pipe, by shared memory.

From the moment the sender holds the data until the receiver, which can then use all of it, has said so. Shared
memory is written once by the sender and used in place; the others are copied into and out of a pipe.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

from inferbench_lib.errors import MeasurementError
from inferbench_lib.machine.clean_process import answer_of
from inferbench_lib.machine.limit import Limit, Probe, cost, interleave

METHODS = ("pickle", "pipe", "shared memory")
SIZES_BYTES = (1 << 10, 64 << 10, 1 << 20, 16 << 20)
_LAST_BYTE = 7


@dataclass(frozen=True, kw_only=True)
class TransferCost:
    """Seconds to hand `size_bytes` to another process."""

    method: str
    size_bytes: int
    limit: Limit

    @property
    def gb_per_s(self) -> float:
        """The rate at the median time."""
        return self.size_bytes / self.limit.value / 1e9


def transfer_costs(*, sizes_bytes: Sequence[int] = SIZES_BYTES, budget_s: float = 3.0) -> tuple[TransferCost, ...]:
    """The cost of each method and size; shared memory is left out where `/dev/shm` has no room for it.

    Raises MeasurementError when the measuring process fails.
    """
    sizes = json.dumps(list(sizes_bytes))
    rows = answer_of("inferbench_lib.machine.transfer", str(budget_s), sizes, timeout_s=60 + 10 * budget_s)
    return tuple(
        TransferCost(
            method=method,
            size_bytes=size,
            limit=cost(seconds, method=f"{method}, until the receiver answers, median of interleaved repeats"),
        )
        for method, size, seconds in rows
    )


def _fits_shared_memory(size_bytes: int) -> bool:
    """A segment above the file system's size is made gladly and kills its writer (SIGBUS)."""
    if not os.path.isdir("/dev/shm"):  # noqa: PTH112 - only Linux has it
        return True
    free = os.statvfs("/dev/shm")
    return free.f_bavail * free.f_frsize > 2 * size_bytes


def _receive(connection: Connection, segment_name: str) -> None:
    segment = SharedMemory(segment_name) if segment_name else None
    shared = segment.buf if segment else None
    while (method := connection.recv_bytes()) != b"end":
        if method == b"shared memory":
            assert shared is not None
            last = shared[int.from_bytes(connection.recv_bytes(), "little") - 1]
        else:
            data = connection.recv() if method == b"pickle" else connection.recv_bytes()
            last = data[-1]
        connection.send_bytes(bytes([last]))
    del shared  # a segment that is still looked at cannot be closed
    if segment is not None:
        segment.close()


def _sender(connection: Connection, shared: memoryview | None, method: str, size: int) -> Callable[[Any], int]:
    data = bytes(size - 1) + bytes([_LAST_BYTE])

    def send(_: object) -> int:
        connection.send_bytes(method.encode())
        if method == "pickle":
            connection.send(data)
        elif method == "pipe":
            connection.send_bytes(data)
        else:
            assert shared is not None
            shared[:size] = data
            connection.send_bytes(size.to_bytes(8, "little"))
        return connection.recv_bytes()[0]

    return send


def _check(_: object, last_byte: int) -> None:
    if last_byte != _LAST_BYTE:
        raise MeasurementError(f"transfer: expected the receiver to see {_LAST_BYTE} at the end, got {last_byte}")


def _main(budget_s: float, sizes: Sequence[int]) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    shared_sizes = [size for size in sizes if _fits_shared_memory(size)]
    segment = SharedMemory(create=True, size=max(shared_sizes)) if shared_sizes else None
    try:
        receiver = context.Process(target=_receive, args=(theirs, segment.name if segment else ""), daemon=True)
        receiver.start()
        cells = [(m, size) for size in sizes for m in METHODS if m != "shared memory" or size in shared_sizes]
        probes = [
            Probe(key=cell, call=_sender(ours, segment.buf if segment else None, *cell), check=_check) for cell in cells
        ]
        seconds = interleave(probes, budget_s=budget_s)
        ours.send_bytes(b"end")
        receiver.join()
    finally:
        if segment is not None:
            segment.close()
            segment.unlink()
    print(json.dumps([[*cell, seconds[cell]] for cell in cells]))


if __name__ == "__main__":
    _main(float(sys.argv[1]), json.loads(sys.argv[2]))
