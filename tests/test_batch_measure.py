"""Batch sizes are measured in shared processes, by each number of threads, and their memory in new ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferbench_lib import store, studies
from inferbench_lib.errors import NotAvailable
from inferbench_lib.progress import PROGRESS_FILE
from inferbench_lib.records import Measurement, Outcome, Run
from inferbench_lib.studies.batch_sweep import measure as measuring
from inferbench_lib.studies.batch_sweep.params import Params

PARAMS = sorted((Path(__file__).parents[1] / "params").glob("*/batch_sweep.yaml"))
ROUNDS = {"min_rounds": 2, "max_rounds": 2, "rounds_per_process": 1, "time_limit_s": 20.0}
FOREST = {"n_features": 4, "n_trees": 3, "n_train": 200, "device": "cpu"}


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Measure a small forest for real."""
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "progress"))
    monkeypatch.setenv(store.RUN_FOLDER, str(tmp_path))
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path))
    return lambda **values: measuring.measure(Params(**FOREST | ROUNDS | values))


def by_case(run: Run) -> dict[tuple[int, int], Measurement]:
    return {(cell.case.n_threads, cell.case.batch_size): cell for cell in run.measurements}


def test_threads_and_batches_share_a_process_and_memory_has_its_own(
    measured: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process for all cells, anew after each round; the memory of 200,000 rows above idle is larger than of one.

    Votes of 200,000 rows for two classes are 3.2 MB, which no memory of one row comes near.
    """
    pids: list[int] = []
    idle = measuring.memory_of_tree

    def seen(pid: int) -> int:
        pids.append(pid)
        return idle(pid)

    monkeypatch.setattr(measuring, "memory_of_tree", seen)
    cells = by_case(measured(batch_sizes={"forest": [1, 200_000]}, threads=[1, 2]))
    assert set(cells) == {(1, 1), (1, 200_000), (2, 1), (2, 200_000)}
    assert len({cell.worker_pid for cell in cells.values()}) == 1
    assert {cell.process_sizes for cell in cells.values()} == {(1, 1)}
    assert len(set(pids)) == 4
    assert not set(pids) & {cell.worker_pid for cell in cells.values()}
    for n in (1, 2):
        one, many = (
            (cell.peak_memory_bytes or 0) - cell.figures["idle_bytes"] for cell in (cells[n, 1], cells[n, 200_000])
        )
        assert one < 2e6
        assert many > one + 2e6


def test_without_memory_no_process_is_started_for_it(
    measured: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `measure_memory` false no cell tells memory; the usual threads and all usable CPUs are measured."""
    monkeypatch.setattr(measuring, "usable_cpus", lambda: (2, ""))
    cells = by_case(measured(batch_sizes={"forest": [1]}, measure_memory=False))
    assert set(cells) == {(1, 1), (2, 1)}
    assert [cell.peak_memory_bytes for cell in cells.values()] == [None, None]


def test_memory_that_cannot_be_read_is_said(measured: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that does not tell it costs no row; the note says why."""

    def refuse(_: int) -> Any:
        raise NotAvailable("no such file")

    monkeypatch.setattr(measuring, "memory_of_tree", refuse)
    (cell,) = measured(batch_sizes={"forest": [1]}, threads=[1]).measurements
    assert (cell.outcome, cell.peak_memory_bytes, cell.notes["memory"]) == (
        Outcome.OK,
        None,
        "not measured: no such file",
    )


def test_a_batch_size_near_the_limit_is_measured_with_enough_calls(
    measured: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the trials add is a cell like the others; 59 calls in two rounds carry its p95."""
    monkeypatch.setattr(measuring, "tried", lambda sizes, *_: {**dict.fromkeys(sizes, 0.01), 30: 0.01})
    run = measured(batch_sizes={"forest": [1, 100]}, threads=[1], max_latency_s=5.0, measure_memory=False)
    assert {cell.case.batch_size: len(cell.samples_s) for cell in run.measurements} == {1: 60, 30: 60, 100: 60}


def test_a_limit_on_memory_that_is_not_measured_is_refused() -> None:
    """It would leave no batch to recommend; a percentile without a limit is none either."""
    with pytest.raises(ValueError, match="max_memory_bytes: has no effect, because measure_memory is false"):
        Params(max_memory_bytes=1, measure_memory=False)
    with pytest.raises(ValueError, match="latency_percentile: has no effect, because max_latency_s is not given"):
        Params(latency_percentile=0.9)
    with pytest.raises(ValueError, match=r"one of 0\.5, 0\.9, 0\.95, 0\.99"):
        Params(max_latency_s=1.0, latency_percentile=0.8)


def test_the_notebook_says_what_shares_a_process() -> None:
    """No batch size has a process of its own, and each profile but quick starts the shared one anew."""
    text = (Path(__file__).parents[1] / "notebooks/batch_sweep.ipynb").read_text()
    assert "share a process. With `rounds_per_process` it starts anew after so many rounds" in text
    asked = {path.parent.name: studies.load(path).model_dump()["rounds_per_process"] for path in PARAMS}
    assert asked == {"quick": None, "standard": 3, "gtx_750_ti": 3, "thorough": 4}
