"""The index of runs: rebuilt from the manifests, newest first, no run ever skipped in silence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sample_runs as samples
from playwright.sync_api import Locator, Page

from inferbench_lib import store
from inferbench_lib.records import Flag, Run
from inferbench_lib.report.index import write_index
from inferbench_lib.studies import voice


def notebook(name: str, **changes: Any) -> dict[str, Any]:
    entry = {
        "name": name, "title": f"The {name}", "status": "complete", "reason": "", "page": f"{name}.html",
        "duration_s": 12.5, "verdict": f"{name} is 1.8× faster.", "a_later_key": [1],
    }  # fmt: skip
    return entry | changes


def add_run(reports: Path, run_id: str, **changes: Any) -> Path:
    manifest = {
        "schema_version": 1, "run_id": run_id, "profile": "standard", "started_at": "2026-07-12T14:03:02+00:00",
        "duration_s": 161.0, "machine_line": "Example CPU · 2 usable CPUs", "status": "complete",
        "command": "make report PROFILE=standard", "simulated": False, "verdicts": {}, "files": {},
        "notebooks": [notebook("cpu_vs_gpu"), notebook("cpu_multiprocess")], "a_later_key": {"x": 1},
    }  # fmt: skip
    folder = reports / run_id
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest | changes), encoding="utf-8")
    return folder


def add_figures(reports: Path, run_id: str, figures: dict[str, tuple[float, float, float]], **changes: Any) -> None:
    folder = add_run(reports, run_id, **changes)
    units = {"cpu_multiprocess/speedup": "×", "hardware_analysis/memory_gb_s": "GB/s", RATE: "images/s"}
    units |= {"calibration/detectable_ratio": "×"}
    summary = {
        name: {"value": value, "low": low, "high": high, "unit": units[name], "verdict": ""}
        for name, (value, low, high) in figures.items()
    }
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


def rows(reports: Path, page: Page) -> Locator:
    page.goto(write_index(reports, voice.headlines(), front="summary").as_uri())
    return page.locator("#runs tbody tr")


def test_complete_run(tmp_path: Path, page: Page) -> None:
    """A run says when, how long, on what, how it ended, what each notebook found, and links to each page."""
    add_run(tmp_path, "20260712-140302-standard")
    (row,) = rows(tmp_path, page).all()
    assert row.locator("th").inner_text().split("\n") == [
        "2026-07-12 14:03 UTC",
        "20260712-140302-standard",
        "took 2 min 41 s",
    ]
    cells = row.locator("td")
    assert cells.all_inner_texts()[:4] == ["complete", "standard", "Example CPU · 2 usable CPUs", "–"]
    assert [line for line in cells.nth(4).inner_text().split("\n") if line] == [
        "The cpu_vs_gpu", "cpu_vs_gpu is 1.8× faster.",
        "The cpu_multiprocess", "cpu_multiprocess is 1.8× faster.",
        "make report PROFILE=standard",
    ]  # fmt: skip
    assert [link.get_attribute("href") for link in row.get_by_role("link").all()] == [
        "20260712-140302-standard/cpu_vs_gpu.html",
        "20260712-140302-standard/cpu_vs_gpu.html",
        "20260712-140302-standard/cpu_multiprocess.html",
    ]


def test_newest_first_across_time_zones(tmp_path: Path, page: Page) -> None:
    """Runs are ordered by the moment they began, whatever their zone or folder name; without a zone it is UTC."""
    add_run(tmp_path, "b", started_at="2026-07-12T23:30:00+09:00")  # 14:30 UTC
    add_run(tmp_path, "c", started_at="2026-07-12T14:45:00")
    add_run(tmp_path, "a", started_at="2026-07-12T12:40:00-02:00")  # 14:40 UTC
    assert rows(tmp_path, page).locator("time").all_inner_texts() == [
        "2026-07-12 14:45 UTC",
        "2026-07-12 14:40 UTC",
        "2026-07-12 14:30 UTC",
    ]


def test_incomplete_run_says_what_failed(tmp_path: Path, page: Page) -> None:
    """A notebook that was killed is marked with its reason; one that never ran has no link."""
    entries = [
        notebook("cpu_vs_gpu", status="killed", reason="out of memory in cell 4", verdict=""),
        notebook("batch_sweep", status="not run", reason="the run ended before it", page="", verdict=""),
    ]
    add_run(tmp_path, "20260712-140302-standard", status="interrupted", notebooks=entries, simulated=True)
    (row,) = rows(tmp_path, page).all()
    assert row.locator("td").first.inner_text() == "interrupted SIMULATED"
    assert row.locator("li").all_inner_texts() == [
        "The cpu_vs_gpu killed out of memory in cell 4",
        "The batch_sweep not run the run ended before it",
    ]
    assert row.locator("li").nth(1).get_by_role("link").count() == 0
    assert page.locator(".provenance").inner_text().split("\n") == ["1 run", "1 not complete"]


def test_complete_is_not_believed_over_a_failed_notebook(tmp_path: Path, page: Page) -> None:
    """A manifest that calls a run complete though a notebook failed is shown as incomplete."""
    add_run(tmp_path, "a", notebooks=[notebook("cpu_vs_gpu", status="failed")])
    assert rows(tmp_path, page).locator("td").first.inner_text() == "incomplete"


def test_run_without_manifest_is_unfinished(tmp_path: Path, page: Page) -> None:
    """A run folder without a manifest is a row dated by its name; other folders are not runs."""
    (tmp_path / "20260601-101500-quick").mkdir()
    (tmp_path / "lab").mkdir()
    (tmp_path / ".work").mkdir()
    (row,) = rows(tmp_path, page).all()
    assert row.locator("th").inner_text().split("\n") == ["2026-06-01 10:15 UTC", "20260601-101500-quick"]
    assert row.locator("td").first.inner_text() == "unfinished"
    assert row.locator("td").nth(4).inner_text() == (
        "No manifest: the run is still in progress, or it was killed before it could write one."
    )


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ('{"schema_version": 1,', "manifest.json: the file: Invalid JSON: EOF while parsing"),
        ("[]", "manifest.json: the file: Input should be an object."),
        ('{"schema_version": 2}', "manifest.json: schema_version: Input should be 1."),
        ({"status": "fine"}, "manifest.json: status: Input should be 'complete', 'incomplete' or 'interrupted'."),
        ({"started_at": "yesterday"}, "manifest.json: started_at: Input should be a valid datetime"),
        (
            {"notebooks": [notebook("x", page="../../private.html")]},
            "manifest.json: notebooks.0.page: Value error, expected a page beside the manifest, "
            "such as a_page.html, got '../../private.html'.",
        ),
    ],
)
def test_unreadable_manifest_is_a_row(
    tmp_path: Path, page: Page, manifest: str | dict[str, Any], expected: str
) -> None:
    """A manifest that is cut off, foreign, of another schema or leads elsewhere is shown with what is wrong in it."""
    folder = add_run(tmp_path, "20260601-101500-quick", **(manifest if isinstance(manifest, dict) else {}))
    if isinstance(manifest, str):
        (folder / "manifest.json").write_text(manifest, encoding="utf-8")
    add_run(tmp_path, "20260712-140302-standard")
    table = rows(tmp_path, page)
    assert table.locator("td:nth-child(2)").all_inner_texts() == ["complete", "unreadable"]
    assert table.nth(1).locator("td").nth(4).inner_text().startswith(expected)
    assert table.nth(1).get_by_role("link").count() == 0


def test_no_run_yet_says_how_to_make_one(tmp_path: Path, page: Page) -> None:
    """An empty index, even of a folder that is not there yet, tells its reader what to type."""
    assert rows(tmp_path / "reports", page).count() == 0
    assert page.locator("pre.command").inner_text() == "make report"
    assert "There is no run yet." in page.locator("main").inner_text()


def test_hostile_manifest_is_text(tmp_path: Path, page: Page) -> None:
    """Markup from a manifest or a folder's name is shown, never obeyed."""
    bad = "<img src=x onerror=\"document.title='owned'\">"
    entry = notebook("x", title=bad, verdict=bad, status="failed", reason=bad)
    run_id = "a'\"%3Cb><b>&#"
    add_run(tmp_path, run_id, profile=bad, machine_line=bad, command=bad, notebooks=[entry])
    (row,) = rows(tmp_path, page).all()
    assert row.inner_text().count(bad) == 6
    assert page.locator("img").count() == 0
    assert page.title() == "inferbench: all runs"
    (tmp_path / run_id / "x.html").write_text("<title>arrived</title>", encoding="utf-8")
    for number in (0, 1):  # the run's own link, and the notebook's
        rows(tmp_path, page).get_by_role("link").nth(number).click()
        assert page.title() == "arrived"


