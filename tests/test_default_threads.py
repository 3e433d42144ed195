"""Default threads: what each library takes, measured in processes of its own, and its cost as rows, figures, advice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import sample_runs as samples
from machine_trees import unpack
from page_texts import row

from inferbench_lib.findings import Verdict
from inferbench_lib.machine import default_threads as measuring
from inferbench_lib.machine.default_threads import AT_MOST_S, DefaultThreads, Timed, default_threads
from inferbench_lib.machine.libraries import LIBRARIES
from inferbench_lib.machine.sampler import Sampler
from inferbench_lib.records import Flag, Run
from inferbench_lib.studies import figures, study, voice
from inferbench_lib.studies.hardware_analysis import page
from inferbench_lib.studies.hardware_analysis.page_threads import FIXES, NAMES
from inferbench_lib.studies.hardware_analysis.threads import thread_costs
from inferbench_lib.studies.summary import page as summary
from inferbench_lib.timing.usable import usable_cpus
from inferbench_lib.work.forest import Forest

FOREST = Forest(n_features=8, n_trees=5, n_train=200)
LOAD = Flag(name="other_load", text="other programs used 40 % of the CPUs. Close them and run again.")
LEVEL = (1.0,) * len(samples.WOBBLE)
several_cpus = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU: no default can exceed it")


def timed(default_s: float, usable_s: float, one_s: float, *, wobble: Sequence[float] = LEVEL) -> tuple[Timed, ...]:
    """Rounds on 8, 4 and 1 threads; only the default's times wobble."""
    cells = {8: [default_s * w for w in wobble], 4: [usable_s] * len(wobble), 1: [one_s] * len(wobble)}
    return tuple(Timed(n_inputs=1, n_threads=n, seconds=tuple(seconds)) for n, seconds in cells.items())


def forest_rows() -> DefaultThreads:
    """A forest on 1 thread by default; 4 take 6 times as long at 1 row, tie at 1,000, and gain twofold at 10,000."""
    times = {1: (0.006, 0.036), 100: (0.01, 0.03), 1_000: (0.02, 0.02), 10_000: (0.08, 0.04)}
    cells = [
        Timed(n_inputs=rows, n_threads=n, seconds=(seconds,) * 8)
        for rows, both in times.items()
        for n, seconds in zip((1, 4), both, strict=True)
    ]
    return DefaultThreads(library="scikit-learn", default=1, timed=tuple(cells))


def run_with(*rows: DefaultThreads, usable: int = 4) -> Run:
    """A run on so many usable CPUs, its table as it is stored."""
    run = samples.hardware_run(usable_cpus=usable)
    return samples.with_tables(run, default_threads=json.loads(json.dumps([*map(asdict, rows)])))


OVER = DefaultThreads(library="onnxruntime", default=8, timed=timed(0.6, 0.2, 0.5))


def test_a_default_above_the_usable_cpus_costs_its_time_over_the_best() -> None:
    """0.6 s on 8 threads over 0.2 s on 4 usable CPUs are 3 times, and the better of 4 and 1 is 4."""
    (cost,) = thread_costs([asdict(OVER)], usable=4)
    assert (cost.best, cost.is_over, cost.is_costly) == (4, True, True)
    assert cost.cost is not None
    assert cost.cost.value == pytest.approx(3.0, rel=1e-3)
    assert cost.cost.verdict is Verdict.FASTER
    (other,) = thread_costs([asdict(replace(OVER, timed=timed(0.6, 0.5, 0.1)))], usable=4)
    assert other.best == 1
    assert other.cost is not None
    assert other.cost.value == pytest.approx(6.0, rel=1e-3)


def test_a_costly_default_is_a_row_figures_and_a_line_on_the_front_page() -> None:
    """The row, the sentence and the advice name the cost; the page's own recommendation stays as it was."""
    run = run_with(OVER)
    table = page.thread_table(study(run))
    seen = row(table, library="onnxruntime")
    assert (seen["threads by default"], seen["usable CPUs"]) == ("8 (too many)", "4")
    assert seen["cost of the default"] == "3.00× (3.00–3.00)"
    assert seen["what to set"] == "session_options.intra_op_num_threads = 4"
    assert table.reading == (
        "The default takes longer than the best of 1 thread and all usable CPUs: onnxruntime 3.00× (3.00–3.00). "
        "More threads than usable CPUs by default: onnxruntime (8)."
    )
    found = figures(run)
    count, ratio = found["default_threads[onnxruntime]"], found["default_threads_cost[onnxruntime]"]
    assert (count.value, count.unit, count.verdict) == (8, "threads", "more than the usable CPUs (4)")
    assert (ratio.value, ratio.unit, ratio.has_interval) == (pytest.approx(3.0, rel=1e-3), "×", True)
    shown = summary.to_do({run.notebook: run})
    assert "Set onnxruntime to 4 threads: 3.00× (3.00–3.00) as fast as by default" in shown
    assert "session_options.intra_op_num_threads = 4" in shown
    without = run_with()
    assert voice.advice(run) == voice.advice(without)
    assert voice.answer(run) == voice.answer(without)


