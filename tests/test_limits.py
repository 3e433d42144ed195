"""Measured limits: the arithmetic exact on a fake clock, the real thing sane and named."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferbench_lib.errors import MeasurementError, NotAvailable, WrongOutput
from inferbench_lib.machine import gemm, latency, limits, overheads
from inferbench_lib.machine.bandwidth import (
    Bandwidth,
    bandwidths,
    is_measurable,
    largest_working_set,
    level_of,
    memory_bandwidth,
    n_passes,
    working_sets,
)
from inferbench_lib.machine.gemm import Product, gemm_peaks, long_enough, size_for
from inferbench_lib.machine.latency import Chain, LoadLatency, chain, latencies
from inferbench_lib.machine.limit import Limit, call_in_a_process, ceiling, cost, fourfold, least
from inferbench_lib.machine.overheads import (
    StartCost,
    bare_cells,
    call_costs,
    cells,
    loaded_cells,
    start_costs,
    start_seconds,
    transfer_costs,
)
from inferbench_lib.machine.sampler import Sampler
from inferbench_lib.records import Flag, Machine
from inferbench_lib.timing.clock import WallClock
from inferbench_lib.timing.loop import Budget, Probe, interleave, take_turns
from inferbench_lib.timing.telemetry import Telemetry

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CACHES = {"L1d": 48 * KIB, "L1i": 32 * KIB, "L2": 2 * MIB, "L3": 32 * MIB}


class Time:
    """A clock that moves only when work is done on it."""

    def __init__(self) -> None:
        self.ns = 0

    def now_s(self) -> float:
        return self.ns / 1e9

    def work(self, seconds: float) -> Callable[[Any], None]:
        def call(_: Any) -> None:
            self.ns += round(seconds * 1e9)

        return call


def test_a_ceiling_is_the_best_repeat_and_names_the_worst() -> None:
    """12 GB in 2, 3 and 4 seconds are 6, 4 and 3 GB/s."""
    expected = Limit(value=6.0, low=3.0, high=6.0, unit="GB/s", repeats=3)
    assert ceiling([3.0, 2.0, 4.0], 12.0, "GB/s") == expected


def test_a_cost_is_the_median_repeat() -> None:
    """Between the lowest and the highest."""
    expected = Limit(value=2.0, low=1.0, high=9.0, unit="s", repeats=3)
    assert cost([9.0, 1.0, 2.0]) == expected


def test_the_least_repeat_of_what_only_disturbance_lengthens() -> None:
    """Its spread stays beside it."""
    expected = Limit(value=1.0, low=1.0, high=9.0, unit="s", repeats=3)
    assert least([9.0, 1.0, 2.0]) == expected


def test_probes_are_interleaved_until_the_budget_is_spent() -> None:
    """Probes of 1 s and 2 s, each also run once untimed, make a round of 6 s: three of them fit into 20 s."""
    time = Time()
    probes = [Probe(key="short", call=time.work(1.0)), Probe(key="long", call=time.work(2.0))]
    seconds = interleave(probes, budget_s=20.0, clock=WallClock(lambda: time.ns), now_s=time.now_s)
    assert seconds == {"short": [1.0, 1.0, 1.0], "long": [2.0, 2.0, 2.0]}
    assert time.now_s() == 18.0


def test_at_least_two_rounds_whatever_the_budget() -> None:
    """One repeat has no spread."""
    time = Time()
    seconds = interleave(
        [Probe(key="only", call=time.work(5.0), is_warmed=False)],
        budget_s=0.0,
        clock=WallClock(lambda: time.ns),
        now_s=time.now_s,
    )
    assert seconds == {"only": [5.0, 5.0]}


def test_probes_that_a_hard_budget_does_not_reach_have_no_value() -> None:
    """Without a least number of rounds the first one keeps the given order, and ends with the budget."""
    time = Time()
    probes = [Probe(key=name, call=time.work(4.0), is_warmed=False) for name in "abcde"]
    arguments: dict[str, Any] = {"minimum_rounds": 0, "clock": WallClock(lambda: time.ns), "now_s": time.now_s}
    assert interleave(probes, budget_s=10.0, **arguments) == {"a": [4.0], "b": [4.0], "c": [4.0]}
    assert interleave(probes, budget_s=0.0, **arguments) == {}
    assert interleave([], budget_s=10.0, **arguments) == {}


def test_every_round_runs_every_probe_in_an_order_of_its_own() -> None:
    """The order differs between rounds, repeats with the seed, and preparing comes before each turn."""

    def orders(seed: int) -> list[str]:
        time, seen = Time(), []
        for_all = [
            Probe(
                key=name,
                call=lambda _, n=name: (seen.append(n), time.work(1.0)(None)),
                prepare=lambda n=name: seen.append(f"prepare {n}"),
                is_warmed=False,
            )
            for name in "abcd"
        ]
        interleave(for_all, budget_s=40.0, seed=seed, clock=WallClock(lambda: time.ns), now_s=time.now_s)
        return seen

    seen = orders(seed=1)
    rounds = [tuple(seen[i : i + 8]) for i in range(0, len(seen), 8)]
    assert len(rounds) == 10
    assert len(set(rounds)) > 1
    for one in rounds:
        assert sorted(one[1::2]) == ["a", "b", "c", "d"]
        assert all(before == f"prepare {after}" for before, after in zip(one[::2], one[1::2], strict=True))
    assert orders(seed=1) == seen
    assert orders(seed=2) != seen


def test_turns_are_drawn_anew_per_round() -> None:
    """Every round has every name once; orders differ, and repeat with the seed."""
    rounds = list(islice(take_turns("abcd", seed=1), 10))
    assert all(sorted(order) == ["a", "b", "c", "d"] for order in rounds)
    assert len(set(rounds)) > 1
    assert rounds == list(islice(take_turns("abcd", seed=1), 10))
    assert rounds != list(islice(take_turns("abcd", seed=2), 10))


def test_a_budget_counts_down_and_below_zero() -> None:
    """Three seconds of work leave two of five, and three more overspend it by one."""
    time = Time()
    budget = Budget(5.0, time.now_s)
    time.work(3.0)(None)
    assert budget.left_s == 2.0
    time.work(3.0)(None)
    assert budget.left_s == -1.0


def test_blocks_are_divided_by_their_calls_and_checked() -> None:
    """A block of four 1 s calls is 1 s a call; the check sees each sample's last output."""
    time, checked = Time(), []
    probe = Probe(key="x", call=time.work(1.0), block_size=4, check=lambda batch, output: checked.append(output))
    assert interleave([probe], budget_s=0.0, clock=WallClock(lambda: time.ns), now_s=time.now_s) == {"x": [1.0, 1.0]}
    assert checked == [None, None]


