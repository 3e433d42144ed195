"""Looking around in stored runs, and showing one again: nothing is measured, and reports hold no trace of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
import sample_runs as samples
from page_texts import draw
from tiny import ROOT

import inferbench_lib as ib
from inferbench_lib import store, studies
from inferbench_lib.errors import StoreError
from inferbench_lib.records import Run
from inferbench_lib.report import explore, notebooks
from inferbench_lib.report.pages import render_page
from inferbench_lib.studies.summary import page as summary

RUNS: dict[str, Run] = {
    "cpu_multiprocess": samples.multiprocess(),
    "cpu_vs_gpu": samples.vs_gpu(gpu=True),
    "batch_sweep": samples.sweep(),
    "hardware_analysis": samples.hardware_run(),
}
STORED = "20260712-140302-standard"
each_notebook = pytest.mark.parametrize("name", RUNS)


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reports folder with a stored run of every notebook; no report is being made."""
    monkeypatch.setenv("INFERBENCH_REPORTS", str(tmp_path / "reports"))
    monkeypatch.delenv(store.RUN_FOLDER, raising=False)
    for run in RUNS.values():
        store.save_run(run, tmp_path / "reports" / STORED)
    return tmp_path / "reports"


class Shown:
    """What cells show, as a front end would get it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.objects: list[Any] = []
        monkeypatch.setattr("IPython.display.display", lambda *objects, **_: self.objects.extend(objects))

    @property
    def html(self) -> str:
        return " ".join(
            getattr(one, "data", "") or "" for one in self.objects if isinstance(getattr(one, "data", ""), str)
        )


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    return Shown(monkeypatch)


@each_notebook
def test_a_stored_run_can_be_looked_around_in(name: str, reports: Path, shown: Shown) -> None:
    """The cell offers every stored run that holds the notebook, and the values that its cells have."""
    store.save_run(RUNS[name], reports / "20270101-000000-quick")
    (reports / "20270102-000000-quick").mkdir()
    ib.explore(name)
    (box,) = [one for one in shown.objects if type(one).__name__ == "VBox"]
    runs, *filters = box.children[0].children
    assert runs.options == ("20270101-000000-quick", STORED)
    for control, field in zip(filters, explore.FILTERS, strict=True):
        values = sorted({getattr(cell.case, field) for cell in RUNS[name].measurements})
        assert [*control.options] == ["all", *values]
        assert (control.value, control.index) == ("all", 0)


def test_a_filter_and_another_run_change_what_is_shown(reports: Path, shown: Shown) -> None:
    """Choosing a batch size leaves its cells; another run is read, and keeps the choice where it has it."""
    other = replace(samples.sweep([samples.rows_cell(100), samples.rows_cell(7)]), run_id="other")
    store.save_run(other, reports / "20270101-000000-quick")
    ib.explore("batch_sweep")
    (box,) = [one for one in shown.objects if type(one).__name__ == "VBox"]
    runs, batch_size, *_ = box.children[0].children

    def last() -> str:
        return [one.data for one in shown.objects if "measured again" in str(getattr(one, "data", ""))][-1]

    assert "2 of 2 cells of run other" in last()
    batch_size.value = 100
    assert "1 of 2 cells of run other" in last()
    runs.value = STORED
    assert batch_size.value == 100
    assert f"1 of 10 cells of run {STORED}" in last()
    batch_size.value = "all"
    assert f"10 of 10 cells of run {STORED}" in last()


@each_notebook
def test_every_choice_is_a_figure_and_a_table(name: str) -> None:
    """Each value of each filter leaves its cells, with a row each in the table; without a filter all are drawn."""
    run = RUNS[name]
    for field, values in explore.choices(run).items():
        for value in values:
            cells = explore.chosen(run, **{field: value})
            assert {getattr(cell.case, field) for cell in cells} == {value}
            assert len(explore.rows(run, cells).frame) == len(cells)
    assert draw(explore.times(run, run.measurements)).startswith(b"\x89PNG")
    assert explore.chosen(run) == list(run.measurements)


def test_failed_cells_are_rows_and_no_points() -> None:
    """A cell without samples stays in the table with its reason; without any other the figure says so."""
    run = samples.multiprocess(samples.failed_way("threads"))
    (row,) = explore.rows(run, run.measurements).frame.to_dict("records")
    assert (row["median (s)"], row["outcome"]) == ("–", f"failed: {samples.FAILED['reason']}")
    assert explore.times(run, run.measurements).frame.empty
    assert draw(explore.times(run, run.measurements)).startswith(b"\x89PNG")


def test_without_a_stored_run_there_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: Shown
) -> None:
    """No controls over nothing: it says what to do."""
    monkeypatch.setenv("INFERBENCH_REPORTS", str(tmp_path))
    monkeypatch.delenv(store.RUN_FOLDER, raising=False)
    ib.explore("batch_sweep")
    assert [one.data for one in shown.objects] == [
        '<p class="reading">There is no stored run of batch_sweep yet: run the cells above, or make report.</p>'
    ]


def test_a_damaged_run_is_told_and_the_others_stay(reports: Path, shown: Shown) -> None:
    """A record that cannot be read is a sentence in its place."""
    broken = reports / "20270101-000000-quick" / "data" / "batch_sweep.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    ib.explore("batch_sweep")
    assert "batch_sweep.json: expected " in shown.html
    (box,) = [one for one in shown.objects if type(one).__name__ == "VBox"]
    runs = box.children[0].children[0]
    runs.value = STORED
    assert f"10 of 10 cells of run {STORED}" in shown.html


def test_times_over_decades_are_on_a_logarithmic_axis() -> None:
    """From 2 µs to 1 ms per input the ticks are powers of ten with their units; within a decade it begins at zero."""
    run = samples.sweep([samples.rows_cell(1), samples.rows_cell(10_000)])
    (ax,) = explore.times(run, run.measurements).figure().axes
    assert ax.get_xscale() == "log"
    assert {"10.0 µs", "100 µs", "1.00 ms"} <= {label.get_text() for label in ax.get_xticklabels()}
    narrow = samples.sweep([samples.rows_cell(1000), samples.rows_cell(10_000)])
    (ax,) = explore.times(narrow, narrow.measurements).figure().axes
    assert (ax.get_xscale(), ax.get_xlim()[0]) == ("linear", 0)


# In JupyterLab


def measured_here(name: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a notebook's question as in JupyterLab; what is measured is a sample."""

    def measure(asked: Any) -> Run:
        return replace(RUNS[name], run_id=store.run_folder().name)

    monkeypatch.setattr(f"inferbench_lib.studies.{name}.measure.measure", measure)
    return studies.run(name)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_run_in_jupyterlab_is_kept(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs of one notebook lie in folders of their own, under their own ids, and can be compared by them."""
    first, second = (measured_here("batch_sweep", monkeypatch) for _ in range(2))
    assert first.run_id != second.run_id
    assert store.stored_ids("batch_sweep") == [STORED, first.run_id, second.run_id]
    for run in (first, second):
        assert run.run_id.startswith("lab-")
        assert store.stored_run("batch_sweep", run.run_id).run_id == run.run_id


def test_what_is_read_again_stores_nothing(reports: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a measurement, `reuse` shows another run with its figures; no file is written, none is changed."""
    measured_here("cpu_multiprocess", monkeypatch)
    page = studies.page("cpu_multiprocess")
    ib.show(page.executor_times(studies.study(RUNS["cpu_multiprocess"])))
    before = contents(reports)
    assert any(name.endswith("/figures/executor_times.png") for name in before)
    again = studies.run("cpu_multiprocess", reuse=STORED)
    for view in (page.executor_times, page.side_by_side):
        ib.show(view(studies.study(again)))
    assert contents(reports) == before


def test_the_summary_takes_the_newest_run_of_each_notebook(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In JupyterLab it joins what was measured there last, and no run of a report."""
    for name in ("batch_sweep", "cpu_multiprocess", "batch_sweep"):
        newest = measured_here(name, monkeypatch)
    monkeypatch.delenv(store.RUN_FOLDER)
    found = summary.runs_here()
    assert list(found) == ["cpu_multiprocess", "batch_sweep"]
    assert found["batch_sweep"].run_id == newest.run_id


# Reports


@each_notebook
def test_a_report_from_stored_data_leaves_no_trace_of_it(name: str, reports: Path, tmp_path: Path) -> None:
    """`reuse` makes every page again without measuring; of the controls neither state nor heading stay."""
    folder = reports / "20270101-000000-quick"
    folder.mkdir()
    with notebooks.environment(INFERBENCH_RUN_FOLDER=str(folder), INFERBENCH_PROGRESS=str(tmp_path / "progress")):
        done = notebooks.execute(ROOT / "notebooks" / f"{name}.ipynb", tmp_path / "done.ipynb", {"reuse": STORED}, 120)
    assert done.status == "complete", done.reason
    assert store.load_run(folder / "data" / f"{name}.json") == store.stored_run(name, STORED)
    render_page(done.notebook, tmp_path / "page.html", title=name)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "widgets" not in done.notebook.metadata
    assert "application/vnd.jupyter.widget" not in json.dumps(done.notebook)
    assert "What do the stored runs hold?" not in text
    assert "ib.explore" not in text
    assert not (tmp_path / "progress").exists()


@each_notebook
def test_a_run_that_is_not_there_is_refused(name: str, reports: Path) -> None:
    """`reuse` of an unknown run names those that there are, before anything is measured."""
    with pytest.raises(
        StoreError, match=rf"^reuse: expected a stored run of {name}, got nowhere; name one of {STORED}$"
    ):
        getattr(ib, name)(reuse="nowhere")
    assert studies.build(name, {"reuse": STORED}).reuse == STORED


@each_notebook
def test_every_notebook_ends_with_the_controls(name: str) -> None:
    """The last question and its cell are tagged, so that reports leave out both."""
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    tagged = [cell for cell in cells if "explore" in cell.metadata.get("tags", [])]
    assert [cell.cell_type for cell in tagged] == ["markdown", "code"]
    assert tagged[1].source == f'ib.explore("{name}")'