@pytest.mark.parametrize(
    "found",
    [
        replace(OVER, timed=timed(0.218, 0.2, 0.5)),
        replace(OVER, timed=timed(0.1, 0.2, 0.5)),
        replace(OVER, timed=timed(0.6, 0.2, 0.5, wobble=samples.SHORT)),
        replace(OVER, timed=timed(0.6, 0.2, 0.5, wobble=samples.RAMP)),
        replace(OVER, flags=(LOAD,)),
    ],
    ids=["9 %", "faster", "too few rounds", "drifts", "other programs"],
)
def test_a_default_without_a_shown_cost_is_not_advised_against(found: DefaultThreads) -> None:
    """It still counts as more threads than usable CPUs."""
    run = run_with(found)
    assert voice.further_advice({run.notebook: run}) == []
    reading = page.thread_table(study(run)).reading
    assert reading == (
        "No default was shown to cost more than 10 %. More threads than usable CPUs by default: onnxruntime (8)."
    )


def test_other_programs_leave_no_verdict_and_no_count_to_set() -> None:
    """They take a CPU from many threads and none from one, so the usable CPUs are what to set."""
    run = run_with(replace(OVER, timed=timed(0.6, 0.5, 0.1), flags=(LOAD,)))
    seen = row(page.thread_table(study(run)), library="onnxruntime")
    assert seen["cost of the default"] == ("unstable: other programs used 40 % of the CPUs. Close them and run again")
    assert seen["what to set"] == "session_options.intra_op_num_threads = 4"


def test_a_default_that_is_the_best_costs_nothing() -> None:
    """4 threads by default on 4 usable CPUs: a ratio of 1."""
    run = run_with(DefaultThreads(library="numpy", default=4, timed=timed(1.0, 0.2, 0.5)[1:]))
    seen = row(page.thread_table(study(run)), library=NAMES["numpy"])
    assert (seen["threads by default"], seen["cost of the default"]) == ("4", "none")
    assert figures(run)["default_threads_cost[numpy]"].value == 1.0


def test_the_batches_at_which_threads_slow_a_forest_down() -> None:
    """Slower up to 100 rows, tied at 1,000, faster at 10,000, whose cost is the row's."""
    run = run_with(forest_rows())
    table = page.thread_table(study(run))
    assert table.reading.endswith(
        "4 threads for the forest: up to 100 rows they slow it down (6.00× the time at 1 row, 6.00–6.00); "
        "they gain at 10,000 rows."
    )
    seen = row(table, library=NAMES["scikit-learn"])
    assert seen["cost of the default"].startswith("2.00×")
    assert seen["what to set"] == "model.n_jobs = 4"


def test_a_run_without_the_table_says_so() -> None:
    """Runs stored before hold none."""
    table = page.thread_table(study(samples.hardware_run()))
    assert table.frame.empty
    assert table.reading == "The threads that libraries take by default were not measured in this run."
    assert not any(name.startswith("default_threads") for name in samples.hardware_run().summary)


def test_every_library_has_a_line_to_set() -> None:
    """With its number in it."""
    assert set(FIXES) == {*LIBRARIES, "torch_interop"}
    assert all("3" in line.format(n=3) for line in FIXES.values())


def probe(monkeypatch: pytest.MonkeyPatch, *names: str, usable: int = 0, forest: Path | None = None,
          timeout_s: float = AT_MOST_S) -> dict[str, DefaultThreads]:  # fmt: skip
    """Measure some of the libraries, really, by name of their row."""
    monkeypatch.setattr(measuring, "LIBRARIES", {name: LIBRARIES[name] for name in names})
    with Sampler() as sampler:
        rows = default_threads(
            usable or usable_cpus()[0], forest or FOREST.model_path, sampler, budget_s=0.1, timeout_s=timeout_s
        )
    return {found.library: found for found in rows}


