"""Measure memory bandwidth by working set: read, copy and triad, with one thread and with many.

Bytes are counted as STREAM counts them (McCalpin, www.cs.virginia.edu/stream): bytes read plus bytes written. A store
that misses the cache may first read the line that it overwrites. That traffic is not counted: where the CPU does so,
memory moved up to 1.5 times (copy) or 1.33 times (triad) as much. A working set of at least four times the last cache
measures memory (STREAM's rule).

read: `torch.sum` of x. copy: `numpy.copyto(a, b)`. triad: `torch.add(b, c, alpha=s, out=a)`, a = b + s·c in one pass.
Compared with loops in C (gcc -O3 -fopenmp, 0.5 GB, 2 threads) on a quiet machine: read 29.8 GB/s against 29–30,
triad 30.5 against 28.9–29.4, copy 27.5 against 25.4–26.3. That holds for copy with ordinary stores only: `copyto`
calls memcpy, and above a threshold glibc's memcpy uses non-temporal stores. They bypass the caches and do not read
the line that they overwrite. With GLIBC_TUNABLES=glibc.cpu.x86_non_temporal_threshold=0x4000000 the same copy reached
48.7 GB/s.
Each thread works on its own part. Several threads do not copy parts below 1 MiB, because that would measure Python's
lock between calls. One call costs about 1 µs, which affects copy and triad below 256 KiB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferbench_lib.machine.limit import Limit, ceiling, fourfold
from inferbench_lib.timing.loop import Budget, Probe, interleave

ROOF_OPERATIONS = ("read", "triad")
"""Operations that load and store as kernels do. Copy may not (see above): no kernel that reads comes near it."""
SMALLEST_BYTES = 32 << 10
SMALLEST_SHARED_PART_BYTES = 1 << 20
BYTES_PER_CALL = 64 << 20
MEMORY_OVER_CACHE = 4  # STREAM's rule
LARGEST_BYTES = 2 << 30
SHARE_OF_AVAILABLE = 8

Part = NDArray[np.float64]
Pass = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Bandwidth:
    """GB/s of one operation; `working_set_bytes` is over all threads, `level` is the cache that holds it, or "RAM"."""

    operation: str
    working_set_bytes: int
    n_threads: int
    level: str
    limit: Limit


def bandwidths(
    thread_counts: Sequence[int], *, caches: Mapping[str, int], largest_bytes: int, budget_s: float
) -> tuple[Bandwidth, ...]:
    """Measure bandwidth at working sets from 32 KiB to `largest_bytes`, in steps of four, smallest first."""
    import torch

    budget, most = Budget(budget_s), max(thread_counts)
    buffer = np.empty(largest_bytes // 8)
    # The number of torch's threads holds for the thread that sets it.
    pools = {n: ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,)) for n in thread_counts}
    try:
        list(pools[most].map(lambda part: part.fill(1.0), np.array_split(buffer, most)))
        cells = [
            (operation, size, n_threads)
            for size in working_sets(largest_bytes)
            for n_threads in thread_counts
            for operation in OPERATIONS
            if is_measurable(operation, size, n_threads)
        ]
        probes = [_probe(buffer, pools[n_threads], operation, size, n_threads) for operation, size, n_threads in cells]
        seconds = interleave(probes, budget_s=budget.left_s)
    finally:
        for pool in pools.values():
            pool.shutdown()
    return tuple(
        Bandwidth(
            operation=operation,
            working_set_bytes=size,
            n_threads=n_threads,
            level=level_of(size, n_threads, caches),
            limit=ceiling(seconds[operation, size, n_threads], n_passes(size, n_threads) * size / 1e9, "GB/s"),
        )
        for operation, size, n_threads in cells
    )


def memory_bandwidth(points: Sequence[Bandwidth]) -> Bandwidth:
    """Return the memory roof: the faster of read and triad at the largest working set with the most threads.

    Copy does not count: its stores may bypass the caches, and ordinary loads and stores do not reach that rate.
    """
    rivals = [point for point in points if point.operation in ROOF_OPERATIONS]
    return max(rivals, key=lambda point: (point.working_set_bytes, point.n_threads, point.limit.value))


def working_sets(largest_bytes: int) -> tuple[int, ...]:
    """Return sizes from 32 KiB in steps of four, and `largest_bytes` itself at the end."""
    return tuple(dict.fromkeys((*fourfold(SMALLEST_BYTES, largest_bytes), largest_bytes)))


def largest_working_set(available_bytes: int, caches: Mapping[str, int]) -> int:
    """Return four times the last cache, at least 256 MiB, but at most 2 GiB and an eighth of the available memory."""
    last_cache = max(caches.values(), default=0)
    wanted = max(256 << 20, MEMORY_OVER_CACHE * last_cache)
    return min(wanted, LARGEST_BYTES, available_bytes // SHARE_OF_AVAILABLE) // 4096 * 4096


def level_of(working_set_bytes: int, n_threads: int, caches: Mapping[str, int]) -> str:
    """Return the smallest cache that holds it (L1d, L2: per thread; L3: all threads), "RAM", or "unknown"."""
    part = working_set_bytes / n_threads
    if not caches:
        return "unknown"
    for level, held in (("L1d", part), ("L2", part), ("L3", working_set_bytes)):
        if held <= caches.get(level, 0):
            return level
    return "RAM"


def is_measurable(operation: str, working_set_bytes: int, n_threads: int) -> bool:
    """Return True where threads measure memory and not Python's lock."""
    return n_threads == 1 or operation == "read" or working_set_bytes // n_threads >= SMALLEST_SHARED_PART_BYTES


def n_passes(working_set_bytes: int, n_threads: int) -> int:
    """Return the passes over the working set in one timed call: enough that starting the threads does not count."""
    return max(1, BYTES_PER_CALL * n_threads // working_set_bytes)


def _probe(buffer: Part, pool: ThreadPoolExecutor, operation: str, size: int, n_threads: int) -> Probe:
    # A thread uses the start of its share of the buffer: the pages that it touched.
    parts = (share[: size // 8 // n_threads] for share in np.array_split(buffer, n_threads))
    works = [OPERATIONS[operation](part, n_passes(size, n_threads)) for part in parts]

    def call(_: object) -> None:
        for future in [pool.submit(work) for work in works]:
            future.result()

    return Probe(key=(operation, size, n_threads), call=call)


def _read(part: Part, passes: int) -> Pass:
    import torch

    again = torch.from_numpy(part).expand(passes, len(part))  # the same memory, `passes` times
    return lambda: torch.sum(again)


def _copy(part: Part, passes: int) -> Pass:
    half = len(part) // 2
    return _repeated(partial(np.copyto, part[:half], part[half : 2 * half]), passes)


def _triad(part: Part, passes: int) -> Pass:
    import torch

    third = len(part) // 3
    a, b, c = (torch.from_numpy(part[i * third : (i + 1) * third]) for i in range(3))
    return _repeated(partial(torch.add, b, c, alpha=3.0, out=a), passes)


def _repeated(call: Pass, passes: int) -> Pass:
    def run() -> None:
        for _ in range(passes):
            call()

    return run


OPERATIONS: Mapping[str, Callable[[Part, int], Pass]] = {"read": _read, "copy": _copy, "triad": _triad}
