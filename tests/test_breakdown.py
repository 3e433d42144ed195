"""Where the time of a parallel run went."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferbench_lib.findings import Breakdown, Part
from inferbench_lib.records import Span
from inferbench_lib.studies.cpu_multiprocess import breakdown as b


def span(worker: int, kind: str, start_s: float, end_s: float, cpu_s: float = 0.0) -> Span:
    """A span in one line."""
    return Span(worker=worker, kind=kind, start_s=start_s, end_s=end_s, cpu_s=cpu_s)


def seconds(account: Breakdown) -> dict[str, float]:
    """The parts that are not nothing."""
    return {part.name: round(part.seconds, 9) for part in account.parts if abs(part.seconds) > 1e-9}


NAIVE_POOL = [
    span(b.PARENT, "serialize_model", 0.0, 0.5),
    span(b.PARENT, "serialize_data", 2.0, 3.0),
    span(b.PARENT, "collect", 9.0, 9.8),
    span(0, "start", 0.5, 1.0),
    span(0, "import", 1.0, 1.8),
    span(0, "deserialize_model", 1.8, 2.0),
    span(0, "receive", 3.0, 3.2),
    span(0, "compute", 3.2, 8.2, cpu_s=4.8),
    span(0, "serialize_result", 8.2, 8.4),
    span(1, "start", 1.0, 1.5),
    span(1, "import", 1.5, 2.3),
    span(1, "deserialize_model", 2.3, 2.5),
    span(1, "wait", 2.5, 3.4),
    span(1, "receive", 3.4, 3.6),
    span(1, "compute", 3.6, 9.0, cpu_s=5.4),
]


def test_a_whole_run_is_accounted_for_as_by_hand() -> None:
    """Two workers over ten seconds: every part equals the hand calculation, and what nothing explains stays."""
    account = b.account(NAIVE_POOL, start_s=0.0, end_s=10.0, single_s=10.0, n_cpus=2, n_workers=2)
    assert seconds(account) == {
        b.USEFUL: 5.0,
        b.SLOWED: 0.1,  # (4.8 + 5.4 − 10) / 2
        b.OVERSUBSCRIBED: 0.1,  # (10.4 − 10.2) / 2
        b.START: 0.75,  # (0.5 + 0.5 + 0.5 before the second was started) / 2
        b.IMPORTS: 0.8,
        b.MODEL: 0.7,  # (2 × 0.5 while the parent pickles + 2 × 0.2) / 2
        b.DATA: 1.05,  # (1 and 0.5 while the parent pickles + 0.2 + 0.2 + 0.2) / 2
        b.SCHEDULING: 0.2,  # 3.0–3.4 of one worker's wait
        b.IMBALANCE: 0.3,  # 8.4–9.0 of one worker
        b.SERIAL: 0.8,
    }
    assert account.unexplained_s == pytest.approx(0.2)
    assert account.whole_s == 10.0


def test_a_perfect_split_is_useful_compute_alone() -> None:
    """Two workers that each do half of the work from start to end lose nothing."""
    spans = [span(w, "compute", 0.0, 5.0, cpu_s=5.0) for w in (0, 1)]
    account = b.account(spans, start_s=0.0, end_s=5.0, single_s=10.0, n_cpus=2, n_workers=2)
    assert seconds(account) == {b.USEFUL: 5.0}
    assert set(b.losses(account).values()) == {0.0}


def test_a_sleeping_worker_waits_for_a_cpu() -> None:
    """Compute that spends no CPU time is waiting: 2 s wall with 1 s of CPU is 1 s of it."""
    account = b.account(
        [span(0, "compute", 0.0, 2.0, 1.0)], start_s=0.0, end_s=2.0, single_s=1.0, n_cpus=1, n_workers=1
    )
    assert seconds(account) == {b.USEFUL: 1.0, b.OVERSUBSCRIBED: 1.0}


def test_a_bandwidth_bound_kernel_is_slowed() -> None:
    """Four workers that each burn twice their share of CPU time lose it to shared resources."""
    spans = [span(w, "compute", 0.0, 2.0, 2.0) for w in range(4)]
    account = b.account(spans, start_s=0.0, end_s=2.0, single_s=4.0, n_cpus=4, n_workers=4)
    assert seconds(account) == {b.USEFUL: 1.0, b.SLOWED: 1.0}


def test_threads_share_a_worker_s_cpu_time() -> None:
    """Two threads spend 3 CPU seconds in 2 s of wall: for 2.4 s of work, 0.3 s slowed and 0.5 s without a CPU."""
    account = b.account(
        [span(0, "compute", 0.0, 2.0, 3.0)], start_s=0.0, end_s=2.0, single_s=2.4, n_cpus=2, n_workers=1, n_threads=2
    )
    assert seconds(account) == {b.USEFUL: 1.2, b.SLOWED: 0.3, b.OVERSUBSCRIBED: 0.5}


def test_a_worker_without_work_is_imbalance() -> None:
    """Of two workers one got everything: the other's idle time is imbalance."""
    account = b.account(
        [span(0, "compute", 0.0, 4.0, 4.0)], start_s=0.0, end_s=4.0, single_s=4.0, n_cpus=2, n_workers=2
    )
    assert seconds(account) == {b.USEFUL: 2.0, b.IMBALANCE: 2.0}
    for kind in set(b.IDLE_KINDS) - {"standby"}:
        only_waited = [span(0, "compute", 0.0, 4.0, 4.0), span(1, kind, 0.0, 4.0)]
        assert b.account(only_waited, start_s=0.0, end_s=4.0, single_s=4.0, n_cpus=2, n_workers=2) == account


