"""The scatter between processes of one cell: estimated over all cells, and part of every interval that rests on it."""

from __future__ import annotations

import math
import mmap
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats

from inferbench_lib.findings import Interval
from inferbench_lib.measure.host import joined
from inferbench_lib.records import Case, Figure, Measurement, Outcome, Verification
from inferbench_lib.report.history import changes
from inferbench_lib.stats.comparison import compare
from inferbench_lib.stats.processes import DEGREES, SD, difference, scatter, widened, with_process_scatter
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.stats.verdict import between_runs
from inferbench_lib.timing.clock import UsageClock, WallClock


def row(levels: list[float], noise: list[float], name: str = "x", **more: object) -> Measurement:
    """One sample a round; each process has its level, times the same noise of its rounds."""
    samples = tuple(level * factor for level in levels for factor in noise)
    sizes = (len(noise),) * len(levels)
    return Measurement(
        case=Case(workload=name, batch_size=1),
        samples_s=samples,
        round_sizes=(1,) * len(samples),
        process_sizes=sizes if len(levels) > 1 else (),
        **more,  # type: ignore[arg-type]
    )


NOISE = [0.99, 1.0, 1.01]


def test_scatter_is_that_of_a_one_way_analysis_of_variance() -> None:
    """Two cells of two processes: the mean squares between and within, by hand, give the pooled standard deviation.

    The cell whose own scatter is the larger one has that, with its own degree of freedom.
    """
    cells = [row([1.0, 1.1], NOISE, "a"), row([2.0, 2.1], NOISE, "b")]
    groups = [[np.log(np.array(NOISE) * level) for level in levels] for levels in ((1.0, 1.1), (2.0, 2.1))]
    within = float(np.mean([np.var(group, ddof=1) for of in groups for group in of]))
    between = float(np.mean([3 * np.var([group.mean() for group in of], ddof=1) for of in groups]))
    own_a = (3 * np.var([group.mean() for group in groups[0]], ddof=1) - within) / 3
    first, second = with_process_scatter(cells)
    assert first.figures == pytest.approx({SD: math.sqrt(own_a), DEGREES: 1})
    assert second.figures == pytest.approx({SD: math.sqrt((between - within) / 3), DEGREES: 2})


def test_cells_of_one_host_count_its_processes_once() -> None:
    """Five cells of one host with three processes have two degrees of freedom, five of their own hosts ten."""
    alike = [row([1.0, 1.05, 1.1], NOISE, str(number), worker_pid=7) for number in range(5)]
    apart = [replace(cell, worker_pid=number + 1) for number, cell in enumerate(alike)]
    assert min(cell.figures[DEGREES] for cell in with_process_scatter(alike)) == 2
    assert max(cell.figures[DEGREES] for cell in with_process_scatter(apart)) == 10


def test_cells_that_ended_badly_say_nothing_of_the_others() -> None:
    """A wrong or failed cell has no scatter, changes no other cell's, and hides no figure of the run."""
    good = row([1.0, 1.0], NOISE, "good")
    bad = row([1.0, 3.0], NOISE, "bad", outcome=Outcome.INVALID, reason="outputs differ")
    empty = Measurement(case=Case(workload="lost", batch_size=1), outcome=Outcome.FAILED, reason="no device")
    found = with_process_scatter([good, bad, empty])
    assert [cell.figures.get(SD) for cell in found] == [0.0, None, None]
    assert scatter(found) == {"process_scatter": Figure(value=0.0, unit="of the time")}
    assert [difference(cell) for cell in (bad, empty)] == [None, None]


def test_what_cells_of_one_host_share_cancels() -> None:
    """Two batches 10 % apart in every round are told apart however their common processes differ."""
    levels, noise = [1.0, 1.3, 0.8], [0.999, 1.0, 1.001, 1.002]
    pair = with_process_scatter([row([1.1 * one for one in levels], noise, "slow", worker_pid=7),
                                 row(levels, noise, "fast", worker_pid=7)])  # fmt: skip
    assert compare(*pair).verdict == "faster"
    apart = with_process_scatter([replace(pair[0], worker_pid=8), pair[1]])
    assert compare(*apart).verdict == "indistinguishable"


def test_one_process_says_nothing_of_others() -> None:
    """Cells of one process stay as they are."""
    cells = (row([1.0], NOISE * 2),)
    assert with_process_scatter(cells) == cells


