"""The front page of a run: what to do, why, how far to trust it, and all of its data."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import sample_runs as samples
import yaml
from bs4 import BeautifulSoup
from page_texts import UNSAID, draw
from tiny import ROOT

from inferbench_lib import store
from inferbench_lib.errors import StoreError
from inferbench_lib.records import Flag, Run
from inferbench_lib.report import downloads
from inferbench_lib.report.page_parts import trust
from inferbench_lib.report.words import interval, times
from inferbench_lib.studies import voice
from inferbench_lib.studies.summary import page as summary


@pytest.fixture
def whole() -> dict[str, Run]:
    """A run of four notebooks."""
    runs = (samples.multiprocess(), samples.vs_gpu(), samples.sweep(), samples.hardware_run())
    return {run.notebook: run for run in runs}


@pytest.mark.parametrize("name", samples.NAMES)
def test_nothing_unsaid_whatever_failed(name: str) -> None:
    """The front page of any run draws, and says neither NaN nor an empty place."""
    runs = {samples.RUNS[name].notebook: samples.RUNS[name]}
    view = summary.performance_summary(runs)
    said = summary.answer(runs)
    spoken = [view.alt, view.reading, said.verdict, *said.flags, *map(str, view.frame.to_numpy().ravel())]
    to_do = BeautifulSoup(summary.to_do(runs), "html.parser")
    for code in to_do.select("pre"):
        code.decompose()
    spoken += [to_do.get_text(), summary.pages(runs), summary.methods(runs), trust(list(runs.values()))]
    assert [text for text in spoken if UNSAID.search(text)] == []


def test_verdict_is_what_to_do(whole: dict[str, Run]) -> None:
    """One sentence: the way to predict, the batches; figures with their intervals carry it, and code follows."""
    said = summary.answer(whole)
    assert said.verdict == (
        f"Set n_jobs=4 for the forest: 3.20× as fast as one process ({interval(3.2, 3.2)}); "
        "use batches of 10,000 for the forest on cpu, 1 thread and 4 for the small network on cuda:0."
    )
    assert [(card.value, card.interval) for card in said.cards] == [
        ("3.20×", interval(3.2, 3.2, times)),
        ("batch 10,000", f"475,952 ({interval(474_766, 477_146)}) inputs/s"),
    ]
    assert said.code == "# set n_jobs=4 for the forest\nmodel.n_jobs = 4"


def test_the_largest_gain_comes_first(whole: dict[str, Run]) -> None:
    """4.17 and 6.67 times by the GPU stand before 3.20 times by threads, with their code; batches state no gain.

    A third recommendation would make the verdict longer than 45 words: the list below has it.
    """
    whole["cpu_vs_gpu"] = samples.vs_gpu(gpu=True)
    said = summary.answer(whole)
    assert [part.partition(": ")[0] for part in said.verdict.split("; ")] == [
        "Run the small network and the large network on cuda:0",
        "set n_jobs=4 for the forest",
    ]
    assert "Use batches of 10,000 for the forest on cpu, 1 thread and 4 for" in summary.to_do(whole)
    assert said.code.startswith('# run the small network and the large network on cuda:0\nmodel = model.to("cuda:0")\n')
    assert [card.value for card in said.cards] == ["6.67×", "3.20×", "batch 10,000"]


def test_without_advice_the_code_is_that_of_the_cpu(whole: dict[str, Run]) -> None:
    """No GPU was found: the batches to use on the CPU, under the page's title beside other pages; else no code."""
    alone = summary.answer({"cpu_vs_gpu": whole["cpu_vs_gpu"]})
    assert alone.verdict == voice.answer(whole["cpu_vs_gpu"]).verdict
    assert alone.code == voice.answer(whole["cpu_vs_gpu"]).code != ""
    both = summary.answer({name: whole[name] for name in ("cpu_vs_gpu", "hardware_analysis")})
    assert both.code == f"# The CPU against the GPU\n{alone.code}"
    assert summary.answer({"hardware_analysis": whole["hardware_analysis"]}).code == ""


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (
            samples.RUNS["multiprocess, baseline alone"],
            ("stay with one process for the forest", "no other way was measured"),
        ),
        (
            samples.RUNS["multiprocess, too few rounds"],
            (
                "no recommendation for the forest",
                "the shared-memory pool: no verdict against one process (too few samples: needs 6 rounds, has 3)",
            ),
        ),
        (
            samples.vs_gpu(gpu=True),
            (
                "run the small network and the large network on cuda:0: 4.17× (4.17–4.17) and 6.67× (6.67–6.67) as "
                "fast as on the CPU, transfers included",
                "compared within 8 rounds, with a 95 % interval; by device time alone 5.00× and 8.00×",
            ),
        ),
    ],
)
def test_recommendation_has_its_evidence(run: Run, expected: tuple[str, str]) -> None:
    """What is not shown to be better is not recommended, and why stands beside it."""
    (advice,) = voice.recommendations({run.notebook: run})
    assert (advice.recommendation, advice.evidence) == expected