def test_a_worker_that_stands_by_waits_for_a_cpu() -> None:
    """What it is idle for is no imbalance: 4 s of one that only stood by, 2 s of one that had to start first."""
    at_work = span(0, "compute", 0.0, 4.0, 4.0)
    warm = b.account(
        [at_work, span(1, "standby", 0.0, 4.0)], start_s=0.0, end_s=4.0, single_s=4.0, n_cpus=2, n_workers=2
    )
    assert seconds(warm) == {b.USEFUL: 2.0, b.OVERSUBSCRIBED: 2.0}
    started = [at_work, span(1, "start", 0.0, 2.0), span(1, "standby", 2.0, 4.0)]
    cold = b.account(started, start_s=0.0, end_s=4.0, single_s=4.0, n_cpus=2, n_workers=2)
    assert seconds(cold) == {b.USEFUL: 2.0, b.START: 1.0, b.OVERSUBSCRIBED: 1.0}


def test_a_worker_that_came_too_late_was_starting() -> None:
    """Where workers start within the run, one that never worked did so for 4 s, less 1 s for the parent's pickling."""
    spans = [
        span(b.PARENT, "serialize_data", 0.0, 1.0),
        span(0, "start", 0.0, 2.0),
        span(0, "compute", 2.0, 4.0, 2.0),
        span(1, "wait", 0.0, 4.0),
    ]
    account = b.account(spans, start_s=0.0, end_s=4.0, single_s=2.0, n_cpus=2, n_workers=2)
    assert seconds(account) == {b.USEFUL: 1.0, b.START: 2.5, b.DATA: 0.5}


def test_what_the_ceiling_loses_too_is_no_way_s_own_loss() -> None:
    """Of 0.5 s slowed the ceiling loses 0.3 s too; a way that is slowed less, or gains, has no loss beyond it."""
    computed = {s: [span(0, "compute", 0.0, 1.0 + s, 1.0 + s)] for s in (0.5, 0.3, 0.1, -0.2)}
    own = {
        s: b.account(c, start_s=0.0, end_s=1.0 + s, single_s=1.0, n_cpus=1, n_workers=1) for s, c in computed.items()
    }
    assert seconds(b.beside(own[0.5], own[0.3])) == {b.USEFUL: 1.0, b.SLOWED: 0.3, b.BEYOND: 0.2}
    assert seconds(b.beside(own[0.1], own[0.3])) == {b.USEFUL: 1.0, b.SLOWED: 0.1}
    assert seconds(b.beside(own[-0.2], own[0.3])) == {b.USEFUL: 1.0, b.SLOWED: -0.2}
    assert seconds(b.beside(own[0.1], own[-0.2])) == {b.USEFUL: 1.0, b.BEYOND: 0.1}


def test_smaller_pieces_may_run_faster_than_the_whole() -> None:
    """Compute below the single process's is a negative loss, not hidden."""
    account = b.account(
        [span(0, "compute", 0.0, 3.0, 3.0)], start_s=0.0, end_s=3.0, single_s=4.0, n_cpus=1, n_workers=1
    )
    assert seconds(account) == {b.USEFUL: 4.0, b.SLOWED: -1.0}