def test_working_sets_grow_by_four_and_end_at_the_largest() -> None:
    """From below the first cache to the largest that is allowed."""
    assert working_sets(MIB) == (32 * KIB, 128 * KIB, 512 * KIB, MIB)
    assert working_sets(32 * KIB) == (32 * KIB,)


@pytest.mark.parametrize(
    ("available", "caches", "expected"),
    [
        (64 * GIB, CACHES, 256 * MIB),
        (64 * GIB, {"L3": 128 * MIB}, 512 * MIB),
        (64 * GIB, {"L3": 600 * MIB}, 2 * GIB),
        (1 * GIB, {"L3": 600 * MIB}, 128 * MIB),
        (64 * GIB, {}, 256 * MIB),
    ],
)
def test_largest_working_set(available: int, caches: dict[str, int], expected: int) -> None:
    """Four times the last cache, at least 256 MiB, at most 2 GiB and an eighth of what is available."""
    assert largest_working_set(available, caches) == expected


@pytest.mark.parametrize(
    ("working_set", "n_threads", "level"),
    [
        (48 * KIB, 1, "L1d"),
        (49 * KIB, 1, "L2"),
        (96 * KIB, 2, "L1d"),
        (4 * MIB, 2, "L2"),
        (4 * MIB, 1, "L3"),
        (GIB, 8, "RAM"),
    ],
)
def test_level_of_a_working_set(working_set: int, n_threads: int, level: str) -> None:
    """L1d and L2 belong to each thread, L3 to all."""
    assert level_of(working_set, n_threads, CACHES) == level


def test_level_without_cache_sizes_is_unknown() -> None:
    """A machine that does not tell its caches is not guessed at."""
    assert level_of(32 * KIB, 1, {}) == "unknown"


