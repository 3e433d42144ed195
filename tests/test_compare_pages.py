"""From stored runs to the page of their comparison: reading them wherever they lie, words, command and browser."""

from __future__ import annotations

import gzip
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import sample_runs as samples
from made_pairs import NAMES, NOTEBOOK, made
from page_texts import UNSAID, draw
from playwright.sync_api import Page
from tiny import ROOT, TINY, Report, make_report

import inferbench_lib as ib
from inferbench_lib import store
from inferbench_lib.__main__ import main
from inferbench_lib.errors import ConfigError, StoreError
from inferbench_lib.records import Figure, Flag, Run, from_plain, plain
from inferbench_lib.report import results
from inferbench_lib.report.downloads import data_link
from inferbench_lib.report.words import interval_of
from inferbench_lib.stats.verdict import unpaired_ratio
from inferbench_lib.studies import voice
from inferbench_lib.studies.compare import page
from inferbench_lib.studies.compare.measure import newest_pair
from inferbench_lib.studies.compare.study import CompareStudy, study

pytestmark = pytest.mark.timeout(300)
NO_RUN = "there is none yet: run make report"
BASE, HEAD = "20260712-140302-standard", "20260713-090000-standard"


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFERBENCH_REPORTS", str(tmp_path / "reports"))
    monkeypatch.setenv("INFERBENCH_RUN_FOLDER", str(tmp_path / "reports" / "20260714-000000-compare"))
    return tmp_path / "reports"


def keep(reports: Path, run: Run, name: str) -> Run:
    """The run, stored under this id."""
    kept = replace(run, run_id=name)
    store.save_run(kept, reports / name)
    return kept


def embed(run: Run) -> str:
    """A page that carries the run as the report's pages do."""
    return f"<p>Raw data: {data_link(f'{run.notebook}.json', store.dump_run(run), 'application/json')}</p>"


# Reading


def test_a_run_is_read_wherever_it_lies(reports: Path, tmp_path: Path) -> None:
    """By its id, its folder, its record, one of its pages, or a folder of pages alone, it is the same run."""
    run = keep(reports, samples.multiprocess(), BASE)
    there = store.runs_of(BASE)[NOTEBOOK]
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "page.html").write_text(f"<a href='other.html' download>x</a>{embed(run)}", encoding="utf-8")
    (tmp_path / "mail" / f"{NOTEBOOK}.json.gz").write_bytes(gzip.compress(store.dump_run(run)))
    (tmp_path / "mail" / "sweep.html").write_text(embed(samples.sweep()), encoding="utf-8")
    records = (reports / BASE / "data" / f"{NOTEBOOK}.json", tmp_path / "mail" / f"{NOTEBOOK}.json.gz")
    for source in (reports / BASE, *records, tmp_path / "mail" / "page.html"):
        assert store.runs_of(str(source)) == {NOTEBOOK: there}
    assert store.runs_of(str(tmp_path / "mail")).keys() == {NOTEBOOK, "batch_sweep"}


def test_what_holds_no_run_is_named(reports: Path, tmp_path: Path) -> None:
    """A missing file, a page without data, one whose data was cut off or is of another schema: each says so."""
    with pytest.raises(
        StoreError, match=r"^nowhere: expected a stored run, got no such run, file or folder; there is none yet: run "
    ):
        store.runs_of("nowhere")
    path = tmp_path / "page.html"
    path.write_text("<p>nothing</p>")
    message = r"^page.html: expected a run with its data, got none; name a run's folder or one of its pages$"
    with pytest.raises(StoreError, match=message):
        store.runs_of(str(path))
    whole = embed(samples.multiprocess())
    path.write_text(whole.replace('">cpu_multiprocess.json</a>', '!">cpu_multiprocess.json</a>'))
    with pytest.raises(
        StoreError, match=r"^page.html: cpu_multiprocess.json: expected a stored run, got a damaged file"
    ):
        store.runs_of(str(path))
    path.write_text(embed(replace(samples.multiprocess(), schema_version=7)))
    with pytest.raises(StoreError, match=r"^page.html: cpu_multiprocess.json: expected schema version 1, got 7; "):
        store.runs_of(str(path))