def test_nothing_is_recommended_where_nothing_was_compared() -> None:
    """No GPU, a GPU that was lost, or a run without a verdict: the page says so, and advises nothing."""
    for name in ("devices", "devices, GPU lost", "devices, all failed", "devices, too few rounds", "devices, unstable"):
        assert voice.advice(samples.RUNS[name]) is None
        assert "keep" not in voice.answer(samples.RUNS[name]).verdict.lower()


def test_limits_stand_beside_a_recommendation(whole: dict[str, Run]) -> None:
    """Batches hold for the limits that were stated, or for none."""
    stated, free = (
        voice.recommendations({"batch_sweep": run})[0].limits
        for run in (samples.sweep(), samples.sweep(max_latency_s=None, max_memory_bytes=None))
    )
    assert stated == "p95 latency of at most 100 ms and memory of at most 2.0 GB"
    assert free == "no limit on latency or memory was stated"
    assert f"Holds for: {stated}." in summary.to_do(whole)


def test_each_notebook_has_a_card_that_leads_to_its_page(whole: dict[str, Run]) -> None:
    """Title, verdict and warnings of each notebook, under the name that the notebook itself bears."""
    cards = BeautifulSoup(summary.pages(whole), "html.parser").select("li")
    assert [card.a["href"] for card in cards if card.a] == [f"{name}.html" for name in whole]
    for card, (name, run) in zip(cards, whole.items(), strict=True):
        notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())
        assert f"# {card.a.get_text() if card.a else ''}" == notebook["cells"][0]["source"][0].strip()
        assert voice.answer(run).verdict in card.get_text()


def test_parameters_are_those_of_the_run(whole: dict[str, Run]) -> None:
    """What is written out to repeat the run reads back as what it was asked for."""
    blocks = BeautifulSoup(summary.parameters(whole), "html.parser").select("pre")
    for block, run in zip(blocks, whole.values(), strict=True):
        assert yaml.safe_load(block.get_text()) == {k: v for k, v in run.params.items() if k != "reuse"}


def test_slide_holds_figures_machine_and_conclusions(whole: dict[str, Run]) -> None:
    """Each key figure once, the machine, and every recommendation; it is drawn even of a run without any."""
    view = summary.performance_summary(whole)
    names = set(view.frame[view.frame["panel"] == "figures"]["name"])
    assert {"Forest, one process", "Speedup of that pool", "Outputs against the reference", "Best batch, forest on cpu",
            "Small network on cpu", "Memory bandwidth", "Matrix product, fp32"} <= names  # fmt: skip
    assert int((view.frame["panel"] == "conclusions").sum()) == 2
    assert draw(view).startswith(b"\x89PNG")
    assert draw(summary.performance_summary({})).startswith(b"\x89PNG")


def test_what_is_missing_is_named(whole: dict[str, Run]) -> None:
    """A notebook without a record is named, and a run without any says so and recommends nothing."""
    del whole["batch_sweep"]
    assert "Missing from this summary (no data): model_engines and batch_sweep" in summary.answer(whole).flags
    assert summary.answer({}).verdict == "Nothing was measured: no notebook of this run left a record."
    assert summary.to_do({}) == "<p>Nothing was compared, so nothing is recommended.</p>"


def test_gallery_holds_the_named_pictures(whole: dict[str, Run]) -> None:
    """The pictures that carry the recommendations are drawn from the run's own records, the slide last."""
    assert [view.name for view in summary.gallery(whole)] == [
        "executor_times",
        "inference_comparison",
        "batch_size_comparison",
        "performance_summary",
    ]


