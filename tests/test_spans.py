"""Spans: what a block took, what is left between spans, and imports told apart."""

from __future__ import annotations

import builtins
from itertools import count

import parallel_helpers as helpers
import pytest

from inferbench_lib.processes import spans as spans_of
from inferbench_lib.processes.spans import idle_spans, imports_timed, spent
from inferbench_lib.records import Span


def test_a_block_is_recorded_with_its_wall_and_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A span has the two readings of the clock, and the difference of two readings of this process's CPU time."""
    monkeypatch.setattr(spans_of, "now", iter([10.0, 13.0]).__next__)
    monkeypatch.setattr(spans_of.time, "process_time", iter([5.0, 5.5]).__next__)
    spans: list[Span] = []
    with spent(spans, 2, "compute", 7):
        pass
    assert spans == [Span(worker=2, kind="compute", start_s=10.0, end_s=13.0, cpu_s=0.5, n_rows=7)]


def test_idle_time_is_wait_before_the_last_compute_and_imbalance_after_it() -> None:
    """The gaps of a lane are filled exactly, and named for whether work was still to come."""

    def span(worker: int, kind: str, start_s: float, end_s: float) -> Span:
        return Span(worker=worker, kind=kind, start_s=start_s, end_s=end_s)

    busy = [span(0, "compute", 2, 3), span(0, "compute", 5, 6), span(0, "store", 6, 7), span(1, "compute", 0, 8)]
    assert idle_spans(busy, range(3), 0, 10) == [
        span(0, "wait", 0, 2), span(0, "wait", 3, 5), span(0, "imbalance", 7, 10),
        span(1, "imbalance", 8, 10),
        span(2, "imbalance", 0, 10),
    ]  # fmt: skip
    assert idle_spans(busy[:1], range(2), 0, 10, {1})[-1] == span(1, "standby", 0, 10)


def test_the_import_clock_counts_outermost_imports_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that imports counts once, an import outside the clock does not, and nothing stays changed."""
    monkeypatch.setattr(spans_of, "now", count().__next__)  # each reading is a second later
    before = builtins.__import__
    with imports_timed() as seconds:
        assert helpers.fresh_import("slow_to_import") == 7  # which imports `time`
        assert helpers.fresh_import("slow_to_import") == 7
    helpers.fresh_import("slow_to_import")
    assert seconds == [1, 1]
    assert builtins.__import__ is before