def test_processes_that_agree_have_no_scatter() -> None:
    """Rounds that scatter more than the processes do give 0, never a negative variance."""
    (cell,) = with_process_scatter([row([1.0, 1.0], NOISE)])
    assert cell.figures[SD] == 0.0


def test_interval_is_widened_by_the_standard_error() -> None:
    """With 5 % between two processes and 4 degrees of freedom the arm is t × 5 % / √2, added as squares."""
    cell = row([1.0, 1.0], NOISE, figures={SD: 0.05, DEGREES: 4})
    found = widened(Interval(value=2.0, low=1.9, high=2.2), cell)
    arm = scipy_stats.t.ppf(0.975, 4) * 0.05 / math.sqrt(2)
    assert found.low == pytest.approx(2.0 * math.exp(-math.hypot(math.log(2.0 / 1.9), arm)))
    assert found.high == pytest.approx(2.0 * math.exp(math.hypot(math.log(2.2 / 2.0), arm)))


def test_interval_that_is_withheld_stays_so() -> None:
    """No ends, nothing to widen; and a cell without the scatter changes nothing."""
    withheld = Interval(value=2.0, reason="needs 6 rounds, has 2")
    assert widened(withheld, row([1.0, 1.0], NOISE, figures={SD: 0.05, DEGREES: 4})) == withheld
    whole = Interval(value=2.0, low=1.9, high=2.2)
    assert widened(whole, row([1.0], NOISE)) == whole


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("sd", [0.0, 0.005, 0.02, 0.1])
def test_intervals_hold_the_truth(sd: float, common: bool) -> None:
    """At least 93 % of the intervals of six cells on two hosts hold the median, whatever their processes differ by.

    So it is where the processes strike each cell anew, and where they strike all cells of a host alike.
    """
    draw = np.random.default_rng(7)
    held = 0
    for _ in range(150):
        shared = draw.standard_normal((2, 3))
        cells = []
        for number in range(6):
            levels = np.exp(sd * (shared[number % 2] if common else draw.standard_normal(3)))
            samples = np.repeat(levels, 3) * np.exp(0.01 * draw.standard_normal(9))
            cells.append(
                Measurement(case=Case(workload=str(number), batch_size=1), samples_s=tuple(samples.tolist()),
                            round_sizes=(1,) * 9, process_sizes=(3,) * 3, worker_pid=1 + number % 2)
            )  # fmt: skip
        medians = [summarize(cell).median_s for cell in with_process_scatter(cells)]
        held += sum(one.low <= 1.0 <= one.high for one in medians if one.low and one.high)
    assert held >= 0.93 * 900


def test_difference_within_the_scatter_is_none() -> None:
    """Two cells that differ by 10 % in every round are told apart, but not where their processes differ by as much."""
    noise = [0.999, 1.0, 1.001, 1.002]
    slow, fast = row([1.1, 1.1], noise, "slow"), row([1.0, 1.0], noise, "fast")
    assert compare(slow, fast).verdict == "faster"
    slow, fast = (
        row([1.1, 1.1], noise, "slow", figures={SD: 0.1, DEGREES: 4}),
        row([1.0, 1.0], noise, "fast", figures={SD: 0.1, DEGREES: 4}),
    )
    assert compare(slow, fast).verdict == "indistinguishable"


def test_rows_of_processes_become_one() -> None:
    """Samples follow each other; start-ups are medians, memory is the largest, and the first bad end is the row's."""
    passed = Verification(passed=True, n_checked=3)
    first = row([1.0], NOISE, cold_s=9.0, series={"wall_s": (1.0,)}, figures={"a": 1.0, "b_bytes": 3.0},
                startup_s={"import_s": 2.0}, verification=passed)  # fmt: skip
    second = row([2.0], NOISE, cold_s=8.0, series={"wall_s": (2.0,), "more_s": (3.0,)}, figures={"b_bytes": 2.0},
                 startup_s={"import_s": 4.0}, verification=passed, outcome=Outcome.OOM, reason="full")  # fmt: skip
    found = joined([first, second])
    assert found.samples_s == first.samples_s + second.samples_s
    assert (found.process_sizes, found.cold_s, found.outcome, found.reason) == ((3, 3), 8.5, Outcome.OOM, "full")
    assert found.series == {"wall_s": (1.0, 2.0), "more_s": (3.0,), "cold_s": (9.0, 8.0)}
    assert (found.figures, found.startup_s) == ({"a": 1.0, "b_bytes": 3.0}, {"import_s": 3.0})
    assert found.verification == Verification(passed=True, n_checked=6)


