"""What measuring has around it: the control workload's process may fail, the rows stay."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from inferbench_lib import store, studies
from inferbench_lib.measure.rounds import Entry
from inferbench_lib.measure.session import Session
from inferbench_lib.progress import PROGRESS_FILE
from inferbench_lib.records import Case, Measurement, Outcome


@dataclass
class KillsControl:
    """A bench whose third turn ends the control workload's process."""

    session: Session
    turns: int = 0

    def ready(self) -> None:
        return

    def call(self, method: str, case: Case | None = None, *_: Any) -> Any:
        if method == "turn":
            self.turns += 1
            if self.turns == 3:
                assert self.session._control is not None
                os.kill(self.session._control.pid, signal.SIGKILL)
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
        "the fixed work that watches the machine's speed could not go on, so a change was not seen: worker 'control'"
    )
    assert not flag.invalidates
