"""A cell that several notebooks measured has one figure on the front page, and both are shown."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from statistics import median
from typing import Any

import pytest
import sample_runs as samples
from bs4 import BeautifulSoup
from test_golden import GOLDEN, NOTEBOOKS

from inferbench_lib.findings import Verdict
from inferbench_lib.records import Run, from_plain
from inferbench_lib.report.words import digits
from inferbench_lib.studies import voice
from inferbench_lib.studies.summary import page
from inferbench_lib.studies.summary.study import measured_again, speakers, without_others


@pytest.fixture(scope="module")
def golden() -> dict[str, Run]:
    """The stored run of 0.1.0, in which batch 16 of the small network took 35 and 46 ms."""
    files = {name: GOLDEN / "data" / f"{name}.json.gz" for name in NOTEBOOKS}
    return {name: from_plain(json.loads(gzip.decompress(path.read_bytes()))) for name, path in files.items()}


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """The figures that the run stored."""
    found: dict[str, Any] = json.loads(gzip.decompress((GOLDEN / "summary.json.gz").read_bytes()))
    return found


def test_both_figures_of_a_cell_are_reconciled(golden: dict[str, Run], told: dict[str, Any]) -> None:
    """Batch 16 of the small network has both stored throughputs, and the sweep's is used: it has most batch sizes."""
    (found,) = [
        one
        for one in measured_again(golden)
        if (one.case.workload, one.case.batch_size, one.other) == ("cnn-small", 16, "cpu_vs_gpu")
    ]
    assert found.used == "batch_sweep"
    assert found.used_per_s.value == pytest.approx(told["batch_sweep/best_throughput[cnn-small,cpu]"]["value"])
    assert found.other_per_s.value == pytest.approx(told["cpu_vs_gpu/throughput[small,cpu,b16]"]["value"])
    assert found.ratio.verdict is Verdict.SLOWER
    assert found.ratio.value == pytest.approx(found.other_per_s.value / found.used_per_s.value, rel=0.02)


def test_the_front_page_shows_one_figure_of_a_cell(golden: dict[str, Run], told: dict[str, Any]) -> None:
    """No card and no line of the slide holds the figure of cpu_vs_gpu for a cell that the sweep measured too."""
    other = digits(told["cpu_vs_gpu/best_throughput[small,cpu]"]["value"])
    used = digits(told["batch_sweep/best_throughput[cnn-small,cpu]"]["value"])
    assert other == "445"
    assert used == "458"
    assert any(other in card.value for card in voice.answer(golden["cpu_vs_gpu"]).cards)
    said = page.answer(golden)
    assert not any(other in card.value or "small network on cpu" in card.label for card in said.cards)
    left = without_others("cpu_vs_gpu", golden["cpu_vs_gpu"], golden).measurements
    assert {cell.case.workload for cell in left} == {"cnn-medium", "cnn-large"}
    slide = page.performance_summary(golden).frame.set_index("name")["value"]
    assert slide["Small network on cpu"] == f"{used} images/s"


def test_a_difference_is_a_warning_with_both_figures(golden: dict[str, Run]) -> None:
    """The cell that differs most is named with both figures, the notebook that is used, and the count of all."""
    found = measured_again(golden)
    n_differing = sum(one.ratio.is_difference for one in found)
    assert page.answer(golden).flags[-1] == (
        f"{n_differing} of {len(found)} cells that notebooks measured again differ. The most: cnn-small · torch · cpu "
        "· 2 threads · batch 16 · fp32, 458 inputs/s in batch_sweep, 347 in cpu_vs_gpu. This page uses batch_sweep"
    )


def test_all_pairs_are_in_a_folded_table(golden: dict[str, Run]) -> None:
    """Each pair of figures has a row below a closed summary; the card of a notebook says whose figures are used."""
    shown = BeautifulSoup(page.measured_again(golden), "html.parser")
    assert len(shown.select("details:not([open]) tbody tr")) == len(measured_again(golden))
    note = "for what batch_sweep measured too, this page uses the figures of batch_sweep"
    cards = {card.a["href"]: card.small.get_text() for card in BeautifulSoup(page.pages(golden), "html.parser")("li")}
    assert note in cards["cpu_vs_gpu.html"]
    assert "this page uses" not in cards["batch_sweep.html"]


def test_cells_of_one_notebook_stay_as_they_are(golden: dict[str, Run]) -> None:
    """A notebook alone speaks for itself, and nothing is shown as measured again."""
    alone = {"cpu_vs_gpu": golden["cpu_vs_gpu"]}
    assert measured_again(alone) == ()
    assert page.measured_again(alone) == ""
    assert without_others("cpu_vs_gpu", golden["cpu_vs_gpu"], alone) == golden["cpu_vs_gpu"]


def test_figures_that_agree_are_no_warning() -> None:
    """The same samples in two notebooks do not differ, and of equally many batch sizes the first notebook is used."""
    run = samples.sweep()
    runs = {"batch_sweep": run, "cpu_vs_gpu": replace(run, notebook="cpu_vs_gpu")}
    found = measured_again(runs)
    assert {one.ratio.verdict for one in found} == {Verdict.INDISTINGUISHABLE}
    assert set(speakers(runs).values()) == {"batch_sweep"}
    (first, *_) = found
    (cell,) = [cell for cell in run.measurements if cell.case == first.case]
    assert first.used_per_s.value == pytest.approx(cell.inputs_per_call / median(cell.samples_s))
