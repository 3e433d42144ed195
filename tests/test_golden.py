"""A standard run of version 0.1.0, kept: nothing that it said is lost, whatever the library looks like by now."""

from __future__ import annotations

import gzip
import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from inferbench_lib import store, studies
from inferbench_lib.records import Run
from inferbench_lib.report.page_parts import method
from inferbench_lib.studies import voice

RUN_ID = "20261130-164433-standard"
GOLDEN = Path(__file__).parent / "golden" / RUN_ID
NOTEBOOKS = ("batch_sweep", "cpu_multiprocess", "cpu_vs_gpu", "hardware_analysis")
# Figures whose correction since then is meant: the name, and why it differs.
ONE_CENTRE = "a layer's limit, share and time rest on one centre of its rounds, where the limit had the plain median"
CORRECTED: dict[str, str] = (
    {
        "batch_sweep/best_batch[cnn-small,cpu]": "24 and 48 calls carry no p95: batches of 8 and 16 are out",
        "batch_sweep/best_throughput[cnn-small,cpu]": "that of the batch now recommended, 4",
        "hardware_analysis/bound[cnn-small]": ONE_CENTRE,
        "hardware_analysis/whatif_predicted[cnn-small,b16,t2,fp32->bf16]": ONE_CENTRE,
        "hardware_analysis/whatif_predicted[cnn-medium,b16,t2,fp32->bf16]": ONE_CENTRE,
    }
    | {
        f"cpu_multiprocess/lost_s[{way},{part}]": "4 workers on 2 CPUs are held against 2 CPUs: the other 2 are no loss"
        for way in ("threads", "naive_pool", "process_pool", "shared_pool", "loky", "dask")
        for part in ("compute_slowed_by_shared_resources", "compute_slowed_beyond_the_ceiling", "waiting_for_a_CPU")
    }
    | {
        f"cpu_multiprocess/break_even_rows[{way}]": "one formula, cold minus warm over the gain: not measured cold"
        for way in ("naive_pool", "process_pool", "loky", "dask")
    }
)
# Figures that are new since then: a pattern of their names, and why.
ADDED = {
    r"cpu_multiprocess/(scaling_speedup\[\d+\]|serial_fraction)": "the forest's scaling is measured there alone",
}


def read(name: str) -> bytes:
    """The bytes of one file of the run."""
    return gzip.decompress((GOLDEN / f"{name}.json.gz").read_bytes())


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reports folder that holds the run."""
    folder = tmp_path_factory.mktemp("reports")
    for path in GOLDEN.rglob("*.json.gz"):
        there = folder / RUN_ID / path.relative_to(GOLDEN).with_suffix("")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(gzip.decompress(path.read_bytes()))
    return folder


@pytest.fixture(scope="module")
def runs(reports: Path) -> dict[str, Run]:
    """The stored runs, by notebook."""
    return store.load_runs(reports / RUN_ID)


def differing(told: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Where two figures or records differ: numbers by more than rounding, all else at all."""
    found = []
    for name in told.keys() | now.keys():
        one, other = told.get(name), now.get(name)
        both_numbers = isinstance(one, float | int) and isinstance(other, float | int)
        if not (math.isclose(one, other, rel_tol=1e-12) if both_numbers else one == other):
            found.append(f"{name}: was {one}, is {other}")
    return found


