"""Every page stays small enough for a mail, however long was measured, and says what it leaves out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sample_runs as samples
import yaml
from page_texts import UNSAID
from thorough_hardware import thorough_hardware
from thorough_runs import thorough_runs
from tiny import Report, make_report

from inferbench_lib import store
from inferbench_lib.records import Measurement, Run
from inferbench_lib.report.downloads import embed

LIMIT_BYTES = 400_000
STORED = tuple(f"2026071{day}-140302-thorough" for day in (2, 3))
MEASURED = ("cpu_multiprocess", "cpu_vs_gpu", "batch_sweep", "hardware_analysis")
NOTEBOOKS = (*MEASURED, "compare", "summary")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The pages of a thorough run on 16 CPUs and a GPU, and of its comparison with another and with itself."""
    work = tmp_path_factory.mktemp("thorough")
    for seed, name in enumerate(STORED):
        for run in thorough_runs(seed):
            store.save_run(replace(run, run_id=name), work / "reports" / name)
    store.save_run(replace(thorough_hardware(), run_id=STORED[0]), work / "reports" / STORED[0])
    asked = {name: {"reuse": STORED[0]} for name in MEASURED}
    asked["compare"] = {"base": STORED[0], "heads": [STORED[1], STORED[0]]}
    for name in NOTEBOOKS:
        path = work / "params" / "thorough" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(asked.get(name, {})))
    made = make_report(work, "thorough", NOTEBOOKS, work / "params")
    assert made.code == 0, made.said
    return made


@pytest.mark.timeout(300)
def test_no_page_of_a_thorough_run_is_too_large(report: Report) -> None:
    """At most 400 kB each, with thousands of samples, 16 CPUs and a GPU's series; three runs compared too."""
    sizes = {page.name: page.stat().st_size for page in report.folder.glob("*.html")}
    assert len(sizes) == len(NOTEBOOKS)
    assert {name: size for name, size in sizes.items() if size > LIMIT_BYTES} == {}


@pytest.mark.timeout(300)
def test_a_page_too_full_for_all_can_still_be_compared(report: Report) -> None:
    """What a page carries in fewer digits is the stored run but for the fifth digit, round by round."""
    (there,) = store.embedded(report.folder / "batch_sweep.html")
    stored = store.load_run(report.folder / "data" / "batch_sweep.json")
    for one, other in zip(there.measurements, stored.measurements, strict=True):
        assert one.round_sizes == other.round_sizes
        assert one.samples_s == pytest.approx(other.samples_s, rel=5.1e-4)
    assert there.summary == stored.summary
    assert (
        "data/batch_sweep.json in the run's folder has everything" in (report.folder / "batch_sweep.html").read_text()
    )
    assert "the samples of batch_sweep are in batch_sweep.html" in (report.folder / "index.html").read_text()


def with_series(run: Run) -> Run:
    """The run with seconds of many digits, and with what a device's clock saw beside them."""

    def full(cell: Measurement) -> Measurement:
        samples_s = tuple(s * 1.000123456 for s in cell.samples_s)
        return replace(cell, samples_s=samples_s, series={"enqueue_s": samples_s})

    return replace(run, measurements=tuple(map(full, run.measurements)))


def test_less_is_carried_only_as_far_as_there_is_no_room() -> None:
    """All of it, then times of four digits, then without what was timed beside, then without a table, then nothing."""
    run = with_series(samples.sweep())
    offered = (embed([run], room) for room in range(60_000, 0, -100))
    offers = {note: len("".join(links)) for links, note in offered}
    where = "data/batch_sweep.json in the run's folder"
    assert list(offers) == [
        "",
        f"To keep the page small, times have 4 digits; {where} has everything.",
        f"To keep the page small, times have 4 digits and additional timing series are left "
        f"out; {where} has everything.",
        f"To keep the page small, times have 4 digits and additional timing series are left out, and the "
        f"table of samples is left out; {where} has everything.",
        f"To keep the page small, times have 4 digits and additional timing series are left out, and the "
        f"table of samples is left out, and the record is left out; {where} has everything.",
    ]
    assert list(offers.values()) == sorted(offers.values(), reverse=True)
    assert [note for note in offers if UNSAID.search(note)] == []


def test_the_front_page_leaves_the_largest_records_to_their_pages() -> None:
    """With room for all nothing is said; with little, the sweep's samples are left to its own page, figures never."""
    runs = [with_series(samples.sweep()), with_series(samples.multiprocess())]
    everything, note = embed(runs)
    assert (len(everything), note) == (3, "")
    some, note = embed(runs, room_bytes=len("".join(everything)) // 2)
    assert "figures.csv" in some[-1]
    assert "the samples of batch_sweep are in batch_sweep.html" in note
    none, note = embed(runs, room_bytes=0)
    assert (len(none), "cpu_multiprocess.html" in note) == (1, True)
