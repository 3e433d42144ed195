"""No page says NaN, draws nothing or hides a failure, whatever became of its cells; the summary and method too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sample_runs as samples
from page_texts import UNSAID, draw, sentences, texts, views

from inferbench_lib import store
from inferbench_lib.report import page_parts as common
from inferbench_lib.studies import voice

each_run = pytest.mark.parametrize("name", samples.NAMES)


# Every page, whatever happened


@each_run
def test_nothing_unsaid_is_said(name: str) -> None:
    """No text of any page holds NaN, infinity, None, a name of the program or an empty place."""
    assert [text for text in texts(name) if UNSAID.search(text)] == []


@pytest.mark.parametrize(
    "text",
    ["nan s", "3 of inf", "None", "inf×", "Outcome.OK", "a  b", "()", "said .", "end..", "x: .", "x; ."],
)
def test_unsaid_is_seen(text: str) -> None:
    """The guard above finds each fault, and leaves ordinary sentences alone."""
    assert UNSAID.search(text)
    assert not UNSAID.search("Use threads: 1.83× (1.79–1.86); nothing else. It is 0.5 s, information none.")


@each_run
def test_every_figure_draws_and_is_described(name: str) -> None:
    """Each view with data becomes a picture without a warning, and each has an alt text and a reading."""
    for view in views(name):
        assert view.frame.empty or draw(view).startswith(b"\x89PNG")
        assert view.alt.strip()
        assert view.reading.strip()


@each_run
def test_summary_holds_numbers_or_nothing(name: str) -> None:
    """Figures are finite numbers, words or None with a reason; intervals hold their value."""
    for figure_name, figure in samples.RUNS[name].summary.items():
        numbers = [n for n in (figure.value, figure.low, figure.high) if isinstance(n, float)]
        assert all(abs(n) < float("inf") for n in numbers), figure_name
        assert figure.value is not None or figure.verdict, figure_name
        if figure.low is not None and figure.high is not None:
            assert isinstance(figure.value, float | int), figure_name
            assert figure.low <= figure.value <= figure.high, figure_name


@each_run
def test_page_is_the_same_from_the_stored_record(name: str, tmp_path: Path) -> None:
    """A page rebuilt from the file says what it said when it was measured."""
    again = store.load_run(store.save_run(samples.RUNS[name], tmp_path))
    assert list(sentences(again)) == texts(name)


@each_run
def test_every_cell_that_did_not_end_well_is_named(name: str) -> None:
    """The first screen carries the reason of each failed, invalid or unmeasured cell, ceilings of the machine aside."""
    run = samples.RUNS[name]
    answer = voice.answer(run)
    text = " ".join([answer.verdict, *answer.flags])
    reasons = {cell.reason for cell in run.measurements if cell.reason and run.notebook != "hardware_analysis"}
    assert [reason for reason in reasons if reason not in text] == []


# What every page ends with


def test_method_is_true_of_the_run() -> None:
    """Rounds, cells, seed, the reason to stop and the control's range are the run's own."""
    text = common.method(samples.multiprocess())
    assert text.startswith("Each of 8 rounds ran 5 cells in random order (seed 0). ")
    assert "Measuring ended because 8 rounds were the most asked for." in text
    assert "A fixed control workload ran after every turn and took 11.0–12.0 ms." in text
    assert common.method(replace(samples.multiprocess(), tables={})) == "Nothing was timed in rounds."


def test_machine_says_what_it_does_not_know() -> None:
    """Every fact is a row, and a fact that the machine does not tell is unknown."""
    rows = dict(common.system_rows(samples.multiprocess()))
    assert rows["Usable CPUs"] == "4 of 8 CPUs usable (affinity)"
    assert rows["Memory"] == "16.0 GB"
    assert rows["Caches"] == "L1d 32.8 kB, L2 1.0 MB and L3 33.6 MB"
    hybrid = replace(
        samples.MACHINE, core_kinds={"performance": 8, "efficiency": 1}, cache_shared_by={"L2": 2, "L3": 16},
        frequency_hz=4.7e9, memory_limit_bytes=2_000_000_000, steal_share=0.02,
    )  # fmt: skip
    rows = dict(common.system_rows(replace(samples.multiprocess(), machine=hybrid)))
    assert (rows["Cores: performance"], rows["Cores: efficiency"]) == ("8 logical CPUs", "1 logical CPU")
    assert rows["CPUs per cache"] == "L2 2 CPUs and L3 16 CPUs"
    assert (rows["Maximum clock"], rows["Memory limit"]) == ("4.70 GHz", "2.0 GB")
    assert rows["Steal since boot"] == "2 %"
    bare = replace(samples.multiprocess(), machine=samples.Machine())
    unknown = dict(common.system_rows(bare))
    assert (unknown["Physical cores"], unknown["Memory"], unknown["Caches"]) == ("unknown",) * 3
    assert not UNSAID.search(" | ".join(unknown.values()))