def test_every_installed_library_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """On its default threads, on the usable CPUs and on one, in six rounds or more."""
    found = probe(monkeypatch, *LIBRARIES)
    assert set(found) == {*LIBRARIES, "torch_interop"}
    usable, _ = usable_cpus()
    for name, one in found.items():
        if one.reason:
            assert one.reason.startswith(("not installed: pip install ", "not timed: ")), one
            continue
        assert {cell.n_threads for cell in one.timed} == {one.default, usable, 1}, name
        assert all(len(cell.seconds) >= 6 and min(cell.seconds) > 0 for cell in one.timed), name
    assert sorted({cell.n_inputs for cell in found["scikit-learn"].timed}) == [1, 100, 1_000, 10_000]
    assert found["scikit-learn"].default == 1


@several_cpus
def test_a_default_that_ignores_a_quota_is_marked_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a recorded quota of one CPU, BLAS still takes a thread for each CPU of the affinity."""
    usable, reason = usable_cpus(unpack("container_quota_v2", tmp_path))
    assert (usable, reason) == (1, "1 of 8 CPUs usable (cgroup quota)")
    one = probe(monkeypatch, "numpy", usable=usable)["numpy"]
    assert one.default is not None
    assert one.default > 1
    assert {cell.n_threads for cell in one.timed} == {1, one.default}
    run = run_with(one, usable=usable)
    assert row(page.thread_table(study(run)), library=NAMES["numpy"])["threads by default"].endswith("(too many)")


AFFINE = """
import json, os
from dataclasses import asdict
from pathlib import Path
from inferbench_lib.machine import default_threads as measuring
from inferbench_lib.machine.sampler import Sampler
from inferbench_lib.timing.usable import usable_cpus
if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    measuring.LIBRARIES = {name: measuring.LIBRARIES[name] for name in ("torch", "numpy", "onnxruntime")}
    usable, _ = usable_cpus()
    with Sampler() as sampler:
        rows = measuring.default_threads(usable, Path("none"), sampler, budget_s=0.1)
    print(json.dumps({"usable": usable, "rows": [asdict(row) for row in rows]}))
"""


@several_cpus
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no sched_setaffinity")
def test_a_process_restricted_to_one_cpu_tells_who_ignores_it(tmp_path: Path) -> None:
    """BLAS and torch's intra-op threads keep to an affinity of one CPU, torch's inter-op threads do not."""
    program = tmp_path / "affine.py"
    program.write_text(AFFINE, encoding="utf-8")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120, check=True,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])})  # fmt: skip
    said: dict[str, Any] = json.loads(done.stdout)
    costs = {one.library: one for one in thread_costs(said["rows"], said["usable"])}
    assert said["usable"] == 1
    assert [costs[name].default for name in ("torch", "numpy")] == [1, 1]
    assert costs["torch_interop"].is_over
    onnxruntime = costs["onnxruntime"]
    assert onnxruntime.default is None or set(onnxruntime.seconds) == {1, onnxruntime.default}


def test_a_users_own_limit_is_the_default_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set already counts."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert probe(monkeypatch, "numpy")["numpy"].default == 1


def test_a_library_that_is_not_installed_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs what is missing; the others are measured."""
    for name in ("onnxruntime", "onnx"):
        monkeypatch.setitem(sys.modules, name, None)
    found = probe(monkeypatch, "onnxruntime", "numpy")
    assert found["onnxruntime"].reason == "not installed: pip install onnxruntime onnx"
    assert found["numpy"].timed
    run = run_with(*found.values(), usable=usable_cpus()[0])
    assert row(page.thread_table(study(run)), library="onnxruntime")["what to set"] == found["onnxruntime"].reason
    count = figures(run)["default_threads[onnxruntime]"]
    assert (count.value, count.verdict) == (None, found["onnxruntime"].reason)


def test_a_library_that_fails_is_a_row_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its model cannot be read: one line of reason, and the next library is measured."""
    found = probe(monkeypatch, "scikit-learn", "numpy", forest=tmp_path / "absent.pickle")
    failed = found["scikit-learn"]
    assert (failed.default, failed.timed) == (None, ())
    assert "its start raised FileNotFoundError" in failed.reason
    assert "\n" not in failed.reason
    assert found["numpy"].timed


def test_a_library_that_does_not_answer_is_a_row_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that takes longer than its limit is ended."""
    found = probe(monkeypatch, "numpy", timeout_s=0.01)["numpy"]
    assert found.default is None
    assert "expected an answer to its start within 0.01 s, got none, so it was killed" in found.reason