def test_what_threads_can_measure() -> None:
    """Small parts are read by many threads, not copied."""
    assert is_measurable("copy", 32 * KIB, 1)
    assert is_measurable("read", 32 * KIB, 8)
    assert is_measurable("triad", 8 * MIB, 8)
    assert not is_measurable("copy", 7 * MIB, 8)


def test_small_working_sets_are_passed_over_many_times() -> None:
    """64 MiB a thread and call, one pass where the working set is larger."""
    assert n_passes(32 * KIB, 1) == 2048
    assert n_passes(32 * KIB, 2) == 4096
    assert n_passes(GIB, 2) == 1


def point(operation: str, working_set: int, n_threads: int, gb_s: float) -> Bandwidth:
    """A bandwidth that was measured."""
    found = Limit(value=gb_s, low=gb_s, high=gb_s, unit="GB/s", repeats=2)
    return Bandwidth(operation=operation, working_set_bytes=working_set, n_threads=n_threads, level="RAM", limit=found)


def test_the_memory_roof_is_at_the_largest_working_set() -> None:
    """Not the fastest of all, which a cache gave, nor copy, whose stores may pass by the caches."""
    cached, one_thread = point("read", MIB, 2, 90.0), point("read", GIB, 1, 27.0)
    copy, slower, roof = point("copy", GIB, 2, 48.0), point("triad", GIB, 2, 24.0), point("read", GIB, 2, 25.0)
    assert memory_bandwidth([cached, one_thread, copy, slower, roof]) == roof
    assert memory_bandwidth([copy, slower]) == slower


def test_sizes_grow_with_the_threads() -> None:
    """Operations grow with the cube of the size, up to 4096."""
    assert [size_for(1024, n_threads) for n_threads in (1, 2, 4, 8, 64)] == [1024, 1024, 2048, 2048, 4096]
    assert size_for(4096, 64) == 4096


def test_a_multiplication_that_takes_no_time_ends_at_the_largest_size() -> None:
    """The search for a size ends."""

    def make(n: int) -> Product:
        return Product(dtype="fp32", n=n, multiply=lambda: np.zeros((1, 1)), expected=0.0)

    assert long_enough(make) == 4096


def test_a_wrong_product_is_no_peak() -> None:
    """A library that multiplies wrongly, or gives NaN, is named by what came and what was expected."""
    product = Product(dtype="fp32", n=256, multiply=lambda: None, expected=2.0)
    product.check(None, np.array([[2.001]]))
    with pytest.raises(WrongOutput) as caught:
        product.check(None, np.array([[2.5]]))
    assert str(caught.value) == (
        "matrix product in fp32, n = 256: expected 2 ± 0.0016 as its first element, got 2.5; "
        "check the library that multiplies"
    )
    with pytest.raises(WrongOutput):
        product.check(None, np.array([[float("nan")]]))


def test_a_library_that_cannot_multiply_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a precision that it refuses, or gets wrong; another library's peak stands."""

    def refuse(n: int) -> Product:
        raise RuntimeError("not implemented for 'Half'\nsomewhere in C++")

    def wrong(n: int) -> Product:
        return Product(dtype="fp32", n=n, multiply=lambda: np.zeros((1, 1)), expected=1e6)

    def right(n: int) -> Product:
        return Product(dtype="fp32", n=n, multiply=lambda: np.ones((1, 1)), expected=1.0)

    makers = {("bf16", "torch"): refuse, ("fp32", "torch"): wrong, ("fp32", "numpy"): right}
    monkeypatch.setattr(gemm, "_libraries", lambda: makers)
    refused: dict[str, str] = {}
    peaks = gemm_peaks((1,), budget_s=0.0, on_refusal=refused.__setitem__)
    assert [(peak.dtype, peak.library) for peak in peaks] == [("fp32", "numpy")]
    assert refused == {
        "matrix multiplication: bf16 by torch": "not implemented for 'Half'",
        "matrix multiplication: fp32 by torch": "matrix product in fp32, n = 256: expected 1e+06 ± 0.0016 "
        "as its first element, got 0; check the library that multiplies",
    }


