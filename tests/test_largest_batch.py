"""What a cell that was out of memory on a device is told of the largest batch that fits there."""

from __future__ import annotations

from typing import Any

import pytest

from inferbench_lib.errors import MeasurementError, WorkerDied
from inferbench_lib.measure.rounds import Entry
from inferbench_lib.records import Case, Measurement, Outcome
from inferbench_lib.studies.common import with_largest_batches


class Host:
    """A bench that answers, or dies."""

    def __init__(self, answer: int | Exception | None = None) -> None:
        self.answer, self.asked = answer, list[tuple[Any, ...]]()

    def call(self, *asked: Any) -> int | None:
        self.asked.append(asked)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def told(host: Host, ends: dict[int, Outcome], device: str = "cuda:0") -> list[tuple[str, dict[str, float]]]:
    """Reasons and figures of the cells of one network, by how each batch size ended."""
    rows = [
        Measurement(
            case=Case(workload="cnn-small", device=device, batch_size=size),
            samples_s=(1.0,) if end is Outcome.OK else (),
            round_sizes=(1,) if end is Outcome.OK else (),
            outcome=end,
            reason="" if end is Outcome.OK else str(end),
        )
        for size, end in ends.items()
    ]
    entries = [Entry(case=row.case, host=host) for row in rows]
    return [(row.reason, dict(row.figures)) for row in with_largest_batches(entries, rows)]


def test_it_is_looked_for_once_between_what_ran_and_what_did_not() -> None:
    """Batches of 4 ran and of 16 did not: one search from 4 to 16, told with each cell that was out of memory."""
    host = Host(9)
    found = told(host, {32: Outcome.OOM, 1: Outcome.OK, 4: Outcome.OK, 16: Outcome.OOM})
    out = ("oom; the largest batch that fits is 9", {"largest_batch": 9})
    assert found == [out, ("", {}), ("", {}), out]
    assert [(name, case.batch_size, *ends) for name, case, *ends in host.asked] == [("largest_batch", 16, 4, 16)]


def test_it_is_looked_for_below_the_smallest_that_did_not_fit() -> None:
    """A batch of 64 that ran, when 16 did not, is no lower end of the search."""
    host = Host(9)
    told(host, {4: Outcome.OK, 16: Outcome.OOM, 64: Outcome.OK})
    assert [ends for *_, low, high in host.asked for ends in [(low, high)]] == [(4, 16)]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, ("oom; not even one input fits", {"largest_batch": 0})),
        (WorkerDied("it is gone"), ("oom; the largest batch that fits was not found: it is gone", {})),
        (MeasurementError("it is lost"), ("oom; the largest batch that fits was not found: it is lost", {})),
    ],
    ids=["none fits", "the process ended", "the device is lost"],
)
def test_where_there_is_none_the_cell_says_so(answer: Exception | None, expected: tuple[str, dict[str, float]]) -> None:
    """Where not even one image fits, and where the search fails: in words, beside the reason of the cell."""
    host = Host(answer)
    assert told(host, {2: Outcome.OOM}) == [expected]
    assert [(name, case.batch_size, *ends) for name, case, *ends in host.asked] == [("largest_batch", 2, 1, 2)]


def test_nothing_is_looked_for_where_all_ran_or_on_the_processor() -> None:
    """A cell that ran is left as it is, and so is the processor's, whose memory is the machine's."""
    host = Host(9)
    assert told(host, {2: Outcome.OK}) == [("", {})]
    assert told(host, {2: Outcome.OOM}, device="cpu") == [("oom", {})]
    assert host.asked == []
