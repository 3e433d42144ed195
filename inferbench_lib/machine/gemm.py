"""Measure the highest matrix-multiplication rate per precision and thread count, over the installed libraries.

C = A·B of n × n matrices costs 2·n³ operations (Golub and Van Loan, Matrix Computations, 1.1.11). Which library is
fastest depends on the machine, so each is measured and the fastest one is the roof.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np

from inferbench_lib.errors import WrongOutput
from inferbench_lib.machine.limit import Limit, ceiling
from inferbench_lib.timing.clock import Clock, WallClock
from inferbench_lib.timing.loop import Budget, Probe, after, collect, interleave

DTYPES = ("fp32", "fp64", "bf16", "int8")
SMALLEST, LARGEST = 256, 4096
LONG_ENOUGH_S = 0.01
ROWS = 64  # random rows, repeated: drawing whole matrices takes longer than multiplying them
# Largest difference of one element from its exact value, over √n. Elements of A and B are about 1, and rounding errors
# add up like a random walk. bf16 keeps 8 bits of the sum, fp16 11.
TOLERANCE = {"fp32": 1e-4, "fp64": 1e-12, "fp16": 4e-3, "bf16": 2e-2, "int8": 0.0}


@dataclass(frozen=True, kw_only=True)
class GemmPeak:
    """The rate of the fastest library, at its faster size n × n, in GFLOP/s (integer operations for int8)."""

    dtype: str
    n_threads: int
    library: str
    n: int
    limit: Limit


@dataclass(frozen=True, kw_only=True)
class Product:
    """A multiplication that is ready to run: `multiply()` gives C, whose first element is `expected`."""

    dtype: str
    n: int
    multiply: Callable[[], Any]
    expected: float

    def call(self, _: object) -> Any:
        """Multiply, as the timing loop calls it."""
        return self.multiply()

    def peak(self, seconds: Sequence[float]) -> Limit:
        """Return the highest rate of 2·n³ operations per multiplication."""
        return ceiling(seconds, 2 * self.n**3 / 1e9, "GFLOP/s")

    def check(self, _: object, product: Any) -> None:
        """Raise WrongOutput when the first element of C is not the expected one."""
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
    """Measure the peak for every precision and thread count that an installed library can multiply in.

    The size is a power of two at which one thread takes at least 10 ms, larger for many threads, at most 4096. Half
    of it is measured too, and the faster one counts.
    Thread counts are set in this process and restored. A library that cannot multiply in a precision, or multiplies
    wrongly at any size, has no peak there, and `on_refusal` gets the reason. Raises WrongOutput when no library is
    left for fp32.
    """
    budget = Budget(budget_s)
    refused: dict[tuple[str, str], str] = {}
    products: dict[tuple[str, int, str, int], Product] = {}
    with _thread_setter() as set_threads:
        set_threads(1)
        for (dtype, library), make in _libraries().items():
            if dtype not in dtypes:
                continue
            try:
                slow_enough = long_enough(make)
            except (RuntimeError, WrongOutput) as error:  # RuntimeError: how torch says that it cannot
                refused[dtype, library] = str(error).splitlines()[0]
                continue
            # Half the size may be faster, because the caches hold all of it.
            sizes = {n_threads: size_for(slow_enough, n_threads) for n_threads in thread_counts}
            cells = {(n_threads, n) for n_threads, most in sizes.items() for n in (max(SMALLEST, most // 2), most)}
            ready = {n: make(n) for n in {n for _, n in cells}}
            products |= {(dtype, n_threads, library, n): ready[n] for n_threads, n in sorted(cells)}

        def check(which: tuple[str, str], product: Product, batch: object, output: Any) -> None:
            try:
                product.check(batch, output)
            except WrongOutput as error:
                refused.setdefault(which, str(error))

        probes = [
            Probe(
                key=key,
                call=product.call,
                prepare=partial(set_threads, key[1]),
                check=partial(check, (key[0], key[2]), product),
            )
            for key, product in products.items()
        ]
        seconds = interleave(probes, budget_s=budget.left_s)
    for (dtype, library), reason in refused.items():
        on_refusal(f"matrix multiplication: {dtype} by {library}", reason)
    found = [
        GemmPeak(dtype=dtype, n_threads=n_threads, library=library, n=n, limit=product.peak(seconds[key]))
        for key, product in products.items()
        for dtype, n_threads, library, n in [key]
        if (dtype, library) not in refused
    ]
    if "fp32" in dtypes and not any(peak.dtype == "fp32" for peak in found):
        raise WrongOutput(
            f"matrix product in fp32: expected a library that multiplies correctly, got none "
            f"({'; '.join(f'{library}: {why}' for (dtype, library), why in refused.items() if dtype == 'fp32')}); "
            "reinstall numpy or torch"
        )
    found.sort(key=lambda peak: (dtypes.index(peak.dtype), peak.n_threads, peak.limit.value))
    return tuple({(peak.dtype, peak.n_threads): peak for peak in found}.values())  # of each cell the last, the fastest


def long_enough(
    make: Callable[[int], Product],
    *,
    smallest: int = SMALLEST,
    largest: int = LARGEST,
    shortest_s: float = LONG_ENOUGH_S,
    clock: Clock | None = None,
) -> int:
    """Return the first of `smallest` and its doubles whose multiplication takes `shortest_s`; at most `largest`.

    The faster of two multiplications counts, after one that warms up. Raises WrongOutput for a wrong product.
    """
    clock, n = clock or WallClock(), smallest
    while 2 * n <= largest:
        product = make(n)
        product.multiply()
        if min(collect(product.call, repeat(None), clock=clock, enough=after(2), check=product.check)) >= shortest_s:
            break
        n *= 2
    return n


def size_for(n: int, n_threads: int) -> int:
    """Return the size at which several threads take about as long as one takes at `n`: operations grow as n³."""
    return min(LARGEST, n << round(math.log2(n_threads) / 3))


def _libraries() -> dict[tuple[str, str], Callable[[int], Product]]:
    """Return, by (precision, library), a function that makes a product of a given size."""
    import torch

    pairs = [("fp32", "numpy"), ("fp64", "numpy"), ("fp32", "torch"), ("fp64", "torch"), ("bf16", "torch")]
    if hasattr(torch, "_int_mm"):  # int8 × int8 → int32; torch has no public name for it
        pairs.append(("int8", "torch"))
    return {(dtype, library): partial(product_of, library, dtype) for dtype, library in pairs}


def product_of(library: str, dtype: str, n: int, device: str = "cpu") -> Product:
    """Return the product of two n × n matrices by numpy, or by torch on `device`; int8 on the CPU alone."""
    import torch

    generator = torch.Generator().manual_seed(0)
    if dtype == "int8":
        rows = [torch.randint(-8, 8, (ROWS, n), dtype=torch.int8, generator=generator) for _ in range(2)]
    else:
        kind = {"fp32": torch.float32, "fp64": torch.float64, "fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
        rows = [torch.randn((ROWS, n), generator=generator).to(kind) for _ in range(2)]
    a, b = (some.repeat(n // ROWS, 1) for some in rows)
    expected = math.fsum((a[0].double() * b[:, 0].double()).tolist())
    multiply: Callable[[], Any]
    if dtype == "int8":
        multiply = partial(torch._int_mm, a, b)
    elif library == "numpy":
        multiply = partial(np.matmul, a.numpy(), b.numpy(), out=torch.empty_like(a).numpy())
    else:
        multiply = partial(torch.mm, a.to(device), b.to(device), out=torch.empty_like(a, device=device))
    return Product(dtype=dtype, n=n, multiply=multiply, expected=expected)


@contextmanager
def _thread_setter() -> Iterator[Callable[[int], None]]:
    """Set the threads of every BLAS and OpenMP library that is loaded, and restore them at the end."""
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