def test_without_names_the_newest_two_of_one_profile_are_taken() -> None:
    """Of each profile the last two; of those pairs the one with the newest run; none where no profile has two."""
    ids = ["20260101-000000-quick", "20260102-000000-quick", "20260103-000000-quick", "20260104-000000-standard", "lab"]
    assert newest_pair(ids) == ["20260102-000000-quick", "20260103-000000-quick"]
    assert newest_pair(ids[:1] + ids[3:]) == []


@pytest.mark.parametrize("n_bytes", [100, 100_000])
def test_what_a_page_carries_comes_back_whole(n_bytes: int, tmp_path: Path) -> None:
    """A small record travels as it is and a large one packed; either is read as it was."""
    run = replace(samples.multiprocess(), measurements=(), tables={"text": "x" * n_bytes}, summary={})
    (tmp_path / "page.html").write_text(f"{embed(run)}<a download='samples.csv' href='data:text/csv;base64,eA=='>x</a>")
    assert store.embedded(tmp_path / "page.html") == [from_plain(plain(run))]


# Words


def said_of(reports: Path, base: Run, *heads: Run) -> CompareStudy:
    """What the stored comparison of these runs says; read back from its file."""
    keep(reports, base, BASE)
    names = [keep(reports, head, f"2026071{3 + number}-090000-standard").run_id for number, head in enumerate(heads)]
    ib.compare(base=BASE, heads=names)
    return study(store.load_run(store.run_folder() / "data" / "compare.json"))


def sentences(said: CompareStudy) -> list[str]:
    """Every text of the page."""
    answer = page.answer(said)
    shown = [page.differences(said), page.machine_speed(said), page.changes(said), page.not_compared(said)]
    cells = [str(value) for table in shown for value in table.frame.to_numpy().ravel()]
    cards = [text for card in answer.cards for text in (card.value, card.label, card.interval)]
    return [answer.verdict, *answer.flags, *cards, *(table.reading for table in shown if table.reading), *cells,
            page.method(said), page.ratios(said).reading, page.ratios(said).alt]  # fmt: skip


def test_a_slowdown_is_the_first_sentence(reports: Path) -> None:
    """The planted slowdown is named with its ratio and interval, on the cards, in the table and in summary.json."""
    rng = np.random.default_rng(0)
    said = said_of(reports, made(rng), made(rng, slower={"shared_pool": 1.5}))
    answer = page.answer(said)
    n_judged = sum(change.ratio.is_judged for change in said.pairs[0].changes)
    assert f" of {n_judged} cells and figures changed, the cell that changed most: " in answer.verdict
    assert len(answer.verdict.split()) <= 45
    assert "forest · sklearn · cpu · shared_pool, 4 × 1 · batch 15,000 slower, 0.6" in answer.verdict
    assert [card.label.partition(":")[0] for card in answer.cards] == [
        "with no significant difference",
        "the largest change",
        "speed of the fixed control work, HEAD over BASE",
    ]
    rows = page.changes(said).frame.set_index("what")
    assert rows.loc["forest · sklearn · cpu · shared_pool, 4 × 1 · batch 15,000", "verdict"] == "slower"
    assert rows.loc["speedup[shared_pool]", "verdict"] == "lower"
    assert rows.loc["verification", ["BASE", "HEAD"]].tolist() == ["PASSED", "PASSED"]
    assert said.run.summary[f"{NOTEBOOK}/multi_s"].verdict == "slower"
    assert said.run.summary[f"{NOTEBOOK}/multi_s"].value == pytest.approx(1 / 1.5, rel=0.05)
    assert "slower" in results.texts({"compare": said.run}, voice, {})["results.md"]