def test_a_stored_run_is_shown_again(whole: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`reuse` names the run whose records are shown."""
    monkeypatch.setenv("INFERBENCH_REPORTS", str(tmp_path))
    for run in whole.values():
        store.save_run(run, store.reports_folder() / "earlier")
    assert {name: run.summary for name, run in summary.runs_here("earlier").items()} == {
        name: run.summary for name, run in whole.items()
    }
    assert summary.runs_here() == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "multiprocess",
            "Quiet: three of four cells are known to ±0.3 % or better. The outputs of all 5 verified cells match the "
            "reference. Intervals are over 8 rounds.",
        ),
        ("multiprocess, too few rounds", "Unusable: 100 % of the cells have no interval, which needs 6 rounds."),
        ("multiprocess, too few rounds", "Measured in 3 rounds; an interval needs 6."),
        ("multiprocess, one round", "Measured in 1 round;"),
        ("multiprocess, wrong outputs", "1 of 3 cells have no result. 1 of 3 verified cells have WRONG outputs; their"),
        (
            "multiprocess, unstable",
            "Unusable: a quarter of the cells are known only to ±33 % or worse (limit ±30 %). Run",
        ),
        ("multiprocess, all failed", "Unusable: nothing was measured."),
        ("multiprocess, all failed", "No outputs were verified. Nothing was timed."),
    ],
)
def test_trust_is_said_with_its_reason(name: str, expected: str) -> None:
    """Quiet, noisy or unusable, verified or not, and over how many rounds."""
    assert expected in trust([samples.RUNS[name]])
    assert trust([]) == ""


def test_a_front_page_is_as_quiet_as_its_noisiest_notebook(whole: dict[str, Run]) -> None:
    """Other load beside the cells of one notebook makes the whole run noisy, and that notebook is named."""
    assert trust(list(whole.values())).startswith("Quiet: ")
    run, load = whole["batch_sweep"], Flag(name="other_load", text="in 8 of 8 rounds other programs used 40 %")
    struck = tuple(replace(cell, flags=(load,)) for cell in run.measurements)
    whole["batch_sweep"] = replace(run, measurements=struck)
    assert trust(list(whole.values())).startswith(
        "Noisy in batch_sweep: other programs used CPU time in 100 % of the cells (limit 33 %). "
    )


def test_tables_hold_every_sample_and_every_figure(whole: dict[str, Run]) -> None:
    """The CSV of a notebook has a row a sample, in its round; that of a run a row a figure."""
    run = samples.multiprocess()
    rows = list(csv.DictReader(io.StringIO(downloads.samples_csv(run).decode())))
    for cell in run.measurements:
        mine = [row for row in rows if row["executor"] == cell.case.executor]
        assert [float(row["seconds"]) for row in mine] == list(cell.samples_s)
        assert [int(row["round"]) for row in mine] == [n for n, of in enumerate(cell.rounds(), 1) for _ in of]
    figures = list(csv.DictReader(io.StringIO(downloads.figures_csv(list(whole.values())).decode())))
    expected = {f"{run.notebook}/{name}": figure for run in whole.values() for name, figure in run.summary.items()}
    assert {row["figure"]: row["value"] for row in figures} == {
        name: "" if figure.value is None else str(figure.value) for name, figure in expected.items()
    }


def test_a_large_download_travels_packed() -> None:
    """From 2,000 bytes on a file is packed; unpacked it is the same, and its size is told unpacked."""
    payload = json.dumps(list(range(1000))).encode()
    link = BeautifulSoup(downloads.data_link("a.json", payload, "application/json"), "html.parser")
    assert link.a is not None
    assert (link.a["download"], link.a["data-packed"]) == ("a.json.gz", "application/json")
    assert gzip.decompress(base64.b64decode(str(link.a["href"]).partition(",")[2])) == payload
    assert link.get_text() == f"a.json ({len(payload) / 1000:,.1f} kB)"


def test_a_page_with_packed_records_can_be_compared(whole: dict[str, Run], tmp_path: Path) -> None:
    """The records that travel packed in a page are read from it; of one that was cut off it is said."""
    link = downloads.data_link("batch_sweep.json", store.dump_run(whole["batch_sweep"]), "application/json")
    page = tmp_path / "page.html"
    page.write_text(f"<p>{link}</p>")
    (found,) = store.embedded(page)
    assert found.summary == whole["batch_sweep"].summary
    page.write_text(f"<p>{link.replace('H4sI', 'H4sIAAAA', 1)}</p>")
    with pytest.raises(StoreError, match=r"^page\.html: batch_sweep\.json: expected a stored run, got a damaged file"):
        store.embedded(page)


def test_a_simulated_run_says_so_first(whole: dict[str, Run]) -> None:
    """The verdict of a front page with simulated figures begins with the mark."""
    whole["cpu_vs_gpu"] = replace(whole["cpu_vs_gpu"], simulated=True)
    assert summary.answer(whole).verdict.startswith("SIMULATED: Set n_jobs=4 ")