def test_filter_and_sort(tmp_path: Path, page: Page) -> None:
    """The box keeps the runs that hold every word typed and counts them; a heading sorts them."""
    add_run(tmp_path, "one", machine_line="Small laptop", started_at="2026-07-01T00:00:00+00:00")
    add_run(tmp_path, "two", machine_line="Big server", started_at="2026-07-02T00:00:00+00:00")
    add_run(
        tmp_path,
        "three",
        machine_line="Small server",
        command="make quick",
        profile="quick",
        started_at="2026-07-03T00:00:00+00:00",
    )
    machines = rows(tmp_path, page).locator("td:nth-child(4)")
    assert machines.all_inner_texts() == ["Small server", "Big server", "Small laptop"]
    box = page.get_by_role("searchbox", name="Filter")
    box.fill("SERVER standard")
    assert [cell.inner_text() for cell in machines.all() if cell.is_visible()] == ["Big server"]
    assert page.get_by_role("status").inner_text() == "1 of 3"
    box.fill("")
    page.get_by_role("button", name="Machine").click()
    assert machines.all_inner_texts() == ["Big server", "Small laptop", "Small server"]
    page.get_by_role("button", name="When").click()
    assert machines.all_inner_texts() == ["Small laptop", "Big server", "Small server"]


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_index_is_quiet_and_fits(tmp_path: Path, page: Page, width: int) -> None:
    """At each width the index reads one file, says nothing on the console and does not scroll sideways."""
    for number in range(3):
        entry = notebook(
            "x", verdict="a long sentence of a verdict " * 8, reason="A_very_long_name" * 8, status="failed"
        )
        add_run(tmp_path, f"2026071{number}-140302-standard", notebooks=[entry], machine_line="Example CPU · " * 9)
    page.set_viewport_size({"width": width, "height": 800})
    requests: list[str] = []
    messages: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    assert rows(tmp_path, page).count() == 3
    assert [url for url in requests if not url.startswith("data:")] == [(tmp_path / "index.html").as_uri()]
    assert messages == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert re.findall(r"\w+://", (tmp_path / "index.html").read_text(encoding="utf-8")) == []


