"""What the page on several processes says of a run that measured everything: cold starts, scaling, memory, network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import sample_runs as samples
from page_texts import UNSAID, draw, row, sentences

from inferbench_lib.findings import Interval, Verdict
from inferbench_lib.records import Case, Machine, Measurement, Outcome, Run, Span
from inferbench_lib.report.words import compared, interval, measured, ratio, share
from inferbench_lib.studies.cpu_multiprocess import page

ALONE_S = {1_000: 0.010, 2_000: 0.020, 4_000: 0.040}
POOL_S = {
    (2, 1_000): 0.012,
    (2, 2_000): 0.011,
    (2, 4_000): 0.021,
    (4, 1_000): 0.02,
    (4, 2_000): 0.01,
    (4, 4_000): 0.0105,
}
NETWORK_S = {(1, 1): 0.8, (1, 2): 0.5, (2, 1): 0.4}


def cold_pool() -> Measurement:
    """The shared pool from a cold start: 2.5 s, of which each of the three started workers needs 1.5 s to start."""
    case = replace(samples.way("shared_pool").case, cold=True)
    spans = (
        Span(worker=-1, kind="call", start_s=0.0, end_s=2.5),
        Span(worker=3, kind="compute", start_s=0.0, end_s=2.5, cpu_s=1.0),
        *(Span(worker=n, kind="start", start_s=0.0, end_s=1.5) for n in range(3)),
        *(Span(worker=n, kind="compute", start_s=1.5, end_s=2.5, cpu_s=1.0) for n in range(3)),
    )
    measured = samples.cell(case, 2.5, inputs_per_call=samples.N_ROWS)
    return replace(measured, spans=(spans,) * len(measured.samples_s))


def scaling_cells() -> Iterator[Measurement]:
    """One process, and pools of two and of four, over three numbers of rows."""
    times_s = {(1, n_rows): s for n_rows, s in ALONE_S.items()} | POOL_S
    for (n, n_rows), median_s in times_s.items():
        name = "single" if n == 1 else "shared_pool"
        case = Case(workload="forest", executor=name, batch_size=n_rows // n, n_processes=n)
        yield samples.cell(case, median_s, inputs_per_call=n_rows, notes={"part": "scaling"})


def network_cells() -> Iterator[Measurement]:
    for (n, n_threads), median_s in NETWORK_S.items():
        name = "single" if n == 1 else "shared_pool"
        case = Case(workload="cnn-small", executor=name, batch_size=16, n_processes=n, n_threads=n_threads)
        yield samples.cell(case, median_s, notes={"part": "network"})


def everything(*more: Measurement) -> Run:
    """All ways, the shared pool with 1.1 times the data in memory."""
    sizes = {"idle_bytes": 5e8, "data_bytes": 1e8}
    ways = [samples.way(name) for name in samples.WAYS if name != "shared_pool"]
    pool = replace(samples.way("shared_pool"), figures=sizes, peak_memory_bytes=610_000_000)
    return samples.multiprocess(*ways, pool, *(more or (cold_pool(), *scaling_cells(), *network_cells())))


def percent(value: float) -> str:
    """A share whose every round is the same, as the page says it."""
    return measured(Interval(value=value, low=value, high=value), share)


@pytest.fixture(scope="module")
def said() -> page.MultiprocessStudy:
    return page.study(everything())


def test_nothing_unsaid_is_said_and_everything_is_drawn() -> None:
    """Whole, with a cold start that failed, and on a machine with fewer CPUs: no NaN, no empty place, no warning."""
    failed = replace(cold_pool(), samples_s=(), round_sizes=(), spans=(), outcome=Outcome.FAILED, reason="it died")
    few = replace(everything(), machine=Machine(usable_cpus=2))
    for run in (everything(), everything(failed), few):
        assert [text for text in sentences(run) if UNSAID.search(text)] == []
        study = page.study(run)
        for view in (show(study) for show in page.VIEWS):
            assert view.frame.empty or draw(view).startswith(b"\x89PNG")


def test_the_verdict_tells_warm_from_cold(said: page.MultiprocessStudy) -> None:
    """1.2 s warm and 2.5 s cold against 4.0 s alone, 1.0 s the ceiling: a card for both."""
    answer = page.answer(said)
    cards = {card.label: card.value for card in answer.cards}
    assert (cards["speedup of the shared-memory pool"], cards["speedup of the shared-memory pool, cold"]) == (
        "3.33×",
        "1.60×",
    )


def test_a_way_that_reaches_the_ceiling_is_as_fast_as_the_machine_allows() -> None:
    """1.25 s, and so by independent processes: all of the ceiling; of 1.0 s the threads reach 80 %."""
    ceiling = samples.way("ceiling")
    slower = replace(ceiling, samples_s=tuple(1.25 * s for s in ceiling.samples_s))
    others = [samples.way(name) for name in samples.WAYS if name != "ceiling"]
    for run, expected in (
        (samples.multiprocess(*others, slower), "; as fast as this machine allows; "),
        (samples.multiprocess(*others, ceiling), "; 80 % of what this machine allows; "),
    ):
        assert expected in page.advise(page.study(run)).evidence


def test_workers_that_stood_by_are_said() -> None:
    """Two of four on two CPUs, which two keep busy: nothing is lost."""
    at_work = (Span(worker=n, kind="compute", start_s=0.0, end_s=2.0, cpu_s=2.0) for n in range(2))
    aside = (Span(worker=n, kind="standby", start_s=0.0, end_s=2.0) for n in (2, 3))
    spans = (Span(worker=-1, kind="call", start_s=0.0, end_s=2.0), *at_work, *aside)
    pool = samples.way("shared_pool")
    pool = replace(pool, spans=(spans,) * len(pool.samples_s))
    others = [samples.way(name) for name in samples.WAYS if name != "shared_pool"]
    said = page.study(replace(samples.multiprocess(*others, pool), machine=Machine(usable_cpus=2)))
    assert {key: way.standing_by for key, way in said.warm.items() if way.standing_by} == {"shared_pool": 2}
    assert page.where_the_time_went(said).reading.endswith(
        "The shared-memory pool lost nothing against an equal split of one process's work. Unexplained: 0 % of the "
        "whole. "
        "The shared-memory pool left 2 of 4 workers idle, since the others keep all CPUs busy."
    )


def test_a_failed_cold_start_is_said() -> None:
    """It has no figure, and its reason stands beside the answer."""
    failed = replace(cold_pool(), samples_s=(), round_sizes=(), spans=(), outcome=Outcome.FAILED, reason="it died")
    said = page.study(everything(failed))
    assert "cold start" not in page.answer(said).verdict
    assert "The shared-memory pool, cold: failed (it died)" in page.answer(said).flags
    assert row(page.table(said), way="the shared-memory pool, cold")["median"] == "–"


def test_a_cold_start_has_an_account_of_its_own(said: page.MultiprocessStudy) -> None:
    """Three of four workers start for 1.5 s: 1.125 s of 2.5 s; useful is 1 s; the caller computed all the while."""
    seconds = said.cold["shared_pool"].breakdown
    assert seconds is not None
    parts = {part.name: part.seconds for part in seconds.parts if abs(part.seconds) > 1e-9}
    assert parts == {
        "useful compute": pytest.approx(1.0),
        "process start": pytest.approx(1.125),
        "waiting for a CPU": pytest.approx(0.375),
    }
    held = said.cold["shared_pool"].ratio
    assert held is not None
    assert held.value == pytest.approx(1.6)
    assert page.cold_start(said).reading == (
        f"{compared(held, 'The shared-memory pool, cold', 'one process')}. "
        "The shared-memory pool, cold lost 1.50 s per pass, 60 % of its time, against an equal split of one process's "
        "work: process start 1.12 s (75 %) and waiting for a CPU 375 ms (25 %). Unexplained: 0 % of the whole."
    )


def test_side_by_side_holds_each_way_against_ceiling_ideal_and_threads(said: page.MultiprocessStudy) -> None:
    """1.0 s the ceiling, 1.2 s the pool, 1.25 s the threads."""
    view = page.side_by_side(said)
    assert view.frame.attrs["marks"] == [
        (1.0, "one process"),
        (4.0, "ideal: 4 times one process"),
        (pytest.approx(4.0), "ceiling, independent processes: 4.00×"),
    ]
    assert view.reading.startswith(
        f"Share of the ceiling, independent processes at 4.00× one process: the shared-memory pool {percent(0.83)}, "
        f"scikit-learn threads {percent(0.80)} and a new ProcessPoolExecutor per call {percent(0.20)}. "
    )
    assert view.reading.endswith(
        f"Speed relative to scikit-learn's own threads: the shared-memory pool {percent(1.04)} and a new "
        f"ProcessPoolExecutor per call {percent(0.25)}."
    )
    few = page.study(replace(everything(), machine=Machine(usable_cpus=2)))
    assert page.side_by_side(few).frame.attrs["marks"][1] == (2.0, "ideal: 2 times one process")


def test_scaling_is_strong_weak_and_withheld(said: page.MultiprocessStudy) -> None:
    """4,000 rows: 40 ms alone, 21 ms by two, 10.5 ms by four; 1,000 rows each: 11 ms by two are 10/11 efficient.

    More processes than CPUs are said to be that many.
    """
    (seen,) = said.spreadings
    two, four = seen.strong[2], seen.strong[4]
    assert (two.value, four.value) == (pytest.approx(40 / 21), pytest.approx(40 / 10.5))
    assert page.scaling_curve(said).reading == (
        f"With 4,000 rows: 2 processes {ratio(two)}; 4 processes {ratio(four)}. "
        "4 processes reach 95 % of the ideal 4×. "
        f"Efficiency with 1,000 rows per process: 2 processes {percent(0.91)}; 4 processes {percent(0.95)}. "
        f"Amdahl's law: {percent(0.01)} of the work is serial, so no number of processes exceeds 69.0× "
        "(worst misfit 2 %). "
        "No universal scalability law: the universal scalability law needs 4 worker counts, has 3."
    )
    few = page.study(replace(everything(), machine=Machine(usable_cpus=2)))
    assert page.scaling_curve(few).reading.startswith(
        f"With 4,000 rows: 2 processes {ratio(two)}; 4 processes (more than CPUs) {ratio(four)}. "
    )


def test_the_map_shows_from_where_on_processes_pay(said: page.MultiprocessStudy) -> None:
    """Two processes lose at 1,000 rows and win from 2,000 on; so do four."""
    view = page.crossover_map(said)
    pays = {(one.y, one.x): one.pays for one in view.frame.itertuples()}
    assert pays == {(n, n_rows): n_rows > 1_000 for n in "24" for n_rows in ALONE_S}
    assert view.reading.startswith(
        "2 processes of a warm pool are faster than one from 2,000 rows per call on; 4 processes of a warm pool are "
        "faster than one from 2,000 rows per call on."
    )
    # 1.3 s of start-up over 60,000 rows, of which each saves 2.8 s / 60,000
    assert f"the shared-memory pool: 27,857 rows ({interval(27857, 27857, '{:,.0f}'.format)})" in view.reading


def test_where_there_is_no_verdict_is_said_and_no_border(said: page.MultiprocessStudy) -> None:
    """Rows at which a cell was unsteady do not move the border to larger ones; where it was not faster does."""
    (seen,) = said.spreadings
    at = {verdict: dict(seen.speedups) for verdict in (Verdict.UNSTABLE, Verdict.INDISTINGUISHABLE)}
    for verdict, speedups in at.items():
        speedups[4, 2_000] = replace(speedups[4, 2_000], verdict=verdict)
        speedups[4, 1_000] = replace(speedups[4, 1_000], verdict=Verdict.FASTER)
    unsteady, level = (replace(said, spreadings=(replace(seen, speedups=ratios),)) for ratios in at.values())
    assert "; 4 processes of a warm pool are faster than one from 1,000 rows per call on (no verdict at 2,000). " in (
        page.crossover_map(unsteady).reading
    )
    assert "; 4 processes of a warm pool are faster than one from 4,000 rows per call on. " in (
        page.crossover_map(level).reading
    )


def test_the_fastest_spread_names_its_ties() -> None:
    """Two processes of one thread at 0.400 s, one of two at 0.401 s: no order is claimed between them."""
    cells = [replace(cell, samples_s=(0.401,) * len(cell.samples_s)) if cell.case.n_threads == 2 else cell
             for cell in network_cells()]  # fmt: skip
    assert page.network_spread(page.study(everything(*cells))).reading.endswith(
        " Fastest: 2 processes × 1 thread. Statistically tied: 1 process × 2 threads."
    )
    alone = [cell for cell in network_cells() if cell.case.n_threads * cell.case.n_processes == 1]
    assert "Fastest" not in page.network_spread(page.study(everything(*alone))).reading


def test_memory_and_network_are_read_back(said: page.MultiprocessStudy) -> None:
    """110 MB above the idle processes for 100 MB; two processes are twice as fast as one."""
    assert row(page.table(said), way="the shared-memory pool")["memory"] == "1.10× data"
    threads, processes = (one.ratio for one in said.network[1:])
    assert threads is not None
    assert processes is not None
    assert (threads.value, processes.value) == (pytest.approx(1.6), pytest.approx(2.0))
    assert page.network_spread(said).reading == (
        f"Against one process with one thread: 1 process × 2 threads {ratio(threads)}; "
        f"2 processes × 1 thread {ratio(processes)}. Fastest: 2 processes × 1 thread."
    )


def test_what_was_not_measured_is_said() -> None:
    """A run without cold starts, scaling and network says so in each place."""
    said = page.study(samples.multiprocess())
    assert page.cold_start(said).reading == "No way was measured from a cold start."
    assert page.scaling_curve(said).reading == "Rows by processes were not measured: `scaling_rows` is empty."
    assert page.network_spread(said).reading == (
        "The network was not measured: `network_processes` or `network_threads` is empty."
    )
