"""Rounds on hosts of virtual time: who takes turns when, when it ends, and what becomes of a cell that fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from inferbench_lib.errors import (
    ConfigError,
    MeasurementError,
    NotAvailable,
    OutOfMemory,
    WorkerDied,
    WorkerHung,
    WorkerRaised,
)
from inferbench_lib.measure.rounds import Entry, Plan, Schedule, run_rounds
from inferbench_lib.measure.session import control_flag
from inferbench_lib.measure.source import WarmUp
from inferbench_lib.progress import PROGRESS_FILE, Progress
from inferbench_lib.records import Case, Measurement, Outcome

TURN_S = 1.0
CONTROL_S = 0.25


@dataclass
class World:
    """Virtual seconds, and everything that happened in order."""

    now_s: float = 100.0
    happened: list[str] = field(default_factory=list)

    def read_s(self) -> float:
        return self.now_s

    def control(self) -> float:
        self.now_s += CONTROL_S
        self.happened.append("control")
        return CONTROL_S


@dataclass
class FakeHost:
    """Answers as a bench in a process would; `fault(method, case, n_turns)` may raise."""

    world: World
    samples: Callable[[int], tuple[float, ...]] = lambda turn: (1.0,)
    fault: Callable[[str, Case, int], None] = lambda method, case, turn: None
    wrong: bool = False
    turns: dict[Case, list[tuple[float, ...]]] = field(default_factory=dict)

    def ready(self) -> None:
        self.world.happened.append("ready")

    def renew(self) -> None:
        self.world.happened.append("renew")
        self.turns.clear()

    def call(self, method: str, *arguments: Any) -> Any:
        if method == "start":
            self.fault(method, Case(workload="", batch_size=1), 0)
            return self.world.happened.append("start")
        return self.call_for(method, *arguments)

    def call_for(self, method: str, case: Case, *arguments: Any) -> Any:
        taken = self.turns.setdefault(case, [])
        self.fault(method, case, len(taken))
        self.world.happened.append(f"{method} {case.workload}")
        if method == "prepare":
            assert isinstance(arguments[0], WarmUp)
            return (9.0,)
        if method == "turn":
            self.world.now_s += TURN_S
            taken.append(self.samples(len(taken)) * arguments[0])
            return taken[-1]
        assert (method, arguments) == ("finish", ())
        return Measurement(
            case=case,
            samples_s=tuple(s for turn in taken for s in turn),
            round_sizes=tuple(len(turn) for turn in taken),
            outcome=Outcome.INVALID if self.wrong else Outcome.OK,
            reason="outputs differ" if self.wrong else "",
        )


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Progress:
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "progress"))
    return Progress("test", 1000)


def case(name: str) -> Case:
    return Case(workload=name, batch_size=1)


def entries(world: World, names: str = "abc", **more: Any) -> list[Entry]:
    """A cell in a host of its own for each letter."""
    return [Entry(case=case(name), host=FakeHost(world, **more)) for name in names]


def plan(**changes: Any) -> Plan:
    """Six to ten rounds, no stop by width, a day's time."""
    values: dict[str, Any] = {"min_rounds": 6, "max_rounds": 10, "target_width": 1e-9, "time_limit_s": 86400.0}
    return Plan(**values | changes)


def run(world: World, cells: list[Entry], progress: Progress, **more: Any) -> Schedule:
    wanted = more.pop("plan", plan())
    return run_rounds(cells, wanted, progress, control=world.control, read_s=world.read_s, **more)


def noisy(turn: int) -> tuple[float, ...]:
    """Samples that never settle: 1, 2, 4, 1, 2, 4, ..."""
    return (2.0 ** (turn % 3),)


# The order


def test_every_round_holds_every_cell_once(world: World, progress: Progress) -> None:
    """Each order is a permutation of the cells, and not always the same one."""
    orders = run(world, entries(world, "abcde", samples=noisy), progress).orders
    assert len(orders) == 10
    assert {tuple(sorted(order)) for order in orders} == {(0, 1, 2, 3, 4)}
    assert len(set(orders)) > 5


def test_recorded_order_is_the_order_of_the_turns(world: World, progress: Progress) -> None:
    """What is stored as order is what happened."""
    schedule = run(world, entries(world, samples=noisy), progress)
    turns = [text.removeprefix("turn ") for text in world.happened if text.startswith("turn ")]
    assert turns == ["abc"[index] for order in schedule.orders for index in order]