def test_every_verdict_is_said_in_whole_sentences(reports: Path) -> None:
    """Same, changed, disturbed, refused, another machine, several heads, nothing: no text holds anything unsaid."""
    rng = np.random.default_rng(1)
    base = made(rng)
    flag = Flag(name="other_load", text="other processes took 40 % of the CPUs")
    slow = made(rng, slower=dict.fromkeys(NAMES, 1.5))
    struck = replace(slow, measurements=tuple(replace(cell, flags=(flag,)) for cell in slow.measurements))
    away = replace(slow, machine=replace(slow.machine, cpu_model="Another CPU"))
    other = replace(base, params={**base.params, "n_trees": 7})
    verdicts = {
        "same": (base, "No significant difference in "),
        "struck": (struck, " differences withheld: a run was disturbed."),
        "machine": (away, " changed on another machine, the cell that changed most: "),
        "other work": (
            other,
            "Nothing could be compared (cpu_multiprocess: other work: n_trees: 50 in BASE, 7 in HEAD).",
        ),
    }
    for head, expected in verdicts.values():
        said = said_of(reports, base, head)
        assert expected in page.answer(said).verdict
        assert [text for text in sentences(said) if UNSAID.search(text)] == []
        assert draw(page.ratios(said)).startswith(b"\x89PNG")
    several = said_of(reports, base, away, base)
    assert [text for text in sentences(several) if UNSAID.search(text)] == []
    beside = ["what", "BASE", *(pair.head for pair in several.pairs), "notebook"]
    assert page.changes(several).frame.columns.tolist() == beside
    assert page.answer(several).verdict.count("20260713-090000-standard: ") == 1


def test_the_interval_that_decides_is_printed(reports: Path) -> None:
    """The interval of a cell has the shared level in the record and in the table, and no other is shown."""
    rng = np.random.default_rng(0)
    base, head = made(rng), made(rng, slower={"shared_pool": 1.5})
    said = said_of(reports, base, head)
    (one,) = said.pairs[0].notebooks
    first, second = (
        [median(of) for of in cell.rounds()]
        for run in (base, head)
        for cell in run.measurements
        if cell.case.executor == "shared_pool" and not cell.case.cold
    )
    level = min(one.rule.level, 1 - 2 / math.comb(16, 8))
    assert level > 0.99
    deciding = unpaired_ratio(first, second, level)
    ninety_five = unpaired_ratio(first, second)
    assert interval_of(deciding) != interval_of(ninety_five)
    (change,) = [of for of in one.changes if of.is_cell and "shared_pool" in of.name]
    assert (change.ratio.low, change.ratio.high) == (deciding.low, deciding.high)
    row = page.changes(said).frame.set_index("what").loc[change.label]
    assert row["interval"] == interval_of(deciding)
    assert not [text for text in sentences(said) if interval_of(ninety_five) in text]
    assert said.run.summary[f"{NOTEBOOK}/{change.name}"].low == deciding.low


def test_what_changed_comes_first_and_what_has_no_verdict_is_counted(reports: Path) -> None:
    """The largest changes lead the table, and the first sentence counts the cells and figures without a verdict."""
    rng = np.random.default_rng(0)
    base, head = made(rng), made(rng, slower={"shared_pool": 1.5, "threads": 1.2})
    model = {f"model[{n}]": Figure(value=n, unit="images/s", verdict="MODEL") for n in range(2, 6)}
    other = {name: replace(of, value=7) for name, of in model.items()}
    base = replace(base, summary={**base.summary, **model})
    said = said_of(reports, base, replace(head, summary={**head.summary, **other}))
    changes = said.pairs[0].changes
    n_without = sum(not change.ratio.is_judged for change in changes)
    assert n_without >= 4
    assert page.answer(said).verdict.endswith(f" {n_without} more have no verdict.")
    verdicts = list(page.changes(said).frame["verdict"])
    n_changed = sum(change.ratio.is_difference for change in changes)
    assert set(verdicts[:n_changed]) <= {"slower", "lower", "faster", "higher"}
    assert verdicts[n_changed:].count("no significant difference") == len(changes) - n_changed - n_without
    assert page.changes(said).reading.startswith("In all: ")
    left_out = page.not_compared(said).frame.set_index("why")
    assert left_out.loc["no verdict: it is a model's, not measured", "how many"] == 4
    assert left_out.loc["no verdict: it is a model's, not measured", "such as"] == (
        "model[2], model[3], model[4] and 1 more"
    )


def test_nothing_to_compare_is_a_page_too(reports: Path) -> None:
    """Without two stored runs the page says what it takes, and everything on it can be shown."""
    run = ib.compare()
    said = study(run)
    assert voice.answer(run).verdict == (
        "Nothing to compare: it takes two stored runs of one profile, or the names of two runs."
    )
    assert page.ratios(said).frame.empty
    assert [text for text in sentences(said) if UNSAID.search(text)] == []


