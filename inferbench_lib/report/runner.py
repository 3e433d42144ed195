"""A report: notebooks executed one after another, a page from each, then the run's own files and the index.

A notebook that fails leaves a page that says where and why; the others still run, and the run is incomplete.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat

from inferbench_lib import store
from inferbench_lib.errors import ReportError
from inferbench_lib.progress import PROGRESS_FILE
from inferbench_lib.records import Run
from inferbench_lib.report import results, words
from inferbench_lib.report.console import Console, duration
from inferbench_lib.report.index import write_index
from inferbench_lib.report.notebooks import environment, execute
from inferbench_lib.report.pages import NavLink, render_page
from inferbench_lib.report.place import new_folder, only_one, terminable
from inferbench_lib.report.scrub import scrub
from inferbench_lib.report.shell import FRONT, page_name
from inferbench_lib.report.trust import trust

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"


@dataclass(frozen=True, kw_only=True)
class Page:
    """One notebook of a run, as the manifest tells it."""

    name: str
    title: str
    status: str
    reason: str
    page: str
    duration_s: float
    measuring_s: float
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to run: notebooks in order with their parameters, how to call it again, and what asks their pages."""

    profile: str
    parameters: Mapping[str, Mapping[str, Any]]
    command: str
    voice: results.Voice
    timeout_s: int = 1800
    notebooks: Path = NOTEBOOKS


def run_report(job: Job) -> int:
    """Execute the job into a new folder under `reports/`; 0, or 1 incomplete, 130 interrupted, 143 terminated."""
    reports = store.reports_folder()
    with only_one(reports), terminable() as terminated:
        started = datetime.now(UTC)
        folder = new_folder(reports, started, job.profile)
        began_s = time.monotonic()
        pages: list[Page] = []
        interrupted = False
        try:
            for number, name in enumerate(job.parameters, start=1):
                title = f"[{number}/{len(job.parameters)}] {name}"
                pages.append(_make_page(job, name, folder, title, started, began_s))
                _say_done(title, pages[-1])
                if pages[-1].status == "interrupted":
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            interrupted = True
        finished = {page.name for page in pages}
        pages += [_not_run(job, name) for name in job.parameters if name not in finished]
        complete = all(page.status == "complete" for page in pages)
        status = "interrupted" if interrupted else "complete" if complete else "incomplete"
        _finish(job, folder, pages, started, time.monotonic() - began_s, status)
        write_index(reports, job.voice.headlines())
        _say_end(folder, status, reports)
        if interrupted:
            return 143 if terminated.is_set() else 130
        return 0 if complete else 1


def _make_page(job: Job, name: str, folder: Path, title: str, started: datetime, run_began_s: float) -> Page:
    began_s = time.monotonic()
    work = folder / ".work"
    work.mkdir(exist_ok=True)
    progress_file = work / "progress.jsonl"
    variables = {store.RUN_FOLDER: str(folder), PROGRESS_FILE: str(progress_file)}
    with environment(**variables), Console(title, progress_file):
        execution = execute(
            job.notebooks / f"{name}.ipynb", work / f"{name}.ipynb", job.parameters[name], job.timeout_s
        )
    run = _stored(folder, name)
    here = [run] if run else list(store.load_runs(folder).values())  # the summary has no record of its own
    notebook = execution.notebook
    heading = _title(job, name)
    complete = execution.status == "complete"
    verdict = _verdict(job.voice, name, run, here) if complete else ""
    notebook.metadata["title"] = heading
    notebook.metadata["inferbench"] = {
        "title": heading,
        "notebook": name,
        "run_id": folder.name,
        "verdict": verdict,
        "machine_line": words.machine_line(here[0].machine) if here else "",
        "trust": trust(here),
        "when": f"{started:%Y-%m-%d %H:%M} UTC",
        "duration": duration(time.monotonic() - (began_s if run else run_began_s)),
        "command": job.command,
        "status": execution.status,
        "reason": execution.reason,
        "simulated": any(one.simulated for one in here),
    }
    scrub(notebook)
    names = sorted(job.parameters, key=lambda other: other != FRONT)
    nav = [NavLink(label=_title(job, other), href=page_name(other)) for other in names]
    nav.append(NavLink(label="All runs", href="../index.html"))
    about = notebook.metadata["inferbench"]
    try:
        render_page(notebook, folder / page_name(name), title=heading, nav=nav)
    except ReportError as error:  # the notebook's own fault, so the others still run
        about |= {"status": "failed", "reason": f"its page could not be made: {error}", "verdict": ""}
        empty = nbformat.v4.new_notebook(metadata=notebook.metadata)
        render_page(empty, folder / page_name(name), title=heading, nav=nav)
    store.write_file(folder / "notebooks" / f"{name}.ipynb", nbformat.writes(notebook))
    return Page(
        name=name,
        title=heading,
        status=about["status"],
        reason=about["reason"],
        page=page_name(name),
        duration_s=round(time.monotonic() - began_s, 2),
        measuring_s=round(run.duration_s, 2) if run and run.run_id == folder.name else 0.0,  # 0 when reused
        verdict=about["verdict"],
    )