def test_order_follows_the_seed(progress: Progress) -> None:
    """The same seed draws the same orders, another seed others."""

    def orders(seed: int) -> tuple[tuple[int, ...], ...]:
        world = World()
        return run(world, entries(world, "abcde", samples=noisy), progress, plan=plan(seed=seed)).orders

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)


def test_control_runs_after_every_turn(world: World, progress: Progress) -> None:
    """Between any two turns lies one control workload, and its seconds are kept round by round."""
    schedule = run(world, entries(world, samples=noisy), progress)
    after_warm_up = [text.split()[0] for text in world.happened if text.startswith(("turn", "control"))]
    assert after_warm_up == ["turn", "control"] * 30
    assert schedule.control_s == ((CONTROL_S,) * 3,) * 10


def test_every_cell_is_warmed_up_before_any_is_measured(world: World, progress: Progress) -> None:
    """All processes are up before a bench starts, all benches before a first call; results come last."""
    run(world, entries(world, "ab", samples=noisy), progress)
    assert world.happened[:6] == ["ready", "ready", "start", "start", "prepare a", "prepare b"]
    assert world.happened[-2:] == ["finish a", "finish b"]


def test_windows_are_the_times_of_the_turns(world: World, progress: Progress) -> None:
    """A cell's windows hold its turns and no control workload, so that telemetry is its own."""
    schedule = run(world, entries(world, "ab", samples=noisy), progress, plan=plan(min_rounds=2, max_rounds=2))
    expected: list[list[tuple[float, float]]] = [[], []]
    now_s = 100.0
    for order in schedule.orders:
        for index in order:
            expected[index].append((now_s, now_s + TURN_S))
            now_s += TURN_S + CONTROL_S
    assert [list(windows) for windows in schedule.windows_s] == expected


def test_cell_takes_as_many_samples_as_asked(world: World, progress: Progress) -> None:
    """`n_samples` of an entry is handed to each of its turns."""
    cell = Entry(case=case("a"), host=FakeHost(world, samples=noisy), n_samples=4)
    schedule = run(world, [cell], progress)
    assert schedule.measurements[0].round_sizes == (4,) * 10


# The end


def test_settled_medians_end_it(world: World, progress: Progress) -> None:
    """Cells that never vary are known after the least number of rounds that carries an interval."""
    schedule = run(world, entries(world), progress, plan=plan(target_width=0.03))
    assert len(schedule.orders) == 6
    assert schedule.stopped_because == "every median was known to within 3%"


def test_one_unsettled_cell_keeps_all_going(world: World, progress: Progress) -> None:
    """The widest cell decides."""
    cells = [*entries(world, "ab"), *entries(world, "c", samples=noisy)]
    schedule = run(world, cells, progress, plan=plan(target_width=0.03))
    assert len(schedule.orders) == 10
    assert schedule.stopped_because == "10 rounds were the most asked for"
    assert [row.round_sizes for row in schedule.measurements] == [(1,) * 10] * 3


def test_width_is_that_of_the_round_medians(world: World, progress: Progress) -> None:
    """One wild sample in each turn moves no round median and so keeps nothing going."""
    cells = entries(world, "a", samples=lambda turn: (1.0, 1.0, 1.0 + turn))
    schedule = run(world, cells, progress, plan=plan(target_width=0.03))
    assert len(schedule.orders) == 6


def test_time_limit_ends_it(world: World, progress: Progress) -> None:
    """A round takes 3 × 1.25 s, so the eighth is the first to end after 28 s."""
    schedule = run(world, entries(world, samples=noisy), progress, plan=plan(time_limit_s=28.0))
    assert len(schedule.orders) == math.ceil(28 / (3 * (TURN_S + CONTROL_S)))
    assert schedule.stopped_because == "the time limit of 28 s was reached"


def test_least_rounds_hold_whatever_the_time(world: World, progress: Progress) -> None:
    """A time limit long gone does not leave fewer rounds than carry an interval."""
    schedule = run(world, entries(world, samples=noisy), progress, plan=plan(time_limit_s=0.001))
    assert len(schedule.orders) == 6


# Faults