def test_a_library_that_is_wrong_only_at_a_larger_size_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason is told and the others keep their peaks; without a library for fp32 there is nothing to stand on."""

    def wrong_when_large(dtype: str, n: int) -> Product:
        value = 1.0 if n == gemm.SMALLEST else 3.0
        return Product(dtype=dtype, n=n, multiply=lambda: np.full((1, 1), value), expected=1.0)

    def right(dtype: str, n: int) -> Product:
        return Product(dtype=dtype, n=n, multiply=lambda: np.ones((1, 1)), expected=1.0)

    makers = {
        ("fp32", "torch"): partial(wrong_when_large, "fp32"),
        ("fp32", "numpy"): partial(right, "fp32"),
        ("bf16", "torch"): partial(right, "bf16"),
    }
    monkeypatch.setattr(gemm, "_libraries", lambda: makers)
    refused: dict[str, str] = {}
    peaks = gemm_peaks((1, 2), budget_s=0.0, on_refusal=refused.__setitem__)
    assert [(peak.dtype, peak.n_threads, peak.library) for peak in peaks] == [
        ("fp32", 1, "numpy"), ("fp32", 2, "numpy"), ("bf16", 1, "torch"), ("bf16", 2, "torch"),
    ]  # fmt: skip
    (reason,) = refused.values()
    assert reason.startswith("matrix product in fp32, n = ")
    assert reason.endswith(" as its first element, got 3; check the library that multiplies")
    del makers["fp32", "numpy"]
    with pytest.raises(WrongOutput) as caught:
        gemm_peaks((1,), budget_s=0.0, on_refusal=refused.__setitem__)
    assert str(caught.value) == (
        "matrix product in fp32: expected a library that multiplies correctly, got none "
        f"(torch: {', '.join(refused.values())}); reinstall numpy or torch"
    )


def test_gemm_peaks_of_this_machine() -> None:
    """Each precision and thread count has a named best library; thread counts are put back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    peaks = gemm_peaks((1, 2), dtypes=("fp32", "bf16"), budget_s=0.0)
    assert [(peak.dtype, peak.n_threads) for peak in peaks] == [("fp32", 1), ("fp32", 2), ("bf16", 1), ("bf16", 2)]
    for peak in peaks:
        assert 0.01 < peak.limit.value < 1e6
        assert peak.limit.unit == "GFLOP/s"
        assert peak.library in ("numpy", "torch")
        assert 256 <= peak.n <= 4096
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def test_bandwidths_of_this_machine() -> None:
    """Every operation at every size, caches named, rates between a slow and an impossible memory."""
    points = bandwidths((1, 2), caches=CACHES, largest_bytes=4 * MIB, budget_s=0.0)
    one_thread = [(one.operation, one.working_set_bytes, one.level) for one in points if one.n_threads == 1]
    sizes = ((32 * KIB, "L1d"), (128 * KIB, "L2"), (512 * KIB, "L2"), (2 * MIB, "L2"), (4 * MIB, "L3"))
    assert one_thread == [(operation, *size) for size in sizes for operation in ("read", "copy", "triad")]
    assert {one.operation for one in points if one.n_threads == 2 and one.working_set_bytes < 2 * MIB} == {"read"}
    assert all(0 < one.limit.low <= one.limit.value < 10_000 for one in points)
    assert min(one.limit.value for one in points) > 0.05
    assert memory_bandwidth(points).n_threads == 2


def test_calls_of_this_machine() -> None:
    """A torch operator costs more than an empty call, and both less than a millisecond."""
    costs = call_costs(budget_s=0.0)
    assert set(costs) == {"python call", "torch operator"}
    assert 1e-9 < costs["python call"].value < costs["torch operator"].value < 1e-3


def test_process_starts_of_this_machine() -> None:
    """Every bare start and that of a forest, whatever the budget: importing takes longer than not to."""
    found = {(one.method, one.imports): one.limit for one in start_costs(budget_s=0.0)}
    assert list(found) == [cell for cell in bare_cells() if cell[1] != "torch"]
    assert all(limit.unit == "s" and 1e-5 < limit.low <= limit.value < 60 for limit in found.values())
    assert found["spawn", "sklearn.ensemble"].low > found["spawn", ""].low