def test_processes_that_differ_are_no_drift() -> None:
    """A second process that is 20 % slower than the first does not make a cell unstable, or its ratio."""
    (cell,) = with_process_scatter([row([1.0, 1.2], [*NOISE, 1.0])])
    assert summarize(cell).outcome is Outcome.OK
    assert compare(row([1.0, 1.0], [*NOISE, 1.0]), cell).verdict != "unstable"


@pytest.mark.parametrize("sizes", [(), (3, 3), (3, 3, 2), (3, 3, 3), (3, 3, 3, 3)])
def test_drift_still_shows(sizes: tuple[int, ...]) -> None:
    """Times that rise by half over the run make a cell unstable, whatever processes took its rounds."""
    n = sum(sizes) or 8
    samples = tuple(1.0 + 0.5 * number / (n - 1) for number in range(n))
    cell = replace(row([1.0], [1.0] * n), samples_s=samples, process_sizes=sizes)
    assert summarize(cell).outcome is Outcome.UNSTABLE


def faulting(faults: tuple[int, ...]) -> Measurement:
    """A second process that takes 31 % longer; `faults` are the page faults of each process's samples."""
    return row([1.0, 1.31], NOISE, series={"minor_faults": tuple(float(n) for n in faults for _ in NOISE)})


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (
            faulting((41, 7468)),
            "one process of this cell was 31% slower than another; 7,468 page faults per call against 41",
        ),
        (faulting((41, 45)), "one process of this cell was 31% slower than another"),
        (row([1.0, 1.31], NOISE), "one process of this cell was 31% slower than another"),
    ],
)
def test_processes_that_differ_are_named_with_their_page_faults(cell: Measurement, text: str) -> None:
    """The flag says by how much, and names page faults where the slow process has many more."""
    flag = difference(cell)
    assert flag is not None
    assert (flag.name, flag.text, flag.invalidates) == ("processes", text, False)


def test_processes_that_agree_are_not_named() -> None:
    """Up to 10 % is no flag, and a single process has nothing to differ from."""
    assert difference(row([1.0, 1.09], NOISE)) is None
    assert difference(row([1.0], NOISE)) is None


def test_usage_clock_counts_the_pages_that_a_call_touches() -> None:
    """A call that writes to 4 MB of new memory maps about a thousand pages; one that touches nothing maps none."""
    clock = UsageClock(WallClock())
    clock.start()
    memory = mmap.mmap(-1, 4 << 20)
    memory.write(b"\1" * (4 << 20))
    assert clock.stop() > 0
    clock.start()
    clock.stop()
    seen = clock.side_series()
    memory.close()
    assert seen["minor_faults"][0] >= 2  # huge pages map 2 MB at once
    assert seen["minor_faults"][1] <= 1
    assert len(seen["involuntary_switches"]) == 2
    assert clock.side_series() == {"minor_faults": (), "involuntary_switches": ()}


def test_figure_of_the_scatter_needs_every_cell() -> None:
    """The median of the cells' standard deviations is a figure of the run; with a cell of one process it is none."""
    cells = [row([1.0, 1.1], NOISE, figures={SD: sd, DEGREES: 3}) for sd in (0.01, 0.02, 0.05)]
    assert scatter(cells) == {"process_scatter": Figure(value=0.02, unit="of the time")}
    assert scatter([*cells, row([1.0], NOISE)]) == {}
    assert scatter([]) == {}


def test_measured_scatter_replaces_the_assumed_one() -> None:
    """Where the intervals hold the scatter between processes, no further allowance is made for it."""
    assert between_runs("s").scatter > 0.05
    assert between_runs("s", is_replicated=True).scatter == 0.0
    assert (
        between_runs("GFLOP/s", is_replicated=True).scatter > 0.05
    )  # measured in one process, whatever the rounds did


def test_index_takes_the_measured_scatter_where_both_runs_have_it() -> None:
    """A 5 % gain with intervals of ±1 % is a change where both runs measured their processes, not where one did not."""
    names = {"batch_sweep/best": "best batch"}
    before = {"batch_sweep/best": Figure(value=100.0, low=99.0, high=101.0, unit="inputs/s")}
    after = {"batch_sweep/best": Figure(value=105.0, low=104.0, high=106.0, unit="inputs/s")}
    measured = {"batch_sweep/process_scatter": Figure(value=0.003, unit="of the time")}
    assert not changes(before, after | measured, names).changed
    assert changes(before | measured, after | measured, names).changed