def failing(method: str, turn: int, name: str, error: Exception) -> Callable[[str, Case, int], None]:
    """A fault of one cell at one of its calls."""

    def fault(called: str, of: Case, turns: int) -> None:
        if (called, of.workload) == (method, name) and turns >= turn:
            raise error

    return fault


@pytest.mark.parametrize("method", ["prepare", "turn"])
def test_out_of_memory_is_the_cells_own(method: str, world: World, progress: Progress) -> None:
    """A batch that does not fit is a row with its reason; other cells of the same process go on."""
    host = FakeHost(world, samples=noisy, fault=failing(method, 0, "b", OutOfMemory("batch 64 needs 3 GB")))
    schedule = run(world, [Entry(case=case(name), host=host) for name in "abc"], progress)
    assert [row.outcome for row in schedule.measurements] == [Outcome.OK, Outcome.OOM, Outcome.OK]
    assert schedule.measurements[1].reason == "batch 64 needs 3 GB"
    assert [sum(row.round_sizes) for row in schedule.measurements] == [10, 0, 10]


def test_cell_that_fails_late_keeps_what_it_saw(world: World, progress: Progress) -> None:
    """Samples before a failure stay in the row, beside the reason."""
    host = FakeHost(world, samples=noisy, fault=failing("turn", 4, "a", MeasurementError("clock: it ran backwards")))
    schedule = run(world, [Entry(case=case("a"), host=host), *entries(world, "b", samples=noisy)], progress)
    row = schedule.measurements[0]
    assert (row.outcome, row.reason, row.round_sizes) == (Outcome.FAILED, "clock: it ran backwards", (1,) * 4)
    assert len(schedule.orders) == 10


@pytest.mark.parametrize("error", [WorkerDied("worker ended by SIGKILL"), WorkerHung("no answer in 60 s")])
def test_process_that_ends_takes_all_its_cells_along(error: Exception, world: World, progress: Progress) -> None:
    """Every cell of a dead process is a failed row with the same reason; the others lose nothing."""

    def fault(method: str, of: Case, turns: int) -> None:
        if dead:  # as a real host answers, which knows no more what it died of
            raise WorkerDied("expected a live process, got none")
        if turns >= 2:
            dead.append(of)
            raise error

    dead: list[Case] = []
    shared = FakeHost(world, samples=noisy, fault=fault)
    cells = [
        Entry(case=case("a"), host=shared),
        *entries(world, "b", samples=noisy),
        Entry(case=case("c"), host=shared),
    ]
    schedule = run(world, cells, progress)
    assert [row.outcome for row in schedule.measurements] == [Outcome.FAILED, Outcome.OK, Outcome.FAILED]
    assert {row.reason for row in schedule.measurements} == {str(error), ""}
    assert schedule.measurements[1].round_sizes == (1,) * 10
    assert [row.case.workload for row in schedule.measurements] == ["a", "b", "c"]


def test_what_one_cell_raised_is_its_own(world: World, progress: Progress) -> None:
    """An exception in the code of one cell fails its row alone: its process lives, and the others there go on."""
    host = FakeHost(world, samples=noisy, fault=failing("turn", 1, "b", WorkerRaised("b: ValueError: no such batch")))
    rows = run(world, [Entry(case=case(name), host=host) for name in "abc"], progress).measurements
    assert [row.outcome for row in rows] == [Outcome.OK, Outcome.FAILED, Outcome.OK]
    assert [row.reason for row in rows] == ["", "b: ValueError: no such batch", ""]


def test_failed_cell_is_not_called_again_in_the_rounds(world: World, progress: Progress) -> None:
    """After its failure a cell takes no more turns; it is only asked at the end what it saw."""
    calls: list[str] = []

    def fault(method: str, of: Case, turns: int) -> None:
        calls.append(method)
        if method == "prepare":
            raise OutOfMemory("too large")

    run(
        world, [Entry(case=case("a"), host=FakeHost(world, fault=fault)), *entries(world, "b", samples=noisy)], progress
    )
    assert calls == ["start", "prepare", "finish"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OutOfMemory("no room for the model"), Outcome.OOM),
        (NotAvailable("memory cap: expected a device whose memory can be capped, got mps"), Outcome.FAILED),
        (ConfigError("scheduler: expected a Dask scheduler at tcp://x:1, got no answer"), Outcome.FAILED),
    ],
)
def test_bench_that_cannot_start_takes_all_its_cells_along(
    error: Exception, outcome: Outcome, world: World, progress: Progress
) -> None:
    """No room, a device, scheduler or cap that is not here: each of its cells says why, and the others are measured."""
    shared = FakeHost(world, fault=failing("start", 0, "", error))
    cells = [*entries(world, "a", samples=noisy), *(Entry(case=case(name), host=shared) for name in "bc")]
    rows = run(world, cells, progress).measurements
    assert [row.outcome for row in rows] == [Outcome.OK, outcome, outcome]
    assert {row.reason for row in rows[1:]} == {str(error)}
    assert [text for text in world.happened if text.startswith("prepare")] == ["prepare a"]