RATE = "cpu_vs_gpu/best_throughput[small,cpu]"
POOL, MEMORY = "cpu_multiprocess/speedup", "hardware_analysis/memory_gb_s"


def test_a_run_is_compared_with_the_one_before(tmp_path: Path, page: Page) -> None:
    """Only what `make compare` calls a difference is a change, said with both values; else that too is said."""
    add_figures(
        tmp_path, "a", {POOL: (1.8, 1.7, 1.9), MEMORY: (20.0, 19.0, 21.0)}, started_at="2026-07-01T00:00:00+00:00"
    )
    add_figures(
        tmp_path, "b", {POOL: (1.2, 1.1, 1.3), MEMORY: (21.0, 20.8, 21.2)}, started_at="2026-07-02T00:00:00+00:00"
    )
    add_figures(
        tmp_path, "c", {POOL: (1.25, 1.1, 1.3), MEMORY: (21.0, 20.8, 21.2)}, started_at="2026-07-03T00:00:00+00:00"
    )
    cells = rows(tmp_path, page).locator("td:nth-child(5)")
    assert cells.nth(2).locator(".change").count() == 0  # nothing before it
    assert cells.nth(1).locator(".status").inner_text() == "changed"
    assert cells.nth(1).locator(".change").all_inner_texts() == [
        "Shared-memory pool over one process: lower (0.67×), 1.20× (1.10–1.30) after 1.80× (1.70–1.90) in the "
        "run before."
    ]
    assert cells.nth(0).locator(".status").count() == 0
    assert cells.nth(0).locator(".change").inner_text() == (
        "No significant change since the run before, in 1 headline figure."
    )
    page.get_by_role("searchbox", name="Filter").fill("changed")
    assert [row.is_visible() for row in page.locator("#runs tbody tr").all()] == [False, True, False]


def test_a_calibration_is_no_run_before(tmp_path: Path, page: Page) -> None:
    """A run is compared with the newest one that holds its figures, and a calibration with none."""
    add_figures(tmp_path, "a", {POOL: (1.8, 1.7, 1.9)}, started_at="2026-07-01T00:00:00+00:00")
    calibrations = {"calibration/detectable_ratio": (1.03, 1.02, 1.04)}
    add_figures(tmp_path, "b", calibrations, started_at="2026-07-02T00:00:00+00:00")
    add_figures(tmp_path, "c", {MEMORY: (20.0, 19.0, 21.0)}, started_at="2026-07-03T00:00:00+00:00")
    add_figures(tmp_path, "d", {POOL: (1.2, 1.1, 1.3)}, started_at="2026-07-04T00:00:00+00:00")
    cells = rows(tmp_path, page).locator("td:nth-child(5)")
    assert [cells.nth(row).locator(".change").count() for row in range(4)] == [1, 0, 0, 0]
    assert cells.nth(0).locator(".change").inner_text().startswith("Shared-memory pool over one process: lower (0.67×)")