def test_a_comparison_is_shown_again(reports: Path) -> None:
    """`reuse` gives the stored comparison, without the runs that it was made of."""
    said = said_of(reports, samples.multiprocess(), samples.multiprocess())
    (reports / BASE / "data" / f"{NOTEBOOK}.json").unlink()
    again = ib.compare(reuse="20260714-000000-compare")
    assert page.answer(study(again)) == page.answer(said)


# The command


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--base", "a"], 2, f"heads: expected a run to compare with a, got none; name both, or neither; {NO_RUN}"),
        (["--head", "a b"], 2, f"base: expected a run to compare with a, b, got none; name both, or neither; {NO_RUN}"),
        (["--base", "a", "--head", "b"], 1, f"a: expected a stored run, got no such run, file or folder; {NO_RUN}"),
        ([], 2, "compare: expected two stored runs of one profile, got none; name them: BASE=<run> HEAD=<run>"),
    ],
)
def test_a_wrong_name_leaves_no_report(
    arguments: list[str], code: int, message: str, reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what was expected and what came, before a folder is made."""
    assert main(["compare", *arguments]) == code
    assert capsys.readouterr().err == f"inferbench: {message}\n"
    assert not reports.exists()


@pytest.mark.parametrize("more", [[], ["--head", BASE]])
def test_a_wrong_name_lists_the_runs_there_are(
    more: list[str], reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make compare BASE=nonsense` names the stored runs, newest first, with a HEAD or without."""
    for name in (BASE, HEAD):
        keep(reports, samples.multiprocess(), name)
    assert main(["compare", "--base", "nonsense", *more]) in (1, 2)
    assert capsys.readouterr().err.endswith(f"; the stored runs are {HEAD}, {BASE}\n")
    for number in range(12):
        keep(reports, samples.multiprocess(), f"20260720-{number:06}-quick")
    assert main(["compare", "--base", "nonsense", *more]) in (1, 2)
    assert capsys.readouterr().err.endswith("20260720-000002-quick and 4 older ones\n")


def test_a_run_of_nothing_comparable_is_refused(reports: Path) -> None:
    """A comparison is no run to compare."""
    keep(reports, replace(samples.multiprocess(), notebook="calibration"), BASE)
    with pytest.raises(
        ConfigError, match=rf"^{BASE}: expected a run that holds one of cpu_multiprocess, .*, got one of "
    ):
        ib.compare(base=BASE, heads=[BASE])


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A tiny run by the real runner; four rounds are the fewest that carry an interval."""
    work = tmp_path_factory.mktemp("compare")
    values = {**TINY[NOTEBOOK], "min_rounds": 4, "max_rounds": 4, "executors": ["single", "threads"]}
    values |= {"cold_executors": [], "measure_memory": False, "network_processes": []}
    (work / "params" / "quick").mkdir(parents=True)
    (work / "params" / "quick" / f"{NOTEBOOK}.yaml").write_text(json.dumps(values))
    return make_report(work, "quick", [NOTEBOOK], work / "params")


def test_a_measured_run_is_compared_from_end_to_end(measured: Report, tmp_path: Path, page: Page) -> None:
    """By its id and by nothing but its page: no difference; the comparison is in the index, quiet, and fits a phone."""
    base = head = measured
    reports = base.folder.parent
    sent = tmp_path / "sent.html"
    sent.write_bytes((head.folder / f"{NOTEBOOK}.html").read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "inferbench_lib", "compare", "--base", base.folder.name, "--head", str(sent)],
        cwd=ROOT,
        env={**os.environ, "INFERBENCH_REPORTS": str(reports)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (path.parent for path in reports.glob("*-compare/manifest.json"))
    stored = store.load_run(folder / "data" / "compare.json")
    assert stored.params["base"] == base.folder.name
    assert stored.params["heads"] == [head.folder.name]
    assert json.loads((folder / "manifest.json").read_text())["command"] == (
        f"make compare BASE={base.folder.name} HEAD=sent.html"
    )
    assert f"{folder.name}/compare.html" in (reports / "index.html").read_text()

    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.goto((folder / "compare.html").as_uri())
    assert {figure.verdict for figure in stored.summary.values()} == {"no significant difference"}
    assert (page.locator(".answer").text_content() or "").strip() == voice.answer(stored).verdict
    for width in (360, 768, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("main figure[id]").count() == 1
    assert messages == []
    assert (folder / "compare.html").stat().st_size < 400_000
    assert store.embedded(folder / "compare.html")[0].summary == stored.summary