def test_starts_with_a_loaded_library_come_where_the_budget_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process, whose parent or fork server has loaded it, is asked from 8 s on."""
    asked: list[tuple[float, str]] = []

    def answer(function: Callable[..., Any], *arguments: Any, timeout_s: float) -> list[list[Any]]:
        asked.append(arguments)
        return [[*cell, [2.0, 1.0, 3.0]] for cell in (loaded_cells() if arguments[1] else bare_cells())]

    monkeypatch.setattr(overheads, "call_in_a_process", answer)
    short, long = start_costs(budget_s=7.0), start_costs(budget_s=10.0)
    assert asked == [(7.0, ""), (6.0, ""), (4.0, "sklearn.ensemble")]
    assert [(one.method, one.imports) for one in short] == bare_cells()
    assert [(one.method, one.imports) for one in long] == cells()
    assert {method for method, _ in loaded_cells()} == {method for method, _ in cells()} - {"spawn"}
    assert long[0].limit == cost([2.0, 1.0, 3.0])


def test_a_parent_that_has_loaded_the_library_starts_processes_too() -> None:
    """Forked from it, or from a fork server that has loaded it."""
    rows = call_in_a_process(start_seconds, 0.0, "sklearn.ensemble", timeout_s=60)
    assert [tuple(row[:2]) for row in rows] == loaded_cells()
    assert all(min(seconds) > 1e-5 for _, _, seconds in rows)


def test_a_chain_visits_every_node_once() -> None:
    """Its nodes fill the working set, and a walk over all of them ends at the last."""
    from sklearn.tree import DecisionTreeClassifier

    node_bytes = DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1]).tree_.__getstate__()["nodes"].dtype.itemsize
    found = chain(64 * KIB)
    assert len(found.order) == 64 * KIB // node_bytes
    assert found.walk(3).tolist() == [found.last] * 3
    assert set(found.order.tolist()) == set(range(len(found.order)))
    assert found.order[0] == 0
    neighbours = abs(found.order[1:] - found.order[:-1]) == 1
    assert neighbours.mean() < 0.05


def test_chains_grow_by_four() -> None:
    """From the smallest; a sample is half a million loads, or the whole chain once."""
    assert fourfold(16 * KIB, MIB) == (16 * KIB, 64 * KIB, 256 * KIB, MIB)
    assert fourfold(16 * KIB, KIB) == (16 * KIB,)
    assert [Chain(order=np.arange(n), walk=lambda rows: None).rows for n in (256, 400_000)] == [1953, 1]


@pytest.mark.parametrize(("budget_s", "largest"), [(0.0, 64 * KIB), (2.29, 64 * KIB), (2.3, 256 * KIB), (9.3, MIB)])
def test_chains_end_where_the_next_would_not_fit(
    budget_s: float, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building takes 4.5 s a MiB and each of five walks 0.5 s: 0.11 s, then 0.44, 1.75 and 7 s for the next sizes.

    Together 0.55 s up to 64 KiB, 2.297 up to 256 KiB, 9.297 up to 1 MiB; 1.5 s are allowed whatever the budget.
    """
    time = Time()

    def make(size: int) -> latency.Chain:
        time.work(4.5 * size / MIB)(None)
        return replace(made, walk=lambda rows: time.work(0.5 * size / MIB)(None))

    made = chain(16 * KIB)
    monkeypatch.setattr(latency, "chain", make)
    assert max(latency._chains(64 * MIB, max(budget_s, latency.LEAST_S), time.now_s)) == largest


def test_latencies_of_this_machine() -> None:
    """Seconds of one load, longer outside the first cache, between an impossible and a broken memory."""
    found = latencies(caches=CACHES, largest_bytes=16 * MIB, budget_s=0.0)
    assert [(one.working_set_bytes, one.level) for one in found] == [
        (16 * KIB, "L1d"), (64 * KIB, "L2"), (256 * KIB, "L2"), (MIB, "L2"), (4 * MIB, "L3"), (16 * MIB, "L3"),
    ]  # fmt: skip
    assert all(1e-10 < one.limit.value < 1e-5 for one in found)
    assert found[-1].limit.value > found[0].limit.value


