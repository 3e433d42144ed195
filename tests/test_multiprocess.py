"""What a run of several ways over processes says, on samples whose every ratio is known."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from inferbench_lib.findings import Interval, Refusal, Verdict
from inferbench_lib.records import Case, Figure, Flag, Machine, Measurement, Outcome, Run, Span, Verification
from inferbench_lib.stats.entries import labels
from inferbench_lib.studies.cpu_multiprocess.breakdown import losses
from inferbench_lib.studies.cpu_multiprocess.page import advise, answer, table
from inferbench_lib.studies.cpu_multiprocess.page_scaling import crossover_map, network_spread, scaling_curve
from inferbench_lib.studies.cpu_multiprocess.page_ways import by_reason, cold_start, title, where_the_time_went
from inferbench_lib.studies.cpu_multiprocess.study import MultiprocessStudy, figures, study

PROCESSES, CORES = 3, 8
RIGHT = Verification(passed=True, n_checked=10, max_abs_difference=0.0)


def cell(executor: str, seconds: float, n_processes: int = 1, **more: Any) -> Measurement:
    """Six rounds of one call over ten rows each."""
    case = Case(workload="forest", batch_size=5, executor=executor, n_processes=n_processes, **more)
    return Measurement(
        case=case, samples_s=(seconds,) * 6, round_sizes=(1,) * 6, inputs_per_call=10, verification=RIGHT
    )


SINGLE = cell("single", 4.0)
POOL, NAIVE, CEILING = (
    cell(executor, seconds, PROCESSES)
    for executor, seconds in (("shared_pool", 2.0), ("naive_pool", 8.0), ("ceiling", 1.6))
)
THREADS = cell("threads", 2.0, n_threads=3)
LOKY, DASK = cell("loky", 2.0, PROCESSES), cell("dask", 1.0, PROCESSES)


def said(*cells: Measurement) -> MultiprocessStudy:
    """The study of a run with these cells, on a machine whose cores are not the processes."""
    machine = Machine(physical_cores=CORES, logical_cores=2 * CORES, usable_cpus=CORES)
    run = Run(
        notebook="cpu_multiprocess",
        run_id="r",
        machine=machine,
        params={"n_processes": PROCESSES, "n_samples": 10},
        measurements=cells,
    )
    return study(run)


def values(found: MultiprocessStudy, name: str) -> dict[str, Any]:
    """What the warm ways hold under a name, where they hold it."""
    return {key: value for key, way in found.warm.items() if (value := getattr(way, name)) is not None}


def test_speedup_is_single_over_multi() -> None:
    """4 s alone, 2 s with the shared pool and 8 s with the naive one: speedups of 2 and 0.5, faster and slower."""
    ratios = values(said(SINGLE, POOL, NAIVE), "ratio")
    assert {name: ratio.value for name, ratio in ratios.items()} == pytest.approx(
        {"shared_pool": 2.0, "naive_pool": 0.5}
    )
    assert (ratios["shared_pool"].verdict, ratios["naive_pool"].verdict) == (Verdict.FASTER, Verdict.SLOWER)


def test_engines_and_thread_counts_are_ways_of_their_own() -> None:
    """Two engines and two numbers of threads in one run: each has its figures, and the usual ones keep their names."""
    onnx, twice = {"engine": "onnxruntime"}, {"n_threads": 2}
    found = said(
        SINGLE,
        cell("threads", 2.0, n_threads=3),
        cell("threads", 2.5, **twice),
        POOL,
        cell("single", 1.0, **onnx),
        cell("shared_pool", 0.4, PROCESSES, **onnx),
        CEILING,
        cell("ceiling", 0.4, PROCESSES, **onnx),
    )
    assert {key: ratio.value for key, ratio in values(found, "ratio").items()} == pytest.approx(
        {"threads": 2.0, "threads,t2": 1.6, "shared_pool": 2.0, "single,onnxruntime": 4.0,
         "shared_pool,onnxruntime": 10.0}
    )  # fmt: skip
    told = {name: figure.value for name, figure in figures(found).items()}
    assert (told["single_s"], told["speedup"], told["ceiling_speedup"]) == (4.0, *map(pytest.approx, (2.0, 2.5)))
    assert told["ceiling_speedup[onnxruntime]"] == pytest.approx(10.0)
    # Against its own engine, whose one process takes 1.0 s: 2.5 times as fast with 3 processes, and all of the ceiling.
    assert told["efficiency[shared_pool,onnxruntime]"] == pytest.approx(2.5 / PROCESSES)
    assert told["share_of_ceiling[shared_pool,onnxruntime]"] == pytest.approx(1.0)
    assert told["efficiency[threads,t2]"] == pytest.approx(1.6 / 2)
    assert [title(way) for way in found.warm.values()] == [
        "one process",
        "scikit-learn threads",
        "scikit-learn threads (2 threads)",
        "the shared-memory pool",
        "one process (onnxruntime)",
        "the shared-memory pool (onnxruntime)",
    ]
    assert table(found).frame["way"].is_unique


def test_scaling_is_told_apart_by_engine() -> None:
    """The speedup at the most rows and the serial fraction of a second engine have names of their own."""

    def scaled(n: int, seconds: float, **more: Any) -> Measurement:
        return replace(cell("single" if n == 1 else "shared_pool", seconds, n, **more), notes={"part": "scaling"})

    usual = [scaled(n, 2.0 * (0.1 + 0.9 / n)) for n in (1, 2, 4)]
    other = [scaled(n, 1.0 / n, engine="onnxruntime") for n in (1, 2, 4)]
    found = figures(said(*usual, *other))
    assert {name: figure.value for name, figure in found.items() if name != "verification"} == {
        "scaling_speedup[2]": pytest.approx(1 / 0.55),
        "scaling_speedup[4]": pytest.approx(1 / 0.325),
        "serial_fraction": pytest.approx(0.1),
        "scaling_speedup[2,onnxruntime]": pytest.approx(2.0),
        "scaling_speedup[4,onnxruntime]": pytest.approx(4.0),
        "serial_fraction[onnxruntime]": pytest.approx(0.0),
    }
    assert figures(said(*usual[:2]))["serial_fraction"].verdict == (
        "withheld: Amdahl's law needs 3 worker counts, has 2"
    )


def test_a_network_by_two_engines_is_told_apart() -> None:
    """Both numbers of threads by both engines, each against one process with one thread of the usual engine."""
    cells = [
        replace(found, case=replace(found.case, workload="cnn-small"), notes={"part": "network"})
        for engine, speed in (("torch", 1.0), ("onnxruntime", 2.0))
        for found in (cell("single", 4.0 / speed / n, n_threads=n, engine=engine) for n in (1, 2))
    ]
    found = said(*cells)
    assert [one.ratio and one.ratio.value for one in found.network] == [None, *map(pytest.approx, (2.0, 2.0, 4.0))]
    assert network_spread(found).frame["label"].tolist() == [
        "1 process × 2 threads",
        "1 process × 1 thread, onnxruntime",
        "1 process × 2 threads, onnxruntime",
    ]


@pytest.mark.parametrize("name", [field.name for field in fields(Case)])
def test_labels_differ_where_any_field_does(name: str) -> None:
    """Two cases that differ in one field, whichever, never share a label."""
    usual = Case(workload="forest", batch_size=5)
    value = getattr(usual, name)
    other = replace(usual, **{name: "another" if isinstance(value, str) else not value if value is False else 7})
    keys = {label.key for label in labels([usual, other], "executor").values()}
    assert len(keys) == 2


def test_the_usual_engine_is_that_of_the_first_case_of_a_workload() -> None:
    """A workload of any name is labelled without the engine that it was measured with first, with any other."""
    cases = [Case(workload="digits", batch_size=1, engine=engine) for engine in ("sklearn", "onnxruntime")]
    cases.append(Case(workload="forest", batch_size=1, engine="onnxruntime"))
    assert [of.key for of in labels(cases, "workload").values()] == ["digits", "digits,onnxruntime", "forest"]


def test_efficiency_is_over_processes_and_not_over_cores() -> None:
    """A speedup of 2 with 3 processes on 8 cores is an efficiency of two thirds."""
    assert values(said(SINGLE, POOL), "efficiency")["shared_pool"].value == pytest.approx(2 / 3)


def test_share_of_the_ceiling_is_what_was_reached_of_it() -> None:
    """A speedup of 2 where the hardware allows 2.5 is 0.8 of it, by round; without a ceiling there is none."""
    with_ceiling = said(SINGLE, POOL, CEILING)
    assert with_ceiling.ceilings[""].value == pytest.approx(2.5)
    share = values(with_ceiling, "of_ceiling")["shared_pool"]
    assert (share.value, share.low, share.high) == (pytest.approx(0.8),) * 3
    assert set(with_ceiling.warm) == {"single", "shared_pool"}
    assert values(said(SINGLE, POOL), "of_ceiling") == {}


def test_what_is_cold_is_a_row_of_its_own() -> None:
    """Warm 2 s and cold 3.2 s of 4 s alone: speedups of 2 and 1.25, and the start-up is the 1.2 s between them."""
    cold = cell("shared_pool", 3.2, PROCESSES)
    found = said(SINGLE, POOL, replace(cold, case=replace(cold.case, cold=True)))
    assert values(found, "ratio")["shared_pool"].value == pytest.approx(2.0)
    rows = found.warm["shared_pool"].break_even
    assert isinstance(rows, Interval)
    assert rows.value == pytest.approx(10 * 1.2 / (4.0 - 2.0))
    assert figures(found)["cold_speedup[shared_pool]"].value == pytest.approx(1.25)
    assert figures(found)["break_even_rows[shared_pool]"].low == pytest.approx(6.0)


def as_cold(warm: Measurement, seconds: float) -> Measurement:
    """The same way, started within each call."""
    return replace(warm, case=replace(warm.case, cold=True), samples_s=(seconds,) * 6)


def test_every_start_up_is_paid_back_by_one_formula() -> None:
    """Cold minus warm over the gain per row: 10 × 1 s / 2 s; a start that was timed once or not at all counts nowhere.

    A way that is slower than one process never pays.
    """
    timed_once = {"executor_s": 7.0}
    loky = replace(LOKY, startup_s=timed_once)
    cells = (SINGLE, replace(POOL, startup_s=timed_once), NAIVE, THREADS, loky, DASK, as_cold(loky, 3.0))
    found = {name: figure.value for name, figure in figures(said(*cells)).items() if name.startswith("break_even")}
    assert found == {"break_even_rows[loky]": pytest.approx(5.0)}
    assert crossover_map(said(*cells)).reading.endswith(
        "Rows from which one call pays back the start-up (cold minus warm, divided by the time saved per row): "
        "joblib's loky: 5 rows (5–5)."
    )
    slow = replace(LOKY, samples_s=(5.0,) * 6)
    assert said(SINGLE, slow, as_cold(slow, 6.0)).warm["loky"].break_even == Refusal(
        reason="no time is saved per row, so the start-up never pays off"
    )


def test_memory_is_what_came_with_the_data() -> None:
    """330 bytes at most, 100 before 200 bytes of data came: 1.15 times the data; unknown where it was not read."""
    sizes = {"idle_bytes": 100.0, "data_bytes": 200.0}
    found = said(SINGLE, replace(POOL, peak_memory_bytes=330, figures=sizes), replace(NAIVE, figures=sizes))
    assert values(found, "memory") == {"shared_pool": pytest.approx(1.15)}
    assert figures(found)["memory_over_data[shared_pool]"].value == pytest.approx(1.15)


def test_one_wrong_path_fails_the_verification_of_all() -> None:
    """The first path whose outputs differ is the verdict, also when it is the ceiling."""
    wrong = Verification(passed=False, n_checked=10, detail="row 3")
    seen = said(SINGLE, POOL, replace(CEILING, verification=wrong)).verification
    assert (seen and seen.word, seen and seen.detail) == ("FAILED", "row 3")
    assert said(SINGLE, POOL, NAIVE).verification == Verification(passed=True, n_checked=30)


def ended(cell: Measurement, reason: str) -> Measurement:
    """The cell of a process that ended before its first sample."""
    return replace(cell, samples_s=(), round_sizes=(), verification=None, outcome=Outcome.FAILED, reason=reason)


def test_cells_that_did_not_start_are_not_measured() -> None:
    """No output was there to be wrong: neither the verdict nor the figure says that verification failed."""
    found = said(ended(SINGLE, "no process could be started"), ended(POOL, "too late"))
    assert answer(found).verdict == "Not measured: no process could be started."
    assert figures(found)["verification"] == Figure(value=None, verdict="not measured: no process could be started")
    assert advise(found).recommendation == "no recommendation for the forest"


def test_a_killed_way_is_missed_in_the_verdict() -> None:
    """Beside a recommendation, beside one process, and where one process itself was killed."""
    killed = "its process was killed by SIGKILL"
    cold = ended(as_cold(POOL, 3.0), killed)
    assert answer(said(SINGLE, THREADS, ended(POOL, killed), cold)).verdict.endswith(
        ". Not measured: the shared-memory pool and the shared-memory pool, cold."
    )
    assert answer(said(SINGLE, ended(POOL, killed))).verdict == (
        "Stay with one process: no other way was measured. Not measured: the shared-memory pool."
    )
    assert answer(said(ended(SINGLE, killed), POOL)).verdict == (
        f"No verdict: one process was not measured ({killed}), and nothing can be compared without it."
    )


LOAD = "in 6 of 6 rounds other programs used 48 % of the CPUs. Close them and run again."


def under_load(cell: Measurement) -> Measurement:
    """The cell, with what the observer says of a busy loop on one of two cores."""
    return replace(cell, flags=(Flag(name="other_load", text=LOAD),))


@pytest.mark.parametrize("struck", [(SINGLE,), (POOL,), (SINGLE, THREADS, POOL)], ids=["one", "pool", "all"])
def test_load_beside_the_run_leaves_no_verdict(struck: tuple[Measurement, ...]) -> None:
    """The pool looks slower than one process: the headline names the load, and no way of several CPUs is judged."""
    slower = replace(POOL, samples_s=(4.2,) * 6)
    cells = [under_load(one) if one in struck else one for one in (SINGLE, THREADS, POOL)]
    cells = [replace(one, samples_s=slower.samples_s) if one.case == POOL.case else one for one in cells]
    found = said(*cells, under_load(as_cold(slower, 5.0)))
    assert answer(found).verdict == f"No verdict: {LOAD}"
    assert cold_start(found).reading.startswith("The shared-memory pool, cold: no verdict (in 6 of 6 rounds other")
    assert crossover_map(found).reading.endswith(f": the shared-memory pool: {LOAD}")
    told = figures(found)
    assert (told["speedup[shared_pool]"].verdict, told["break_even_rows[shared_pool]"].value) == ("unstable", None)
    assert advise(found).code == ""


def test_load_beside_the_run_leaves_no_law() -> None:
    """More processes on fewer free CPUs: neither speedups nor a serial fraction are claimed."""
    cells = [
        replace(cell("single" if n == 1 else "shared_pool", 2.0 * (0.1 + 0.9 / n), n), notes={"part": "scaling"})
        for n in (1, 2, 4)
    ]
    (seen,) = said(*cells[:2], under_load(cells[2])).spreadings
    assert {n: ratio.verdict for n, ratio in seen.strong.items()} == {2: Verdict.FASTER, 4: Verdict.UNSTABLE}
    assert seen.amdahl == seen.usl == Refusal(reason=LOAD.removesuffix("."))


def test_load_beside_the_run_leaves_no_finding() -> None:
    """What needs other numbers of CPUs is not judged in the figures either: the load is named, and no ratio is told."""
    scaling = [
        replace(cell("single" if n == 1 else "shared_pool", 4.0 / n, n), notes={"part": "scaling"}) for n in (1, 2, 4)
    ]
    network = [
        replace(one, case=replace(one.case, workload="cnn-small"), notes={"part": "network"})
        for one in (cell("single", 4.0), cell("single", 2.0, n_threads=2), cell("shared_pool", 2.0, 2))
    ]
    why = f"no verdict ({LOAD.removesuffix('.')})"
    quiet, loaded = said(*scaling, *network), said(*map(under_load, (*scaling, *network)))
    assert "2 processes 2.00× (2.00–2.00)" in scaling_curve(quiet).reading
    assert scaling_curve(loaded).reading == f"With 10 rows: 2 processes and 4 processes: {why}."
    assert crossover_map(loaded).reading == f"2 processes: {why}; 4 processes: {why}."
    assert network_spread(quiet).reading.endswith(" Statistically tied: 2 processes × 1 thread.")
    assert network_spread(loaded).reading == (
        f"Against one process with one thread: 1 process × 2 threads and 2 processes × 1 thread: {why}."
    )
    half = said(*scaling[:2], under_load(scaling[2]))
    assert f"With 10 rows: 2 processes 2.00× (2.00–2.00); 4 processes: {why}. " in scaling_curve(half).reading


def test_more_processes_than_cpus_are_held_against_the_cpus() -> None:
    """Four processes take turns on two CPUs: 4 CPU seconds in 2.2 s lost 0.2 s, not the 1.2 s of two CPUs more."""
    alone = (
        Span(worker=-1, kind="call", start_s=0.0, end_s=4.0),
        Span(worker=0, kind="compute", start_s=0.0, end_s=4.0, cpu_s=4.0),
    )
    spread = (
        Span(worker=-1, kind="call", start_s=0.0, end_s=2.2),
        *(Span(worker=w, kind="compute", start_s=0.0, end_s=2.2, cpu_s=1.1) for w in range(4)),
    )
    pool = replace(cell("process_pool", 2.2, 4), spans=(spread,))
    halves = tuple(replace(span, cpu_s=2.1, end_s=2.1) for span in spread[1:3])
    ceiling = replace(cell("ceiling", 2.1, 2), spans=((replace(spread[0], end_s=2.1), *halves),))
    run = replace(said(replace(SINGLE, spans=(alone,)), pool, ceiling).run, machine=Machine(usable_cpus=2))
    seconds = study(run).warm["process_pool"].breakdown
    assert seconds is not None
    assert {part.name: part.seconds for part in seconds.parts if abs(part.seconds) > 1e-9} == {
        "useful compute": pytest.approx(2.0),
        "compute slowed by shared resources": pytest.approx(0.1),
        "compute slowed beyond the ceiling": pytest.approx(0.1),
    }
    assert sum(losses(seconds).values()) == pytest.approx(0.2)


def test_a_reason_is_said_once() -> None:
    """Two names with one reason share it; another reason is one of its own."""
    assert by_reason([("A", "x"), ("B", "y"), ("C", "x")]) == ["A and C: x", "B: y"]


def test_another_number_of_workers_is_named() -> None:
    """Of a run with three processes, four of the reference and two that start cold say so, and keep their names."""
    cold = cell("shared_pool", 3.0, 2, cold=True)
    found = said(SINGLE, cell("threads", 2.0, n_threads=2), POOL, cell("naive_pool", 8.0, 4), cold)
    assert [title(way) for way in found.ways] == [
        "one process",
        "scikit-learn threads (2 threads)",
        "the shared-memory pool",
        "a new ProcessPoolExecutor per call (4 processes)",
        "the shared-memory pool, cold (2 processes)",
    ]
    assert {"speedup[naive_pool]", "cold_speedup[shared_pool]"} < figures(found).keys()


def test_the_processes_are_by_default_the_usable_cpus() -> None:
    """A run that names no number tells that of its machine."""
    run = said(SINGLE, POOL).run
    unnamed = replace(run, params={**run.params, "n_processes": None})
    assert (study(run).n_processes, study(unnamed).n_processes) == (PROCESSES, CORES)


def test_warm_and_cold_are_both_in_the_verdict() -> None:
    """2.50× holds for a pool that is kept, one call from a cold start gives 1.25×; within two sentences of 45 words."""
    named = [replace(one, case=replace(one.case, engine="sklearn")) for one in (SINGLE, THREADS, POOL)]
    pool = replace(named[2], samples_s=(1.6,) * 6)
    cold, killed = as_cold(pool, 3.2), ended(replace(DASK, case=replace(DASK.case, engine="sklearn")), "killed")
    kept = "2.50× while it is kept, 1.25× for one call from a cold start"
    verdict = answer(said(*named[:2], pool, cold, killed)).verdict
    assert verdict == (
        "Set n_jobs=3: 2.00× as fast as one process (2.00–2.00). Use the shared-memory pool for 25 % more (25–25 %): "
        f"{kept}; not measured: Dask."
    )
    assert len(verdict.split()) <= 45
    assert answer(said(named[0], pool, cold)).verdict == (
        "Use the shared-memory pool: 2.50× as fast as one process (2.50–2.50) while it is kept, "
        "1.25× for one call from a cold start."
    )
    assert advise(said(*named[:2], pool, cold)).evidence == (
        "compared within 6 rounds, with a 95 % interval; 2.00× with the simpler way: set n_jobs=3"
    )


def test_the_figures_of_the_recommended_way_have_short_names() -> None:
    """`multi_s`, `speedup` and `efficiency` are those of the shared pool, with interval, unit and verdict."""
    found = figures(said(SINGLE, POOL, NAIVE, CEILING))
    assert (found["single_s"].value, found["multi_s"].value) == (4.0, 2.0)
    assert found["speedup"] == found["speedup[shared_pool]"]
    assert (found["speedup"].value, found["speedup"].unit) == (pytest.approx(2.0), "×")
    assert found["efficiency"].value == pytest.approx(2 / 3)
    assert found["efficiency[naive_pool]"].value == pytest.approx(0.5 / 3)
    assert found["share_of_ceiling[naive_pool]"].value == pytest.approx(0.2)
    assert found["ceiling_speedup"].value == pytest.approx(2.5)
    assert (found["verification"].value, found["verification"].verdict) == ("PASSED", "")


def test_useful_compute_is_an_equal_share_of_the_single_process() -> None:
    """Alone 4 CPU seconds, two workers of 2.5 s each: 2 s useful and 0.5 s slowed; a start before the call is none."""
    case = replace(POOL.case, n_processes=2)
    alone = (
        Span(worker=-1, kind="call", start_s=0.0, end_s=5.0),
        Span(worker=0, kind="compute", start_s=0.0, end_s=5.0, cpu_s=4.0),
    )
    spread = (
        Span(worker=-1, kind="call", start_s=10.0, end_s=12.5),
        *(Span(worker=w, kind="start", start_s=7.0, end_s=9.0) for w in (0, 1)),
        *(Span(worker=w, kind="compute", start_s=10.0, end_s=12.5, cpu_s=2.5) for w in (0, 1)),
    )
    found = said(replace(SINGLE, spans=(alone,)), replace(POOL, case=case, spans=(spread,)))
    breakdown = values(found, "breakdown")
    assert {part.name: part.seconds for part in breakdown["shared_pool"].parts if part.seconds} == {
        "useful compute": 2.0,
        "compute slowed by shared resources": 0.5,
    }
    assert breakdown["shared_pool"].unexplained_s == 0.0


def test_what_ran_by_other_clocks_has_no_account() -> None:
    """Workers whose seconds lie outside the call are those of other machines: no account, but a sentence."""
    alone = (
        Span(worker=-1, kind="call", start_s=0.0, end_s=4.0),
        Span(worker=0, kind="compute", start_s=0.0, end_s=4.0, cpu_s=4.0),
    )
    ahead = (
        Span(worker=-1, kind="call", start_s=10.0, end_s=12.0),
        *(Span(worker=w, kind="compute", start_s=5010.0, end_s=5012.0, cpu_s=2.0) for w in (0, 1)),
    )
    elsewhere = replace(cell("dask", 2.0, PROCESSES), spans=(ahead,))
    found = said(replace(SINGLE, spans=(alone,)), elsewhere)
    assert (values(found, "breakdown"), found.warm["dask"].has_other_clocks) == ({}, True)
    assert where_the_time_went(found).reading == (
        "Dask has no breakdown: its workers ran on other machines, whose clocks differ."
    )


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ((THREADS, replace(POOL, samples_s=(1.9,) * 6)), "Set n_jobs=3: 2.00× as fast as one "
         "process (2.00–2.00). The shared-memory pool adds 5 % (5–5 %)."),
        ((replace(POOL, samples_s=(1.6,) * 6), THREADS), "Set n_jobs=3: 2.00× as fast as one process (2.00–2.00). "
         "Use the shared-memory pool for 25 % more (25–25 %): 2.50× while it is kept."),
        ((POOL, LOKY, THREADS), "Set n_jobs=3: 2.00× as fast as one process (2.00–2.00). "
         "Statistically tied: joblib's loky and the shared-memory pool."),
        ((DASK, replace(POOL, samples_s=(1.09,) * 6)), "Use the shared-memory pool: 3.67× as fast as one process "
         "(3.67–3.67) while it is kept. Dask adds 9 % (9–9 %)."),
        ((replace(POOL, samples_s=(3.8,) * 6),), "Stay with one process: no other way is shown to gain more than 10 %. "
         "Closest: the shared-memory pool is 1.05× as fast as one process (1.05–1.05)."),
        ((replace(THREADS, samples_s=(3.8,) * 6),), "Set n_jobs=3: 1.05× as fast as one process "
         "(1.05–1.05)."),
        ((replace(POOL, samples_s=(3.3, 3.9) * 3),), "Stay with one process: no other way is shown to gain more than "
         "10 %. Closest: the shared-memory pool is 1.11× as fast as one process (1.03–1.21)."),
    ],
)  # fmt: skip
def test_the_simplest_way_is_recommended_unless_another_gains_more_than_a_tenth(
    cells: tuple[Measurement, ...], expected: str
) -> None:
    """One process, n_jobs, an executor, our pool, Dask: each next one by its interval over the simpler; both named."""
    as_measured = [replace(one, case=replace(one.case, engine="sklearn")) for one in (SINGLE, *cells)]
    verdict = answer(said(*as_measured)).verdict
    assert verdict == expected
    assert len(verdict.split()) <= 45
