"""One trust level per run: quiet, noisy or unusable, from its intervals, its control workload and its flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import sample_runs as samples
from made_pairs import with_control

from inferbench_lib.findings import Cause, TrustLevel
from inferbench_lib.records import Flag, Run
from inferbench_lib.stats.trust import trust, worst

WAYS = ("single", "threads", "naive_pool", "shared_pool")
LOAD = Flag(name="other_load", text="in 8 of 8 rounds other programs used 21 % of the CPUs")

HOT = replace(LOAD, name="gpu_throttled", invalidates=True)


def run_of(width: float = 0.02, *, wide: int = 4, control: Sequence[float] = (1.0,) * 8, **fields: Any) -> Run:
    """Four cells of eight rounds; `wide` of them scatter by `width` on either side, the others by 1 %."""

    def wobble(by: float) -> tuple[float, ...]:
        # The two extreme rounds lie outside the signed-rank interval of eight only in part: it ends at the means.
        return (1.0, 1 + by, 1.0 - by, 1.0, 1 + by, 1 - by, 1 + by, 1 - by)

    cells = [
        samples.way(name, wobble=wobble(width if number < wide else 0.01), spans=(), **fields)
        for number, name in enumerate(WAYS)
    ]
    return with_control(samples.multiprocess(*cells), [[0.01 * seconds] for seconds in control])


@pytest.mark.parametrize(
    ("run", "level", "cause"),
    [
        (run_of(0.02), TrustLevel.QUIET, Cause.INTERVALS),
        (run_of(0.02, control=[1.0, 1.13] * 4), TrustLevel.QUIET, Cause.CONTROL),
        (run_of(0.2), TrustLevel.NOISY, Cause.INTERVALS),
        (run_of(0.2, wide=1), TrustLevel.QUIET, Cause.INTERVALS),
        (run_of(0.45), TrustLevel.UNUSABLE, Cause.INTERVALS),
        (run_of(0.02, control=[1.0, 1.25] * 4), TrustLevel.NOISY, Cause.CONTROL),
        (run_of(0.02, control=[1.0, 2.5] * 4), TrustLevel.UNUSABLE, Cause.CONTROL),
        (run_of(0.02, flags=(LOAD,)), TrustLevel.NOISY, Cause.DISTURBED),
        (run_of(0.02, flags=(replace(LOAD, name="oversubscribed"),)), TrustLevel.QUIET, Cause.INTERVALS),
        (run_of(0.02, flags=(replace(LOAD, name="drift"),)), TrustLevel.QUIET, Cause.INTERVALS),
        (run_of(0.02, flags=(HOT,)), TrustLevel.UNUSABLE, Cause.UNSTABLE),
    ],
)
def test_the_worst_sign_gives_the_level(run: Run, level: TrustLevel, cause: Cause) -> None:
    """Wide intervals, a changed control workload, other load and unstable cells each lower the level, and are named."""
    found = trust(run)
    assert (found.level, found.cause) == (level, cause)


def test_a_run_that_nothing_watched_is_not_quiet() -> None:
    """Without the control workload in each round, and without telemetry, nobody can call a run quiet."""
    run = run_of()
    for tables in ({}, {"schedules": {"rounds": {"control_s": [[0.01], []]}}}):
        found = trust(replace(run, tables=tables))
        assert (found.level, found.cause) == (TrustLevel.NOISY, Cause.UNWATCHED)
    unseen = Flag(name="not_watched", text="other load was not watched")
    found = trust(run_of(flags=(unseen,)))
    assert (found.level, found.flag) == (TrustLevel.NOISY, unseen)


def test_the_half_width_is_that_of_the_further_end() -> None:
    """With rounds at 0.8 and 1.2 of the median, three of four cells are known to 20 %."""
    assert trust(run_of(0.2)).value == pytest.approx(0.2)


def test_runs_are_as_quiet_as_the_worst() -> None:
    """Of several runs the least trustworthy counts."""
    found = [trust(run) for run in (run_of(0.02), run_of(0.45), run_of(0.2))]
    assert worst(found) is found[1]