def test_other_machines_profiles_and_broken_runs_are_no_run_before(tmp_path: Path, page: Page) -> None:
    """A run is compared only with a complete one of the same machine and profile; a damaged file is said."""
    slow, fast = {POOL: (1.2, 1.1, 1.3)}, {POOL: (1.8, 1.7, 1.9)}
    add_figures(tmp_path, "a", slow, started_at="2026-07-01T00:00:00+00:00", machine_line="Another CPU")
    add_figures(tmp_path, "b", slow, started_at="2026-07-02T00:00:00+00:00", profile="quick")
    add_figures(tmp_path, "c", slow, started_at="2026-07-03T00:00:00+00:00", simulated=True)
    add_figures(tmp_path, "d", slow, started_at="2026-07-04T00:00:00+00:00", status="interrupted")
    add_figures(tmp_path, "e", fast, started_at="2026-07-05T00:00:00+00:00")
    assert rows(tmp_path, page).locator(".change").count() == 0
    (tmp_path / "e" / "summary.json").write_text("{")
    assert (
        rows(tmp_path, page)
        .first.locator("td")
        .nth(4)
        .inner_text()
        .startswith("summary.json: expected the run's figures, got a damaged file; its pages may still be good.")
    )


def struck(run: Run) -> Run:
    """The run, other load beside each of its cells."""
    load = Flag(name="other_load", text="in 8 of 8 rounds other programs used 50 % of the CPUs.")
    return replace(run, measurements=tuple(replace(cell, flags=(load,)) for cell in run.measurements))


def slower(run: Run) -> Run:
    """The run, its fixed control workload half as fast."""
    schedules = {name: {"control_s": [[2 * s for s in round_] for round_ in of["control_s"]]}
                 for name, of in run.tables["schedules"].items()}  # fmt: skip
    return replace(run, tables={**run.tables, "schedules": schedules})


@pytest.mark.parametrize(
    ("head", "figure", "expected"),
    [
        (lambda run: run, POOL, "Shared-memory pool over one process: lower (0.67×), "),
        (
            struck,
            POOL,
            "Shared-memory pool over one process: no verdict, because a run was disturbed in 5 of 5 cells; ",
        ),
        (slower, RATE, "No significant change since the run before, in 1 headline figure."),
    ],
)
def test_the_index_looks_at_the_records_before_it_claims_a_change(
    tmp_path: Path, page: Page, head: Callable[[Run], Run], figure: str, expected: str
) -> None:
    """A disturbed run, or one whose control workload changed as much, gives no change; a quiet one does."""
    base = samples.multiprocess() if figure == POOL else samples.vs_gpu()
    for day, (value, run) in enumerate(((1.8, base), (1.2, head(base))), start=1):
        ends = {figure: (value, 0.99 * value, 1.01 * value)}
        add_figures(tmp_path, f"run{day}", ends, started_at=f"2026-07-0{day}T10:00:00+00:00")
        store.save_run(run, tmp_path / f"run{day}")
    newest = rows(tmp_path, page).first
    assert newest.locator(".change").inner_text().startswith(expected)
    assert newest.locator(".status.changed").count() == ("lower" in expected)


def test_the_index_says_how_far_to_trust_a_run(tmp_path: Path, page: Page) -> None:
    """The trust level with its reason stands beside the status."""
    add_run(tmp_path, "20260712-140302-standard", trust="Noisy: other programs used CPU time in 100 % of the cells.")
    said = rows(tmp_path, page).locator("td").first.inner_text()
    assert " ".join(said.split()) == "complete Noisy: other programs used CPU time in 100 % of the cells."


def test_history_of_a_machine_is_drawn_and_said(tmp_path: Path, page: Page) -> None:
    """From two runs on each headline figure has a line with its name, its span and its newest value."""
    for day, speedup in enumerate((1.2, 1.6, 1.4), start=1):
        figures = {POOL: (speedup, speedup - 0.1, speedup + 0.1)}
        add_figures(tmp_path, f"run{day}", figures, started_at=f"2026-07-0{day}T10:00:00+00:00")
        assert rows(tmp_path, page).count() == day
        assert page.locator("svg.spark").count() == (1 if day > 1 else 0)
    line = page.get_by_role("img")
    assert line.get_attribute("aria-label") == (
        "shared-memory pool over one process: 3 runs from 2026-07-01 10:00 to 2026-07-03 10:00; lowest 1.20, "
        "highest 1.60, newest 1.40×"
    )
    # 1.1 to 1.7 fill the height but for its edges, 32 to 4: 1.2 lies at 32 - 28/6, 1.6 at 32 - 28 * 5/6.
    assert line.locator("polyline").get_attribute("points") == "4.0,27.3 80.0,8.7 156.0,18.0"


def test_the_front_page_speaks_for_its_notebooks(tmp_path: Path, page: Page) -> None:
    """Where the front page has a verdict the others are links; it comes first."""
    entries = [notebook("cpu_vs_gpu"), notebook("summary", page="index.html", verdict="Use two threads.")]
    add_run(tmp_path, "20260712-140302-standard", notebooks=entries)
    items = rows(tmp_path, page).locator("li")
    assert items.all_inner_texts() == ["The summary\nUse two threads.", "The cpu_vs_gpu"]
    assert page.locator("#runs th a").get_attribute("href") == "20260712-140302-standard/index.html"