def test_a_walk_that_ends_elsewhere_is_no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that keeps trees another way is named."""
    monkeypatch.setattr(latency, "chain", lambda size: replace(chain(size), order=np.append(chain(size).order, 5)))
    with pytest.raises(MeasurementError) as caught:
        latencies(caches=CACHES, largest_bytes=16 * KIB, budget_s=0.0)
    assert str(caught.value) == (
        f"load latency: expected every walk to end at node 5, got {[chain(16 * KIB).last] * 3}; "
        "this version of scikit-learn stores trees differently"
    )


def test_transfers_of_this_machine() -> None:
    """Every method and size; more data takes longer."""
    found = {(one.method, one.size_bytes): one for one in transfer_costs(sizes_bytes=(KIB, 16 * MIB), budget_s=0.2)}
    assert {method for method, _ in found} <= set(overheads.METHODS)
    assert {("pickle", KIB), ("pipe", KIB), ("memory map", KIB)} <= set(found)
    assert found["pipe", 16 * MIB].limit.low > found["pipe", KIB].limit.low


def test_shared_memory_that_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other methods are measured where the system refuses the memory."""

    def refuse(name: str) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "memfd_create", refuse)
    assert {method for method, _, _ in overheads.transfer_seconds(0.0, (KIB,))} == {"pickle", "pipe", "memory map"}


def test_a_receiver_that_saw_other_data_is_an_error() -> None:
    """What arrived is compared with what was sent."""
    with pytest.raises(MeasurementError) as caught:
        overheads._check(None, 3)
    assert str(caught.value) == "transfer: expected the receiver to see 7 at the end, got 3"


def test_a_measuring_process_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit code and the last line of its error, or its time limit."""
    (tmp_path / "probes.py").write_text(
        "import time\n"
        "def fail(): raise SystemExit('no such thing')\n"
        "def talk(): print('hello')\n"
        "def endless(): time.sleep(60)\n"
        "def double(number): return [2 * number]\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    probes = import_module("probes")
    assert call_in_a_process(probes.double, 2.5, timeout_s=30) == [5.0]
    with pytest.raises(MeasurementError) as failed:
        call_in_a_process(probes.fail, timeout_s=30)
    assert str(failed.value) == "probes.fail: expected exit code 0, got 1: no such thing"
    with pytest.raises(MeasurementError) as talking:
        call_in_a_process(probes.talk, timeout_s=30)
    assert str(talking.value) == "probes.talk: expected JSON on its output, got 'hello\\nnull\\n'"
    with pytest.raises(MeasurementError) as endless:
        call_in_a_process(probes.endless, timeout_s=0.5)
    assert str(endless.value) == (
        "probes.endless: expected an answer within 0 s, got none; measure again on a quieter machine"
    )


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What each part answers (an exception is raised), and under "budgets" and "heard" what it was given."""
    answers: dict[str, Any] = {
        "gemm_peaks": (), "bandwidths": (point("read", MIB, 2, 9.0),), "latencies": (), "start_costs": (),
        "transfer_costs": (), "call_costs": {}, "call_in_a_process": {}, "budgets": {}, "timeouts": {}, "heard": [],
    }  # fmt: skip

    def part(name: str) -> Callable[..., Any]:
        def measure(*arguments: Any, budget_s: float | None = None, **others: Any) -> Any:
            answers["budgets"][name] = arguments[-1] if budget_s is None else budget_s
            answers["timeouts"][name] = others.get("timeout_s")
            if isinstance(answers[name], Exception):
                raise answers[name]
            return answers[name]

        return measure

    for name in [name for name in answers if name not in ("budgets", "timeouts", "heard")]:
        monkeypatch.setattr(limits, name, part(name))
    device = type("Device", (), {"device": "cuda:0"})
    monkeypatch.setattr(limits, "require_accelerator", lambda: device)
    return answers


def measured(parts: dict[str, Any], budget_s: float) -> limits.Limits:
    """All parts as they answer."""
    heard = parts["heard"]
    return limits.measure_limits(Machine(usable_cpus=2), FakeSampler(heard), budget_s=budget_s, on_part=heard.append)


