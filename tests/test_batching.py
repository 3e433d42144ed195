"""Which batch size, and what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sample_runs as samples

from inferbench_lib.findings import Refusal
from inferbench_lib.records import Case, Machine, Measurement, Outcome, Run
from inferbench_lib.studies.batch_sweep import page
from inferbench_lib.studies.batch_sweep.best import BestBatch, Cause, NoBatch, best_batch
from inferbench_lib.studies.batch_sweep.study import Knee, figures, knee, study

FLAT = {1: [50.0] * 6, 2: [90.0] * 6, 4: [96.0] * 6, 8: [100.0] * 6, 16: [99.0] * 6}


def batch(size: int, seconds: float, *, calls: int = 50, **fields: object) -> Measurement:
    """Six rounds of equal calls on a batch."""
    return Measurement(
        case=Case(workload="cnn", batch_size=size),
        samples_s=(seconds,) * (6 * calls),
        round_sizes=(calls,) * 6,
        inputs_per_call=size,
        **fields,  # type: ignore[arg-type]
    )


def test_the_knee_is_the_smallest_batch_close_to_the_best() -> None:
    """Within 5 % of 100 per second first comes batch 4."""
    found = knee(FLAT)
    assert isinstance(found, Knee)
    assert (found.batch_size, found.low, found.high) == (4, 4, 4)
    assert found.reached


def test_a_throughput_that_still_rises_has_no_knee_yet() -> None:
    """Where the largest batch is the knee it is said not to be reached."""
    found = knee({1: [10.0] * 6, 2: [20.0] * 6, 4: [40.0] * 6})
    assert isinstance(found, Knee)
    assert (found.batch_size, found.reached) == (4, False)


def test_rounds_that_disagree_widen_the_knee() -> None:
    """Half of the rounds put batch 4 within 5 %, half do not: the interval spans 4 and 8."""
    found = knee({4: [90.0, 98.0] * 4, 8: [100.0] * 8, 16: [100.0] * 8})
    assert isinstance(found, Knee)
    assert (found.low, found.high) == (4, 8)


def test_few_rounds_withhold_the_knee_s_interval() -> None:
    """Three rounds give a knee without interval."""
    found = knee({1: [1.0] * 3, 2: [2.0] * 3})
    assert isinstance(found, Knee)
    assert (found.low, found.high, found.reason) == (None, None, "needs 6 rounds, has 3")


def test_one_batch_size_has_no_knee() -> None:
    """It needs another to be compared with."""
    assert knee({1: [1.0] * 6}) == Refusal(reason="a knee needs 2 measured batch sizes, has 1")


def test_without_limits_the_best_batch_has_the_highest_throughput() -> None:
    """Batch 8 at 100 a second beats 1 at 50 and 16 at 80."""
    best = best_batch([batch(1, 0.02), batch(8, 0.08), batch(16, 0.2)])
    assert isinstance(best, BestBatch)
    assert (best.batch_size, best.throughput_per_s.value) == (8, pytest.approx(100.0))
    assert best.latency is None


def test_limits_exclude_batches_and_say_why() -> None:
    """A latency limit excludes 8, a memory limit 4, out of memory 16; 2 remains, judged by its p95."""
    limits: dict[str, Any] = {"max_latency_s": 0.06, "max_memory_bytes": 80_000_000}
    within = batch(2, 0.03, peak_memory_bytes=50_000_000)
    beyond = [
        batch(4, 0.05, peak_memory_bytes=90_000_000),
        batch(8, 0.08, peak_memory_bytes=60_000_000),
        Measurement(case=Case(workload="cnn", batch_size=16), outcome=Outcome.OOM, reason="2 GB"),
    ]
    best = best_batch([within, *beyond], **limits)
    assert isinstance(best, BestBatch)
    assert best.latency is not None
    assert (best.batch_size, best.latency.p, best.latency.value) == (2, 0.95, 0.03)
    assert best_batch(beyond, **limits) == NoBatch(
        cause=Cause.EXCEEDED,
        reason="no batch size met the limits: batch 4: 90 MB is above 80 MB; batch 8: p50 80 ms is above 60 ms; "
        "batch 16: oom: 2 GB",
    )


def test_every_batch_is_judged_by_one_percentile() -> None:
    """Sixty samples carry p95; a larger batch of 18 samples is not recommended, fast as it seems; nor are means."""
    best = best_batch([batch(2, 0.03, calls=10), batch(8, 0.04, calls=3)], max_latency_s=0.06)
    assert isinstance(best, BestBatch)
    assert best.latency is not None
    assert (best.batch_size, best.latency.p, best.latency.value) == (2, 0.95, 0.03)
    assert best_batch([batch(8, 0.04, calls=3), batch(2, 0.03, calls_per_sample=4)], max_latency_s=0.06) == NoBatch(
        cause=Cause.UNKNOWN,
        reason="no batch size is known to meet the limits: "
        "batch 2: p95 latency not known: needs single-call samples, has means of 4 calls; "
        "batch 8: p95 latency not known: needs 59 single-call samples, has 18",
    )


def test_the_percentile_is_the_users() -> None:
    """A third of the calls takes 90 ms: a limit of 60 ms holds for the median, not for p90."""
    mixed = replace(batch(2, 0.03), samples_s=((0.03,) * 33 + (0.09,) * 17) * 6)
    found = best_batch([mixed], max_latency_s=0.06, latency_percentile=0.5)
    assert isinstance(found, BestBatch)
    assert best_batch([mixed], max_latency_s=0.06, latency_percentile=0.9) == NoBatch(
        cause=Cause.EXCEEDED, reason="no batch size met the limits: p90 90 ms is above 60 ms"
    )


def test_the_smallest_batch_tied_with_the_best_is_recommended() -> None:
    """Batch 8 is 0.3 % below batch 16 in rounds that scatter by 2 %, batch 4 is 20 % below: 8."""
    wobble = (1.0, 1.02, 0.98, 1.01, 0.99, 1.015, 0.985, 1.0)

    def noisy(size: int, per_input: float, shift: int) -> Measurement:
        samples = tuple(size * per_input * wobble[(n + shift) % 8] for n in range(8))
        return replace(batch(size, 1.0), samples_s=samples, round_sizes=(1,) * 8)

    best = best_batch([noisy(16, 1.0, 0), noisy(4, 1.25, 5), noisy(8, 1.003, 3)])
    assert isinstance(best, BestBatch)
    assert best.batch_size == 8


def test_a_tie_by_noise_recommends_nothing_much_slower() -> None:
    """Noisy rounds tie every batch: 1 is half as fast as the best and stays out, 8 is 9 % slower and is taken."""
    swings = {1: (3, 1) * 4, 8: (3, 1) * 4, 16: (1, 3) * 4}
    cells = [
        replace(batch(size, s), samples_s=tuple(s * swing for swing in swings[size]), round_sizes=(1,) * 8)
        for size, s in ((1, 0.2), (8, 0.872), (16, 1.6))
    ]
    best = best_batch(cells)
    assert isinstance(best, BestBatch)
    assert best.batch_size == 8


def test_a_slow_tail_excludes_a_batch_whose_median_would_pass() -> None:
    """Eighteen slow calls in 300 break a p95 limit."""
    tailed = Measurement(
        case=Case(workload="cnn", batch_size=2),
        samples_s=((0.03,) * 47 + (0.09,) * 3) * 6,
        round_sizes=(50,) * 6,
        inputs_per_call=2,
    )
    assert best_batch([tailed], max_latency_s=0.06) == NoBatch(
        cause=Cause.EXCEEDED, reason="no batch size met the limits: p95 90 ms is above 60 ms"
    )


def test_memory_is_judged_above_idle() -> None:
    """Of 250 MB, 200 are the idle process: within 60 MB. Memory that was not measured is not within a limit."""
    above = replace(batch(4, 0.05, peak_memory_bytes=250_000_000), figures={"idle_bytes": 200_000_000})
    assert isinstance(best_batch([above], max_memory_bytes=60_000_000), BestBatch)
    assert best_batch([above], max_memory_bytes=40_000_000) == NoBatch(
        cause=Cause.EXCEEDED, reason="no batch size met the limits: 50 MB is above 40 MB"
    )
    unknown = [batch(4, 0.05), batch(2, 0.03, notes={"memory": "not measured: lost"})]
    assert best_batch(unknown, max_memory_bytes=1) == NoBatch(
        cause=Cause.UNKNOWN,
        reason="no batch size is known to meet the limits: batch 2: memory not measured: lost; "
        "batch 4: memory not measured",
    )


def test_batches_that_were_not_measured_are_no_finding() -> None:
    """Where every cell failed the page says "not measured" and why, nowhere that a limit was not met."""
    run = samples.RUNS["sweep, all failed"]
    said = study(run)
    why = "not measured: failed: worker 2 ended by SIGKILL in batch 7, likely out of memory"
    assert [refusal.cause for _, refusal in said.refused] == [Cause.NOT_MEASURED]
    assert page.answer(said).verdict == f"No recommendation for the forest: {why}."
    assert page.advise(said).recommendation == f"no recommendation: {why}"
    assert run.summary["best_batch[forest,cpu]"].verdict == f"refused: {why}"
    assert page.answer(study(samples.RUNS["sweep, nothing fits"])).verdict == (
        "No recommendation for the forest and the small network: no batch size met the limits."
    )


def test_engines_and_thread_counts_are_series_of_their_own() -> None:
    """Two engines by two numbers of threads in one sweep: four series, the usual one under the name it always had."""
    speeds = {("sklearn", 1): 1.0, ("sklearn", 2): 1.5, ("onnxruntime", 1): 4.0, ("onnxruntime", 2): 5.0}
    cells = tuple(
        replace(found, case=replace(found.case, workload="forest", engine=engine, n_threads=n))
        for (engine, n), speed in speeds.items()
        for found in (batch(1, 0.1 / speed), batch(10, 0.2 / speed))
    )
    said = study(Run(notebook="batch_sweep", run_id="r", machine=Machine(), params={}, measurements=cells))
    throughputs = {name: figure.value for name, figure in figures(said).items() if name.startswith("best_throughput")}
    assert throughputs == {
        "best_throughput[forest,cpu]": pytest.approx(50.0),
        "best_throughput[forest,cpu,t2]": pytest.approx(75.0),
        "best_throughput[forest,cpu,onnxruntime]": pytest.approx(200.0),
        "best_throughput[forest,cpu,onnxruntime,t2]": pytest.approx(250.0),
    }
    assert [(series.label.key, best.batch_size) for series, best in said.recommended] == [
        ("forest,cpu,onnxruntime,t2", 10)
    ]
    assert page.advise(said).recommendation == "use batches of 10 for the forest on cpu, onnxruntime, 2 threads"
    assert set(page.throughput_by_batch(said).frame["label"]) == {
        "the forest on cpu, 1 thread",
        "the forest on cpu, 2 threads",
        "the forest on cpu, onnxruntime, 1 thread",
        "the forest on cpu, onnxruntime, 2 threads",
    }


def test_more_threads_are_recommended_only_where_they_are_faster() -> None:
    """Two threads tied with one: one, and the line sets it; half as long with two: two. Its card is the first."""
    for seconds, n in ((0.2, 1), (0.1, 2)):
        cells = [
            replace(found, case=replace(found.case, workload="forest", engine="sklearn", n_threads=n_threads))
            for n_threads, of_call in ((1, 0.2), (2, seconds))
            for found in (batch(10, of_call), batch(1, 0.1))
        ]
        said = study(Run(notebook="batch_sweep", run_id="r", machine=Machine(), params={}, measurements=tuple(cells)))
        assert [series.case.n_threads for series, _ in said.recommended] == [n]
        answer = page.answer(said)
        assert f"model.n_jobs = {n}\n" in answer.code
        labels = ["best for the forest on cpu, 1 thread", "best for the forest on cpu, 2 threads"]
        assert [card.label for card in answer.cards] == (labels if n == 1 else labels[::-1])


def test_without_a_batch_size_within_the_limits_nothing_is_recommended() -> None:
    """The advice says so in a word, and its evidence why."""
    run = Run(
        notebook="batch_sweep",
        run_id="r",
        machine=Machine(),
        params={"max_memory_bytes": 1},
        measurements=(batch(2, 0.03),),
    )
    advice = page.advise(study(run))
    assert (advice.recommendation, advice.evidence, advice.limits) == (
        "no recommendation: no batch size is known to meet the limits",
        "cnn on cpu, 1 thread: no batch size is known to meet the limits: memory not measured",
        "memory of at most 1.0 B",
    )
