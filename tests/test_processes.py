"""The scatter between processes of one cell: estimated over all cells, and part of every interval that rests on it."""

from __future__ import annotations

import math
import mmap

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
    """Two cells of two processes: the mean squares between and within, by hand, give the pooled standard deviation."""
    cells = [row([1.0, 1.1], NOISE, "a"), row([2.0, 2.1], NOISE, "b")]
    groups = [[np.log(np.array(NOISE) * level) for level in levels] for levels in ((1.0, 1.1), (2.0, 2.1))]
    within = float(np.mean([np.var(group, ddof=1) for of in groups for group in of]))
    between = float(np.mean([3 * np.var([group.mean() for group in of], ddof=1) for of in groups]))
    own_a = (3 * np.var([group.mean() for group in groups[0]], ddof=1) - within) / 3
    first, second = with_process_scatter(cells)
    assert first.figures[SD] == pytest.approx(math.sqrt(own_a))  # its own is the larger one
    assert second.figures[SD] == pytest.approx(math.sqrt((between - within) / 3))
    assert first.figures[DEGREES] == second.figures[DEGREES] == 2


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


@pytest.mark.parametrize("scatter", [0.0, 0.005, 0.02, 0.1])
def test_intervals_hold_the_truth(scatter: float) -> None:
    """At least 95 % of the intervals of six cells hold the median, whatever their processes differ by."""
    draw = np.random.default_rng(7)
    held = 0
    for _ in range(60):
        cells = []
        for number in range(6):
            levels = np.exp(scatter * draw.standard_normal(2))
            samples = np.repeat(levels, 3) * np.exp(0.01 * draw.standard_normal(6))
            cells.append(
                Measurement(case=Case(workload=str(number), batch_size=1), samples_s=tuple(samples.tolist()),
                            round_sizes=(1,) * 6, process_sizes=(3, 3))
            )  # fmt: skip
        medians = [summarize(cell).median_s for cell in with_process_scatter(cells)]
        held += sum(one.low <= 1.0 <= one.high for one in medians if one.low and one.high)
    assert held >= 0.95 * 360


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
    """Samples follow each other; the first process tells of the start, and the first bad end is the row's."""
    passed = Verification(passed=True, n_checked=3)
    first = row([1.0], NOISE, cold_s=9.0, series={"wall_s": (1.0,)}, figures={"a": 1.0, "b": 1.0}, verification=passed)
    second = row([2.0], NOISE, cold_s=8.0, series={"wall_s": (2.0,), "more_s": (3.0,)}, figures={"b": 2.0},
                 verification=passed, outcome=Outcome.OOM, reason="full")  # fmt: skip
    found = joined([first, second])
    assert found.samples_s == first.samples_s + second.samples_s
    assert (found.process_sizes, found.cold_s, found.outcome, found.reason) == ((3, 3), 9.0, Outcome.OOM, "full")
    assert found.series == {"wall_s": (1.0, 2.0), "more_s": (3.0,)}
    assert found.figures == {"a": 1.0, "b": 2.0}
    assert found.verification == Verification(passed=True, n_checked=6)


def test_processes_that_differ_are_no_drift() -> None:
    """A second process that is 20 % slower than the first does not make a cell unstable, or its ratio."""
    (cell,) = with_process_scatter([row([1.0, 1.2], [*NOISE, 1.0])])
    assert summarize(cell).outcome is Outcome.OK
    assert compare(row([1.0, 1.0], [*NOISE, 1.0]), cell).verdict != "unstable"


def test_drift_within_a_process_still_shows() -> None:
    """Rounds that slow down by 20 % in the only process make a cell unstable as before."""
    assert summarize(row([1.0], [1.0, 1.0, 1.0, 1.0, 1.2, 1.2, 1.2, 1.2])).outcome is Outcome.UNSTABLE


def faulting(faults: tuple[int, ...]) -> Measurement:
    """A second process that takes 31 % longer; `faults` are the page faults of each process's samples."""
    return row([1.0, 1.31], NOISE, series={"minor_faults": tuple(float(n) for n in faults for _ in NOISE)})


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (
            faulting((41, 7468)),
            "one process of this cell was 31% slower than another: 7,468 page faults per call against 41",
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


def test_index_takes_the_measured_scatter_where_both_runs_have_it() -> None:
    """A 5 % gain with intervals of ±1 % is a change where both runs measured their processes, not where one did not."""
    names = {"batch_sweep/best": "best batch"}
    before = {"batch_sweep/best": Figure(value=100.0, low=99.0, high=101.0, unit="inputs/s")}
    after = {"batch_sweep/best": Figure(value=105.0, low=104.0, high=106.0, unit="inputs/s")}
    measured = {"batch_sweep/process_scatter": Figure(value=0.003, unit="of the time")}
    assert not changes(before, after | measured, names).changed
    assert changes(before | measured, after | measured, names).changed