def test_all_limits_together(parts: dict[str, Any]) -> None:
    """Each part is announced, gets its share of the budget, and its flags carry its name; the GPU's touch its own."""
    found = measured(parts, 10.0)
    assert parts["heard"] == list(limits.PARTS)
    assert sum(parts["budgets"].values()) == pytest.approx(9.5)
    assert len(parts["budgets"]) == len(limits.PARTS)
    assert set(found.telemetry) == set(limits.PARTS)
    assert found.memory.limit.value == 9.0
    assert found.not_measured == {}
    assert found.flags == (
        Flag(
            name="steal",
            text="memory bandwidth: the hypervisor took 50.0 % of the CPU time (limit 2 %). "
            "Run again when the host is quieter, or on a dedicated machine.",
        ),
        Flag(
            name="gpu_throttled",
            text="device: the GPU throttled its clock (hardware thermal slowdown). "
            "Improve its cooling, or lock its clock at a rate that it can hold.",
            invalidates=True,
        ),
    )


def test_a_part_that_fails_is_named_and_the_others_are_kept(parts: dict[str, Any]) -> None:
    """An unusual machine does not stop a report."""
    parts["latencies"] = MeasurementError("no such tree")
    parts["transfer_costs"] = OSError("no space left on device")
    parts["call_in_a_process"] = NotAvailable("no accelerator: a CPU build")
    found = measured(parts, 10.0)
    assert parts["heard"] == list(limits.PARTS)
    assert (found.latency, found.transfer, found.device) == ((), (), None)
    assert found.not_measured == {
        "load latency": "no such tree",
        "transfer between processes": "no space left on device",
        "device": "no accelerator: a CPU build",
    }


def test_starts_that_the_budget_did_not_reach_are_named(parts: dict[str, Any]) -> None:
    """Only those that this system has and that nothing was heard of."""
    limit = Limit(value=1.0, low=1.0, high=1.0, unit="s", repeats=1)
    parts["start_costs"] = tuple(
        StartCost(method=method, imports=module, limit=limit) for method, module in cells() if module != "torch"
    )
    said = "the budget of 4 s did not reach it"
    assert measured(parts, 4.0).not_measured == {"process start: spawn with torch": said}


def test_a_cache_that_holds_every_working_set_hides_the_latency_of_memory(parts: dict[str, Any]) -> None:
    """Said with the largest set, and whether the budget or the time that a larger one takes ended there."""
    limit = Limit(value=1.0, low=1.0, high=1.0, unit="s", repeats=1)
    missing = "load latency: memory, beyond every cache"

    def said(*found: tuple[int, str]) -> dict[str, str]:
        parts["latencies"] = tuple(LoadLatency(working_set_bytes=n, level=name, limit=limit) for n, name in found)
        return dict(measured(parts, 4.0).not_measured)

    assert said((MIB, "L2"), (4 * MIB, "L3")) == {
        missing: "L3 holds the largest working set, 4.19 MB; the budget of 4 s did not reach more"
    }
    assert said((256 * MIB, "L3")) == {
        missing: "L3 holds the largest working set, 268 MB; walking a larger one would take too long"
    }
    assert said((MIB, "L3"), (4 * MIB, "RAM")) == said((MIB, "unknown")) == said() == {}


def test_all_limits_end_within_90_seconds(parts: dict[str, Any]) -> None:
    """A larger budget is cut, and a process that does not answer is ended by then."""
    measured(parts, 500.0)
    assert sum(parts["budgets"].values()) <= 90.0
    assert 70.0 < parts["timeouts"]["start_costs"] <= 82.0
    for name in ("transfer_costs", "call_in_a_process"):
        assert 80.0 < parts["timeouts"][name] <= 90.0


class FakeSampler(Sampler):
    """A sampler that sees steal while memory is measured."""

    def __init__(self, heard: list[str]) -> None:
        self._heard = heard

    def watch(self, device: str) -> None:
        """Only the device that is measured is watched."""
        assert device == "cuda:0"

    def window(self, start_s: float, end_s: float, device: str = "cpu") -> Telemetry:
        """A stretch without anything, or with half of the time stolen, or with a GPU that is too hot."""
        share = 0.5 if self._heard[-1] == "memory bandwidth" else 0.0
        reasons = () if device == "cpu" else ("hardware thermal slowdown",)
        return Telemetry(start_s=start_s, end_s=end_s, steal_share=share, gpu_throttle_reasons=reasons)