def _verdict(voice: results.Voice, name: str, run: Run | None, here: Sequence[Run]) -> str:
    """What a complete page says first: the front page speaks for all notebooks, and one without a record not at all."""
    if run is not None:
        return voice.answer(run).verdict
    return voice.front({one.notebook: one for one in here}).verdict if name == FRONT else ""


def _not_run(job: Job, name: str) -> Page:
    return Page(
        name=name, title=_title(job, name), status="not run", reason="the run ended before it", page="", duration_s=0.0,
        measuring_s=0.0, verdict="",
    )  # fmt: skip


def _stored(folder: Path, name: str) -> Run | None:
    path = folder / "data" / f"{name}.json"
    return store.load_run(path) if path.exists() else None


def _title(job: Job, name: str) -> str:
    """The first heading of a notebook, else its name."""
    cells = nbformat.read(job.notebooks / f"{name}.ipynb", as_version=4).cells
    first = cells[0].source.splitlines()[:1] if cells else []
    return "".join(first).removeprefix("# ").strip() or name


def _finish(job: Job, folder: Path, pages: Sequence[Page], started: datetime, duration_s: float, status: str) -> None:
    """The files of the whole run; the manifest last."""
    for leftover in sorted((folder / ".work").glob("*")):
        leftover.unlink()
    (folder / ".work").rmdir()
    runs = store.load_runs(folder)
    store.write_summary(folder)
    incomplete = [(page.name, f"{page.status}: {page.reason}") for page in pages if page.status != "complete"]
    shown = {name: run for name, run in runs.items() if name not in dict(incomplete)}
    store.write_file(folder / "results.md", results.markdown(shown, job.voice, incomplete))
    store.write_file(folder / "results.txt", results.plain_text(shown, job.voice, incomplete))
    machine_line = next((words.machine_line(run.machine) for run in runs.values()), "")
    manifest = {
        "run_id": folder.name,
        "profile": job.profile,
        "started_at": started.isoformat(timespec="seconds"),
        "duration_s": round(duration_s, 2),
        "machine_line": machine_line,
        "status": status,
        "command": job.command,
        "simulated": any(run.simulated for run in runs.values()),
        "verdicts": {page.name: page.verdict for page in pages if page.verdict},
        "notebooks": [asdict(page) for page in pages],
    }
    store.write_manifest(folder, manifest)


def _say_done(title: str, page: Page) -> None:
    mark = "done" if page.status == "complete" else page.status.upper()
    print(
        f"{title}: {mark} in {duration(page.duration_s)}{f' · {page.reason}' if page.reason else ''}", file=sys.stderr
    )
    if page.verdict:
        print(f"    {page.verdict}", file=sys.stderr)


def _say_end(folder: Path, status: str, reports: Path) -> None:
    print(
        f"{status}: open {os.path.relpath(reports / 'index.html')} (this run: {os.path.relpath(folder)})",
        file=sys.stderr,
    )