def test_all_cells_failed_ends_it(world: World, progress: Progress) -> None:
    """With nothing left to measure one round is enough, and that is said."""
    fault = failing("prepare", 0, "a", OutOfMemory("too large"))
    schedule = run(world, entries(world, "a", fault=fault), progress)
    assert (schedule.stopped_because, len(schedule.orders)) == ("every cell failed", 1)
    assert schedule.windows_s == ((),)


def test_wrong_outputs_stay_invalid(world: World, progress: Progress) -> None:
    """A bench that reports wrong outputs is not made right by having taken all its turns, nor by failing later."""
    late = failing("turn", 4, "b", OutOfMemory("too large"))
    cells = [*entries(world, "a", wrong=True), *entries(world, "b", wrong=True, fault=late)]
    rows = run(world, cells, progress).measurements
    assert [(row.outcome, row.reason) for row in rows] == [(Outcome.INVALID, "outputs differ")] * 2


def test_error_of_ours_is_not_swallowed(world: World, progress: Progress) -> None:
    """What is no failure of a measurement passes through: a mistake of the program is not a row."""
    fault = failing("turn", 0, "a", ZeroDivisionError("a mistake"))
    with pytest.raises(ZeroDivisionError):
        run(world, entries(world, "a", fault=fault), progress)


def test_failed_cells_do_not_keep_it_going(world: World, progress: Progress) -> None:
    """Only living cells are waited for."""
    cells = [*entries(world, "a"), *entries(world, "b", fault=failing("turn", 2, "b", OutOfMemory("x")))]
    schedule = run(world, cells, progress, plan=plan(target_width=0.03))
    assert schedule.stopped_because == "every median was known to within 3%"


# The memory pass and progress


def test_memory_is_read_after_the_rounds(world: World, progress: Progress) -> None:
    """The memory pass runs once a living cell, after the last turn and before results are handed over."""

    def peak(entry: Entry) -> int:
        world.happened.append(f"memory {entry.case.workload}")
        return 1000 + ord(entry.case.workload)

    cells = [*entries(world, "ac"), *entries(world, "b", fault=failing("prepare", 0, "b", OutOfMemory("x")))]
    schedule = run(world, cells, progress, peak_memory=peak)
    assert world.happened[-6:-2] == ["control", "memory a", "memory c", "finish a"]
    assert [row.peak_memory_bytes for row in schedule.measurements] == [1097, 1099, None]


def test_failure_in_the_memory_pass_is_the_cells_own(world: World, progress: Progress) -> None:
    """A process that ends while its memory is watched fails its own row and no other."""

    def peak(entry: Entry) -> int:
        if entry.case.workload == "a":
            raise WorkerDied("worker ended by SIGKILL")
        return 7

    rows = run(world, entries(world, "ab"), progress, peak_memory=peak).measurements
    assert [(row.outcome, row.reason, row.peak_memory_bytes) for row in rows] == [
        (Outcome.FAILED, "worker ended by SIGKILL", None),
        (Outcome.OK, "", 7),
    ]


def test_without_a_memory_pass_there_is_no_figure(world: World, progress: Progress) -> None:
    """Memory that was not asked for is None, not 0."""
    assert {row.peak_memory_bytes for row in run(world, entries(world), progress).measurements} == {None}


def test_progress_steps_once_a_warm_up_and_once_a_turn(world: World, progress: Progress) -> None:
    """Three cells and six of ten rounds are 3 + 18 steps; the whole loses the rounds not needed, not what follows."""
    progress.expect(3 * (1 + 10) + 5)
    run(world, entries(world), progress, plan=plan(target_width=0.03))
    assert (progress.done, progress.total) == (21, 21 + 5)


