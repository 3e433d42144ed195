"""What measuring has around it: the control workload's process may fail, the rows stay."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from inferbench_lib import store, studies
from inferbench_lib.machine.sampler import Sampler
from inferbench_lib.measure.bench import Bench
from inferbench_lib.measure.executor_passes import ColdPasses, Passes
from inferbench_lib.measure.rounds import Entry
from inferbench_lib.measure.session import Session
from inferbench_lib.progress import PROGRESS_FILE
from inferbench_lib.records import Case, Measurement, Outcome
from inferbench_lib.report.page_parts import trust
from inferbench_lib.timing.telemetry import Telemetry
from inferbench_lib.work.engines.sklearn import Sklearn
from inferbench_lib.work.forest import Forest


@dataclass
class KillsControl:
    """A bench whose third turn ends the control workload's process, or that of the observer."""

    session: Session
    turns: int = 0
    ends_observer: bool = False

    def ready(self) -> None:
        return

    def call(self, method: str, case: Case | None = None, *_: Any) -> Any:
        if method == "turn":
            self.turns += 1
            if self.turns == 3:
                assert self.session._control is not None
                ended = self.session.sampler._watcher if self.ends_observer else self.session._control
                os.kill(ended.pid, signal.SIGKILL)
            return (1.0,)
        return (
            Measurement(case=case, samples_s=(1.0,) * self.turns, round_sizes=(1,) * self.turns)
            if method == "finish"
            else (1.0,)
        )


def test_rows_stay_when_the_control_process_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the control workload's process is killed, all rounds are measured and every cell says what was not seen."""
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "progress"))
    monkeypatch.setenv(store.RUN_FOLDER, str(tmp_path))
    config = studies.params("batch_sweep")(min_rounds=6, max_rounds=6)
    with Session("batch_sweep", config, steps=7) as session:
        host = KillsControl(session)
        schedule = session.measure([Entry(case=Case(workload="w", batch_size=1), host=host)])
    (row,) = schedule.measurements
    assert host.turns == 6
    assert row.outcome is Outcome.OK
    assert [len(values) for values in schedule.control_s] == [1, 1, 0, 0, 0, 0]
    (flag,) = [flag for flag in row.flags if flag.name == "drift"]
    assert flag.text.startswith(
        "the control workload could not go on, so a change of the machine's speed was not seen: worker 'control'"
    )
    assert not flag.invalidates


def test_a_run_whose_observer_died_is_not_called_stable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell says that nothing was watched, and why; the page does not call the run stable."""
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "progress"))
    monkeypatch.setenv(store.RUN_FOLDER, str(tmp_path))
    config = studies.params("batch_sweep")(min_rounds=6, max_rounds=6)
    with Session("batch_sweep", config, steps=7) as session:
        host = KillsControl(session, ends_observer=True)
        rows = session.measure([Entry(case=Case(workload="w", batch_size=1), host=host)]).measurements
        run = session.finish(rows, {})
    (flag,) = [flag for flag in rows[0].flags if flag.name == "not_watched"]
    assert flag.text.startswith("not watched: worker 'telemetry'")
    assert not flag.invalidates
    assert "Stable" not in trust([run])


class HotGpu(Sampler):
    """An observer that sees a hot GPU where it is asked for one that it watches."""

    def __init__(self) -> None:
        self.devices: list[str] = []

    def watch(self, device: str) -> None:
        self.devices.append(device)

    def window(self, start_s: float, end_s: float, device: str = "cpu") -> Telemetry:
        reasons = ("hardware thermal slowdown",) if device in self.devices else ()
        return Telemetry(start_s=start_s, end_s=end_s, gpu_throttle_reasons=reasons)


def test_a_hot_gpu_flags_the_cells_that_ran_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell on `cuda:1` is flagged, in every round; the CPU's cell beside it is not."""
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "progress"))
    monkeypatch.setenv(store.RUN_FOLDER, str(tmp_path))
    config = studies.params("batch_sweep")(min_rounds=2, max_rounds=2)
    with Session("batch_sweep", config, steps=7) as session:
        session.sampler.__exit__()
        session.sampler = HotGpu()
        cells = [Case(workload="w", batch_size=1, device=device) for device in ("cpu", "cuda:1")]
        entries = [Entry(case=case, host=KillsControl(session, turns=9)) for case in cells]
        rows = session.measure(entries).measurements
        assert session.sampler.devices == ["cuda:1"]
    assert [[flag.name for flag in row.flags if flag.invalidates] for row in rows] == [[], ["gpu_throttled"]]


def test_a_scheduler_that_does_not_answer_fails_its_cells_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens at the address: the warm and the cold cell fail with the reason; the one beside them is whole."""
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "progress"))
    monkeypatch.setenv(store.RUN_FOLDER, str(tmp_path))
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path))
    forest = Forest(n_features=4, n_trees=3, n_train=200)
    alone = Case(workload="forest", executor="single", batch_size=50)
    lost = replace(alone, executor="dask", n_processes=2)
    options = {"scheduler": "tcp://127.0.0.1:1", "timeout_s": 0.5}
    sources = [
        Passes(workload=forest, engine=Sklearn, case=alone, n_inputs=100),
        Passes(workload=forest, engine=Sklearn, case=lost, n_inputs=100, options=options),
        ColdPasses(workload=forest, engine=Sklearn, case=replace(lost, cold=True), n_inputs=100, options=options),
    ]
    config = studies.params("cpu_multiprocess")(min_rounds=2, max_rounds=2)
    with Session("cpu_multiprocess", config) as session:
        entries = [Entry(case=s.case, host=session.host(partial(Bench, s), str(s.case))) for s in sources]
        rows = session.measure(entries, memory=True).measurements
        run = session.finish(rows, {})
    assert [row.outcome for row in run.measurements] == [Outcome.OK, Outcome.FAILED, Outcome.FAILED]
    assert len(run.measurements[0].samples_s) == 2
    for row in run.measurements[1:]:
        assert row.reason == (
            "dask: expected 2 workers at tcp://127.0.0.1:1, got Timed out trying to connect to tcp://127.0.0.1:1 "
            "after 0.5 s; start the scheduler and its workers first"
        )