def test_the_run_is_whole(runs: dict[str, Run]) -> None:
    """All four notebooks of the run load, with every cell that they measured."""
    assert {name: len(run.measurements) for name, run in runs.items()} == {
        "batch_sweep": 12,
        "cpu_multiprocess": 25,
        "cpu_vs_gpu": 15,
        "hardware_analysis": 14,
    }


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_figures_come_out_equal(runs: dict[str, Run], notebook: str) -> None:
    """Every figure of the run's summary.json is computed from its stored samples again, equal, and no other one."""
    told = {
        name.removeprefix(f"{notebook}/"): figure
        for name, figure in json.loads(read("summary")).items()
        if name.startswith(f"{notebook}/") and name not in CORRECTED
    }
    now = {
        name: {field: of for field, of in asdict(figure).items() if field != "kind"}  # not told by 0.1.0
        for name, figure in studies.figures(runs[notebook]).items()
        if f"{notebook}/{name}" not in CORRECTED
        and not any(re.fullmatch(pattern, f"{notebook}/{name}") for pattern in ADDED)
    }
    assert told.keys() == now.keys()
    wrong = {name: found for name in told if (found := differing(told[name], now[name]))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("was", "now", "found"),
    [
        ({"value": 1.0, "unit": "s"}, {"value": 1.0 + 1e-15, "unit": "s"}, []),
        ({"value": 1.0}, {"value": 1.001}, ["value: was 1.0, is 1.001"]),
        ({"value": 1.0, "unit": "s"}, {"value": 1.0, "unit": "ms"}, ["unit: was s, is ms"]),
        ({"value": None}, {"value": 0.0}, ["value: was None, is 0.0"]),
    ],
)
def test_a_figure_that_differs_is_seen(was: dict[str, Any], now: dict[str, Any], found: list[str]) -> None:
    """Rounding is no difference; another value, another unit or a value for none is one."""
    assert differing(was, now) == found


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_stored_run_is_shown(runs: dict[str, Run], notebook: str) -> None:
    """Its page has a verdict, a sentence for each figure, and every figure can be drawn."""
    run = runs[notebook]
    assert voice.answer(run).verdict
    for view in studies.page(notebook).VIEWS:
        drawn = view(studies.study(run))
        assert drawn.reading
        assert drawn.frame.empty or len(drawn.figure().axes) > 0


def test_a_sentence_prints_a_figure_as_its_table_does(runs: dict[str, Run]) -> None:
    """The throughput at the largest batch and the shares of the ceiling have one value and one form on their page."""
    page, said = studies.page("batch_sweep"), studies.study(runs["batch_sweep"])
    forest = next(row for row in page.table(said).frame.to_dict("records") if row["batch"] == "100,000")
    assert f"100,000 ({forest['inputs/s']} inputs/s)." in page.throughput_by_batch(said).reading
    page, said = studies.page("cpu_multiprocess"), studies.study(runs["cpu_multiprocess"])
    shares = {row["way"]: row["of the ceiling"] for row in page.table(said).frame.to_dict("records")}
    assert f": the shared-memory pool {shares['the shared-memory pool']} (" in page.side_by_side(said).reading


def test_stored_run_joins_a_front_page(runs: dict[str, Run]) -> None:
    """The front page says what to do, for each notebook that compares ways of working."""
    assert len(voice.recommendations(runs)) == 3
    assert voice.front(runs).verdict


@pytest.mark.parametrize(
    ("notebook", "said"),
    [
        ("cpu_multiprocess", "Variants that differ only in batch size may share a process, which sleeps"),
        ("cpu_vs_gpu", "Variants that differ only in batch size may share a process, which sleeps"),
        ("hardware_analysis", "Variants that differ only in batch size, threads and precision may share a process, "),
    ],
)
def test_method_says_which_variants_shared_a_process(runs: dict[str, Run], notebook: str, said: str) -> None:
    """As the run's own process ids tell, and after how many rounds they started anew."""
    run = runs[notebook]
    assert said in method(run)
    anew = replace(run, params={**run.params, "rounds_per_process": 3})
    assert ", started anew after 3 rounds, which sleeps" in method(anew)
    alone = {cell.worker_pid: cell for cell in run.measurements}
    assert "Each variant has a process of its own" in method(replace(run, measurements=tuple(alone.values())))


def test_stored_run_compares_with_itself(reports: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every cell and figure of the four notebooks is judged, and none is called different."""
    monkeypatch.setenv("INFERBENCH_REPORTS", str(reports))
    monkeypatch.setenv(store.RUN_FOLDER, str(tmp_path))
    run = studies.run("compare", base=RUN_ID, heads=[RUN_ID])
    assert len(run.summary) > 150
    assert {figure.value for figure in run.summary.values()} == {1.0}
    assert "No significant difference" in voice.answer(run).verdict