def test_ending_the_workers_is_the_parent_s_part() -> None:
    """A second in which the parent ends two workers, which say so too, counts once a worker."""
    spans = [
        *(span(w, "compute", 0.0, 2.0, 2.0) for w in (0, 1)),
        *(span(w, "stop", 2.0, 3.0) for w in (0, 1)),
        span(b.PARENT, "stop", 2.0, 3.0),
    ]
    account = b.account(spans, start_s=0.0, end_s=3.0, single_s=4.0, n_cpus=2, n_workers=2)
    assert seconds(account) == {b.USEFUL: 2.0, b.SERIAL: 1.0}


def test_losses_add_up_to_the_time_above_an_equal_split() -> None:
    """5 of 10 s were lost in the hand-computed run: 0.8 s to imports, 0.2 s unexplained."""
    lost = b.losses(b.account(NAIVE_POOL, start_s=0.0, end_s=10.0, single_s=10.0, n_cpus=2, n_workers=2))
    assert lost[b.IMPORTS] == pytest.approx(0.8)
    assert lost["unexplained"] == pytest.approx(0.2)
    assert sum(lost.values()) == pytest.approx(5.0)
    assert b.USEFUL not in lost


def test_an_average_of_runs_keeps_the_sum() -> None:
    """Parts and the unexplained are averaged one by one."""
    one = Breakdown(whole_s=3.0, parts=(Part(name="x", seconds=2.0),), unexplained_s=1.0)
    two = Breakdown(whole_s=5.0, parts=(Part(name="x", seconds=5.0),), unexplained_s=0.0)
    mean = Breakdown(whole_s=4.0, parts=(Part(name="x", seconds=3.5),), unexplained_s=0.5)
    assert b.average([one, two]) == mean


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        (
            [span(0, "compute", 0.0, 2.0, 1.0), span(0, "send", 1.5, 3.0)],
            "worker 0 send 1.5–3 s: expected it to begin after worker 0 compute 0–2 s ends, they overlap",
        ),
        ([span(1, "import", -1.0, 2.0)], "worker 1 import -1–2 s: expected a span within the run, 0 to 4 s"),
        ([span(0, "import", 1.0, 4.5)], "worker 0 import 1–4.5 s: expected a span within the run, 0 to 4 s"),
        ([span(0, "import", 2.0, 1.0)], "worker 0 import 2–1 s: expected a span within the run, 0 to 4 s"),
        (
            [span(b.PARENT, "think", 0.0, 1.0)],
            "parent think 0–1 s: expected a kind among collect, deserialize_result, serialize_data, "
            "serialize_model, share, start, stop, store",
        ),
        (
            [span(0, "compute", 0.0, 1.0)],
            "worker 0 compute 0–1 s: expected its CPU time; read time.process_time before and after computing",
        ),
        (
            [span(w, "compute", 0.0, 1.0, 1.0) for w in (0, 1, 2)],
            "account: expected spans of at most 2 workers, got those of [0, 1, 2]",
        ),
        (
            [span(0, "import", 0.0, 1.0)],
            "account: expected at least one compute span, got none; record it around the model's call",
        ),
    ],
)
def test_spans_that_cannot_be_are_refused_by_name(spans: list[Span], message: str) -> None:
    """Overlaps, spans outside the run, unknown kinds, missing CPU time and too many workers raise."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        b.account(spans, start_s=0.0, end_s=4.0, single_s=1.0, n_cpus=2, n_workers=2)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_explained_time_never_exceeds_what_the_workers_had(data: st.DataObject) -> None:
    """Whatever the timeline, the rest unexplained is exactly the tail in which nobody recorded anything."""
    kinds = st.sampled_from([*b.WORKER_KINDS, *b.IDLE_KINDS, "compute"])
    spans = [span(0, "compute", 0.0, 0.5, 0.4)]
    for worker in range(data.draw(st.integers(1, 3))):
        edges = sorted(data.draw(st.sets(st.integers(1, 40), min_size=2, max_size=10)))
        for start, end in zip(edges[::2], edges[1::2], strict=False):
            spans.append(span(worker, data.draw(kinds), start, end, cpu_s=0.5))
    edges = sorted(data.draw(st.sets(st.integers(0, 40), max_size=8)))
    parent = [
        span(b.PARENT, data.draw(st.sampled_from([*b.PARENT_KINDS])), start, end)
        for start, end in zip(edges[::2], edges[1::2], strict=False)
    ]
    account = b.account([*spans, *parent], start_s=0.0, end_s=40.0, single_s=7.0, n_cpus=3, n_workers=3)
    last_s = max(s.end_s for s in spans if s.kind not in b.IDLE_KINDS)
    covered_s = sum(max(0.0, s.end_s - max(s.start_s, last_s)) for s in parent)
    assert account.unexplained_s == pytest.approx(40.0 - last_s - covered_s)
