"""The highest matrix-multiplication rate by precision and threads: the best of the libraries that are here, named.

C = A·B of n × n matrices costs 2·n³ operations (Golub and Van Loan, Matrix Computations, 1.1.11). Which library wins
depends on the machine, so each is measured and the best one is the roof.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from inferbench_lib.errors import WrongOutput
from inferbench_lib.machine.limit import Limit, Probe, ceiling, interleave

DTYPES = ("fp32", "fp64", "bf16", "int8")
SMALLEST, LARGEST = 256, 4096
LONG_ENOUGH_S = 0.01
ROWS = 64  # drawn at random, and repeated: drawing whole matrices takes longer than multiplying them
# Largest difference of one element from its exact value, over √n: elements of A and B are about 1, and rounding errors
# add up like a random walk. bf16 keeps 8 bits of the sum, fp16 11.
TOLERANCE = {"fp32": 1e-4, "fp64": 1e-12, "fp16": 4e-3, "bf16": 2e-2, "int8": 0.0}


@dataclass(frozen=True, kw_only=True)
class GemmPeak:
    """The best library's rate in GFLOP/s (integer operations for int8), every library's beside it."""

    dtype: str
    n_threads: int
    library: str
    limit: Limit
    by_library: Mapping[str, Limit]


@dataclass(frozen=True, kw_only=True)
class Product:
    """One multiplication ready to run: `multiply()` gives C, whose first element is `expected`."""

    dtype: str
    n: int
    multiply: Callable[[], Any]
    expected: float

    def check(self, _: object, product: Any) -> None:
        """Raises WrongOutput when the first element of C is not what it should be."""
        difference = abs(float(product[0, 0]) - self.expected)
        allowed = TOLERANCE[self.dtype] * math.sqrt(self.n)
        if not difference <= allowed:
            raise WrongOutput(
                f"matrix product in {self.dtype}, n = {self.n}: expected {self.expected:.6g} ± {allowed:.2g} "
                f"as its first element, got {float(product[0, 0]):.6g}; check the library that multiplies"
            )


def gemm_peaks(
    thread_counts: Sequence[int],
    *,
    dtypes: Sequence[str] = DTYPES,
    budget_s: float = 10.0,
    on_refusal: Callable[[str, str], None] = lambda what, reason: None,
) -> tuple[GemmPeak, ...]:
    """Peaks for every precision and thread count that a library here can multiply in.

    The size is a power of two at which one thread takes at least 10 ms, larger for many threads, at most 4096, or
    half of that, whichever is quicker.
    Thread counts are set in this process and put back. `on_refusal` hears of each precision in which a library cannot
    multiply here, or multiplies wrongly at any size, and why; it then has no peak. Raises WrongOutput when that leaves
    no library for fp32.
    """
    started_s = time.monotonic()
    refused: dict[tuple[str, str], str] = {}
    probes: list[Probe] = []
    products: dict[tuple[str, int, str, int], Product] = {}
    with _thread_setter() as set_threads:
        for (dtype, library), make in _libraries().items():
            if dtype not in dtypes:
                continue
            set_threads(1)
            try:
                small = make(SMALLEST)
                small.check(None, small.multiply())
            except (RuntimeError, WrongOutput) as error:  # RuntimeError: how torch says that it cannot
                refused[dtype, library] = str(error).splitlines()[0]
                continue
            slow_enough = long_enough(make)
            largest = {n_threads: size_for(slow_enough, n_threads) for n_threads in thread_counts}
            # Half the size may win, because the caches hold all of it.
            sizes = {n_threads: {max(SMALLEST, n // 2), n} for n_threads, n in largest.items()}
            ready = {n: make(n) for n in set().union(*sizes.values())}
            for n_threads, n in [(n_threads, n) for n_threads, both in sizes.items() for n in sorted(both)]:
                key, prepare = (dtype, n_threads, library, n), partial(set_threads, n_threads)
                products[key] = ready[n]
                check = partial(_note_if_wrong, ready[n], refused, (dtype, library))
                probes.append(Probe(key=key, call=_call(ready[n]), prepare=prepare, check=check))
        seconds = interleave(probes, budget_s=budget_s - (time.monotonic() - started_s))
    for (dtype, library), reason in refused.items():
        on_refusal(f"{dtype} by {library}", reason)
    limits: dict[tuple[str, int, str], Limit] = {}
    for (dtype, n_threads, library, n), product in products.items():
        if (dtype, library) in refused:
            continue
        seen = _limit(product, library, seconds[dtype, n_threads, library, n])
        best = limits.get((dtype, n_threads, library), seen)
        limits[dtype, n_threads, library] = max(best, seen, key=lambda limit: limit.value)
    cells = dict.fromkeys((dtype, n_threads) for dtype, n_threads, _ in limits)
    if "fp32" in dtypes and not any(dtype == "fp32" for dtype, _ in cells):
        raise WrongOutput(
            f"matrix product in fp32: expected a library that multiplies rightly, got none "
            f"({'; '.join(f'{library}: {why}' for (dtype, library), why in refused.items() if dtype == 'fp32')}); "
            "install numpy or torch anew"
        )
    return tuple(
        _peak(cell, {library: limit for (*rest, library), limit in limits.items() if tuple(rest) == cell})
        for cell in sorted(cells, key=lambda cell: (dtypes.index(cell[0]), cell[1]))
    )


def long_enough(make: Callable[[int], Product]) -> int:
    """The smallest power of two from 256 whose multiplication, the faster of two, takes 10 ms; at most 4096."""
    n = SMALLEST
    while n < LARGEST and _fastest_s(make(n).multiply) < LONG_ENOUGH_S:
        n *= 2
    return n


def size_for(n: int, n_threads: int) -> int:
    """The size at which several threads have about as long as one has at `n`: operations grow with its cube."""
    return min(LARGEST, n << round(math.log2(n_threads) / 3))


def _fastest_s(call: Callable[[], Any]) -> float:
    call()
    seconds = []
    for _ in range(2):
        started_s = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started_s)
    return min(seconds)


def _call(product: Product) -> Callable[[Any], Any]:
    return lambda _: product.multiply()


def _note_if_wrong(
    product: Product, refused: dict[tuple[str, str], str], which: tuple[str, str], batch: object, output: Any
) -> None:
    try:
        product.check(batch, output)
    except WrongOutput as error:
        refused.setdefault(which, str(error))


def _limit(product: Product, library: str, seconds: Sequence[float]) -> Limit:
    method = f"{library}, {product.n} × {product.n}, best of interleaved repeats"
    return ceiling(seconds, 2 * product.n**3 / 1e9, unit="GFLOP/s", method=method)


def _peak(cell: tuple[str, int], by_library: Mapping[str, Limit]) -> GemmPeak:
    best = max(by_library, key=lambda library: by_library[library].value)
    return GemmPeak(dtype=cell[0], n_threads=cell[1], library=best, limit=by_library[best], by_library=by_library)


def _libraries() -> dict[tuple[str, str], Callable[[int], Product]]:
    """(precision, library) → a maker of products of that size."""
    import torch

    makers: dict[tuple[str, str], Callable[[int], Product]] = {
        ("fp32", "numpy"): partial(_numpy_product, "fp32"),
        ("fp64", "numpy"): partial(_numpy_product, "fp64"),
        ("fp32", "torch"): partial(_torch_product, "fp32"),
        ("fp64", "torch"): partial(_torch_product, "fp64"),
        ("bf16", "torch"): partial(_torch_product, "bf16"),
    }
    if hasattr(torch, "_int_mm"):  # int8 × int8 → int32; torch has no public name for it
        makers["int8", "torch"] = partial(_torch_product, "int8")
    return makers


def _numpy_product(dtype: str, n: int) -> Product:
    import numpy as np

    generator = np.random.default_rng(0)
    kind = {"fp32": np.float32, "fp64": np.float64}[dtype]
    a, b = (np.tile(generator.standard_normal((ROWS, n)).astype(kind), (n // ROWS, 1)) for _ in range(2))
    product = np.empty((n, n), dtype=kind)
    expected = math.fsum(a[0].astype(np.float64) * b[:, 0].astype(np.float64))
    return Product(dtype=dtype, n=n, multiply=partial(np.matmul, a, b, out=product), expected=expected)


def _torch_product(dtype: str, n: int) -> Product:
    import torch

    generator = torch.Generator().manual_seed(0)
    if dtype == "int8":
        rows = [torch.randint(-8, 8, (ROWS, n), dtype=torch.int8, generator=generator) for _ in range(2)]
        a, b = (some.repeat(n // ROWS, 1) for some in rows)
        multiply = partial(torch._int_mm, a, b)
    else:
        kind = {"fp32": torch.float32, "fp64": torch.float64, "bf16": torch.bfloat16}[dtype]
        a, b = (torch.randn((ROWS, n), generator=generator).to(kind).repeat(n // ROWS, 1) for _ in range(2))
        multiply = partial(torch.mm, a, b, out=torch.empty((n, n), dtype=kind))
    expected = math.fsum((a[0].double() * b[:, 0].double()).tolist())
    return Product(dtype=dtype, n=n, multiply=multiply, expected=expected)


@contextmanager
def _thread_setter() -> Iterator[Callable[[int], None]]:
    """Sets the threads of every BLAS and OpenMP library that is loaded, and puts back what was before."""
    import numpy as np  # noqa: F401 - its BLAS must be loaded before the controller looks for it
    import torch
    from threadpoolctl import ThreadpoolController

    controller, torch_threads = ThreadpoolController(), torch.get_num_threads()

    def set_threads(n_threads: int) -> None:
        controller.limit(limits=n_threads)
        torch.set_num_threads(n_threads)

    with controller.limit(limits=torch_threads):
        try:
            yield set_threads
        finally:
            torch.set_num_threads(torch_threads)
