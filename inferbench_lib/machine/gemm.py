"""Measure the highest matrix-multiplication rate per precision and thread count, over the installed libraries.

C = A·B of n × n matrices costs 2·n³ operations (Golub and Van Loan, Matrix Computations, 1.1.11). Which library is
fastest depends on the machine, so each is measured and the fastest one is the roof.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

from inferbench_lib.errors import WrongOutput
from inferbench_lib.machine.limit import Limit, ceiling
from inferbench_lib.timing.clock import Clock, WallClock
from inferbench_lib.timing.loop import after, collect
from inferbench_lib.timing.turns import Budget, Probe, interleave

DTYPES = ("fp32", "fp64", "bf16", "int8")
SMALLEST, LARGEST = 256, 4096
LONG_ENOUGH_S = 0.01
ROWS = 64  # random rows, repeated: drawing whole matrices takes longer than multiplying them
# Largest difference of one element from its exact value, over √n. Elements of A and B are about 1, and rounding errors
# add up like a random walk. bf16 keeps 8 bits of the sum, fp16 11.
TOLERANCE = {"fp32": 1e-4, "fp64": 1e-12, "fp16": 4e-3, "bf16": 2e-2, "int8": 0.0}


@dataclass(frozen=True, kw_only=True)
class GemmPeak:
    """The fastest library's rate in GFLOP/s (integer operations for int8), with that of every library."""

    dtype: str
    n_threads: int
    library: str
    limit: Limit
    by_library: Mapping[str, Limit]


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

    def peak(self, seconds: Sequence[float], method: str) -> Limit:
        """Return the highest rate of 2·n³ operations per multiplication."""
        return ceiling(seconds, 2 * self.n**3 / 1e9, unit="GFLOP/s", method=method)

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
            # Half the size may be faster, because the caches hold all of it.
            sizes = {n_threads: {max(SMALLEST, n // 2), n} for n_threads, n in largest.items()}
            ready = {n: make(n) for n in set().union(*sizes.values())}
            for n_threads, n in [(n_threads, n) for n_threads, both in sizes.items() for n in sorted(both)]:
                key, prepare = (dtype, n_threads, library, n), partial(set_threads, n_threads)
                products[key] = ready[n]
                check = partial(_note_if_wrong, ready[n], refused, (dtype, library))
                probes.append(Probe(key=key, call=ready[n].call, prepare=prepare, check=check))
        seconds = interleave(probes, budget_s=budget.left_s)
    for (dtype, library), reason in refused.items():
        on_refusal(f"{dtype} by {library}", reason)
    cells: dict[tuple[str, int], dict[str, Limit]] = {}
    for (dtype, n_threads, library, n), product in products.items():
        if (dtype, library) not in refused:
            by_library = cells.setdefault((dtype, n_threads), {})
            seen = product.peak(seconds[dtype, n_threads, library, n], f"{library}, {n} × {n}")
            by_library[library] = max(by_library.get(library, seen), seen, key=lambda limit: limit.value)
    if "fp32" in dtypes and not any(dtype == "fp32" for dtype, _ in cells):
        raise WrongOutput(
            f"matrix product in fp32: expected a library that multiplies correctly, got none "
            f"({'; '.join(f'{library}: {why}' for (dtype, library), why in refused.items() if dtype == 'fp32')}); "
            "reinstall numpy or torch"
        )
    return tuple(_peak(cell, cells[cell]) for cell in sorted(cells, key=lambda cell: (dtypes.index(cell[0]), cell[1])))


def long_enough(
    make: Callable[[int], Product],
    *,
    smallest: int = SMALLEST,
    largest: int = LARGEST,
    shortest_s: float = LONG_ENOUGH_S,
    clock: Clock | None = None,
) -> int:
    """Return the first of `smallest` and its doubles whose multiplication takes `shortest_s`; at most `largest`.

    The faster of two multiplications counts, after one that warms up.
    """
    clock, n = clock or WallClock(), smallest
    while 2 * n <= largest:
        product = make(n)
        product.multiply()
        if min(collect(product.call, repeat(None), clock=clock, enough=after(2), check=_unchecked)) >= shortest_s:
            break
        n *= 2
    return n


def size_for(n: int, n_threads: int) -> int:
    """Return the size at which several threads take about as long as one takes at `n`: operations grow as n³."""
    return min(LARGEST, n << round(math.log2(n_threads) / 3))


def _unchecked(batch: object, output: object) -> None:
    return None


def _note_if_wrong(
    product: Product, refused: dict[tuple[str, str], str], which: tuple[str, str], batch: object, output: Any
) -> None:
    try:
        product.check(batch, output)
    except WrongOutput as error:
        refused.setdefault(which, str(error))


def _peak(cell: tuple[str, int], by_library: Mapping[str, Limit]) -> GemmPeak:
    best = max(by_library, key=lambda library: by_library[library].value)
    return GemmPeak(dtype=cell[0], n_threads=cell[1], library=best, limit=by_library[best], by_library=by_library)


def _libraries() -> dict[tuple[str, str], Callable[[int], Product]]:
    """Return, by (precision, library), a function that makes a product of a given size."""
    import torch

    makers: dict[tuple[str, str], Callable[[int], Product]] = {
        ("fp32", "numpy"): partial(_numpy_product, "fp32"),
        ("fp64", "numpy"): partial(_numpy_product, "fp64"),
        ("fp32", "torch"): partial(torch_product, "fp32"),
        ("fp64", "torch"): partial(torch_product, "fp64"),
        ("bf16", "torch"): partial(torch_product, "bf16"),
    }
    if hasattr(torch, "_int_mm"):  # int8 × int8 → int32; torch has no public name for it
        makers["int8", "torch"] = partial(torch_product, "int8")
    return makers


def _numpy_product(dtype: str, n: int) -> Product:
    import numpy as np

    generator = np.random.default_rng(0)
    kind = {"fp32": np.float32, "fp64": np.float64}[dtype]
    a, b = (np.tile(generator.standard_normal((ROWS, n)).astype(kind), (n // ROWS, 1)) for _ in range(2))
    product = np.empty((n, n), dtype=kind)
    expected = math.fsum(a[0].astype(np.float64) * b[:, 0].astype(np.float64))
    return Product(dtype=dtype, n=n, multiply=partial(np.matmul, a, b, out=product), expected=expected)


def torch_product(dtype: str, n: int, device: str = "cpu") -> Product:
    """Return the product of two n × n matrices by torch, on `device`; int8 on the CPU alone."""
    import torch

    generator = torch.Generator().manual_seed(0)
    if dtype == "int8":
        rows = [torch.randint(-8, 8, (ROWS, n), dtype=torch.int8, generator=generator) for _ in range(2)]
        a, b = (some.repeat(n // ROWS, 1) for some in rows)
        multiply = partial(torch._int_mm, a, b)
    else:
        kind = {"fp32": torch.float32, "fp64": torch.float64, "fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
        a, b = (torch.randn((ROWS, n), generator=generator).to(kind).repeat(n // ROWS, 1) for _ in range(2))
        result = torch.empty((n, n), dtype=kind, device=device)
        multiply = partial(torch.mm, a.to(device), b.to(device), out=result)
    expected = math.fsum((a[0].double() * b[:, 0].double()).tolist())
    return Product(dtype=dtype, n=n, multiply=multiply, expected=expected)


@contextmanager
def _thread_setter() -> Iterator[Callable[[int], None]]:
    """Set the threads of every BLAS and OpenMP library that is loaded, and restore them at the end."""
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