def test_schedule_of_no_cells_ends(world: World, progress: Progress) -> None:
    """Nothing to measure ends at once instead of going on for ever."""
    assert run(world, [], progress).measurements == ()


# Processes that start anew


def test_every_host_starts_anew_after_so_many_rounds(world: World, progress: Progress) -> None:
    """Seven rounds at three a process are three processes; each is warmed up, and all samples are one row."""
    progress.expect(plan(max_rounds=7, rounds_per_process=3).steps(2))
    cells = entries(world, "ab", samples=lambda turn: (1.0 + turn,))
    rows = run(world, cells, progress, plan=plan(max_rounds=7, rounds_per_process=3)).measurements
    assert [row.samples_s for row in rows] == [(1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0)] * 2
    assert [(row.round_sizes, row.process_sizes) for row in rows] == [((1,) * 7, (3, 3, 1))] * 2
    assert [world.happened.count(text) for text in ("renew", "prepare a", "prepare b", "finish a")] == [4, 3, 3, 3]
    assert (progress.done, progress.total) == (2 * (7 + 3), 2 * (7 + 3))


def test_without_that_number_no_host_starts_anew(world: World, progress: Progress) -> None:
    """Then one process takes all rounds, and the row says nothing of processes."""
    rows = run(world, entries(world, samples=noisy), progress).measurements
    assert "renew" not in world.happened
    assert {row.process_sizes for row in rows} == {()}


def test_no_process_starts_for_a_round_that_is_not_taken(world: World, progress: Progress) -> None:
    """Where the rounds end with a process's last one, no new one is started."""
    run(world, entries(world, "a", samples=noisy), progress, plan=plan(max_rounds=6, rounds_per_process=3))
    assert world.happened.count("renew") == 1


def test_failed_cell_keeps_what_all_its_processes_saw(world: World, progress: Progress) -> None:
    """A cell that fails in its second process keeps the samples of both, and its host takes no third for it."""

    def fault(method: str, of: Case, turn: int) -> None:
        if method == "turn" and of.workload == "b" and world.happened.count("renew") == 2 and turn == 1:
            raise WorkerDied("worker ended by SIGKILL")

    cells = [*entries(world, "a", samples=noisy), *entries(world, "b", samples=noisy, fault=fault)]
    good, bad = run(world, cells, progress, plan=plan(max_rounds=9, rounds_per_process=3)).measurements
    assert (good.outcome, good.process_sizes) == (Outcome.OK, (3, 3, 3))
    assert (bad.outcome, bad.reason, bad.process_sizes) == (Outcome.FAILED, "worker ended by SIGKILL", (3, 1))
    assert world.happened.count("renew") == 3


def test_process_that_cannot_start_again_leaves_what_the_first_saw(world: World, progress: Progress) -> None:
    """The samples of the first process stay, and the row says why there are no more."""

    def fault(method: str, of: Case, turn: int) -> None:
        if method == "start" and "renew" in world.happened:
            raise WorkerDied("worker ended by SIGKILL")

    (row,) = run(world, entries(world, "a", fault=fault), progress, plan=plan(rounds_per_process=3)).measurements
    assert (row.samples_s, row.outcome, row.reason) == ((1.0,) * 3, Outcome.FAILED, "worker ended by SIGKILL")


# Drift of the machine


def test_steady_control_is_no_flag() -> None:
    """Rounds whose control medians lie within 10 % flag nothing, and neither does a single round."""
    assert control_flag([[1.0, 1.0, 9.0], [1.09, 1.09, 1.0]]) == ()
    assert control_flag([[1.0, 5.0]]) == ()
    assert control_flag([]) == ()


def test_drifting_control_is_a_flag_with_its_figure() -> None:
    """Medians of 1.0 and 1.3 s are a drift of 30 %, said with the limit and what still holds."""
    (flag,) = control_flag([[1.0, 1.0, 1.0], [1.3, 1.3, 7.0]])
    assert (flag.name, flag.invalidates) == ("drift", False)
    assert flag.text == (
        "the machine's speed changed by up to 30% during the run (limit 10%): ratios hold, seconds less so"
    )
