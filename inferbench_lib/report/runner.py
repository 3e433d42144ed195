"""Make a report: execute notebooks one after another, render a page from each, write the run's files and the index.

A notebook that fails leaves a page with the place and the reason; the others still run, and the run is incomplete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import nbformat

from inferbench_lib import store
from inferbench_lib.errors import ReportError
from inferbench_lib.privacy import scrub
from inferbench_lib.progress import PROGRESS_FILE
from inferbench_lib.records import SCHEMA_VERSION, Run
from inferbench_lib.report import results
from inferbench_lib.report.index import Manifest, NotebookEntry, write_index
from inferbench_lib.report.notebooks import Console, Execution, environment, execute
from inferbench_lib.report.page_parts import trust, trust_level
from inferbench_lib.report.pages import render_page
from inferbench_lib.report.words import duration, machine_line
from inferbench_lib.stats.trust import nothing_measured

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"


@dataclass(frozen=True, kw_only=True)
class Job:
    """Notebooks to execute in order with their parameters, and what their pages need.

    `command` repeats the report. `voice` is `studies.voice`, which gives the texts of the pages. `front` names the
    notebook whose page opens the run and speaks for all others.
    """

    profile: str
    parameters: Mapping[str, Mapping[str, Any]]
    command: str
    voice: ModuleType
    front: str = ""
    timeout_s: int = 1800
    notebooks: Path = NOTEBOOKS

    def page_name(self, name: str) -> str:
        """Return the file name of a notebook's page."""
        return "index.html" if name == self.front else f"{name}.html"

    def title(self, name: str) -> str:
        """Return the first heading of a notebook, else its name."""
        cells = nbformat.read(self.notebooks / f"{name}.ipynb", as_version=4).cells
        first = cells[0].source.splitlines()[:1] if cells else []
        return "".join(first).removeprefix("# ").strip() or name

    def links(self) -> list[tuple[str, str]]:
        """Return label and address of every page of the run, the front page first."""
        names = sorted(self.parameters, key=lambda name: name != self.front)
        return [*((self.title(name), self.page_name(name)) for name in names), ("All runs", "../index.html")]


def run_report(job: Job) -> int:
    """Execute the job into a new folder under `reports/`; 0, or 1 incomplete, 130 interrupted, 143 terminated."""
    reports = store.reports_folder()
    with store.only_one(reports), _terminable() as terminated:
        started, began_s = datetime.now(UTC), time.monotonic()
        folder = store.new_folder(reports, started, job.profile)
        pages: list[NotebookEntry] = []
        interrupted = False
        try:
            for number, name in enumerate(job.parameters, start=1):
                title = f"[{number}/{len(job.parameters)}] {name}"
                pages.append(_make_page(job, name, folder, title, started, began_s))
                _print_done(title, pages[-1])
                if pages[-1].status == "interrupted":
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            interrupted = True
        pages += [
            NotebookEntry(name=name, title=job.title(name), status="not run", reason="the run ended before it")
            for name in list(job.parameters)[len(pages) :]
        ]
        status = _write_files(job, folder, pages, started, time.monotonic() - began_s, interrupted=interrupted)
        index = write_index(reports, job.voice.headlines(), job.front)
        print(f"{status}: open {os.path.relpath(index)} (this run: {os.path.relpath(folder)})", file=sys.stderr)
        if interrupted:
            return 143 if terminated.is_set() else 130
        return 0 if status == "complete" else 1


@contextlib.contextmanager
def _terminable() -> Iterator[threading.Event]:
    """Handle SIGTERM as Ctrl-C, so that the kernel is ended and the run is marked; yield an event that it sets."""
    came = threading.Event()

    def stop(signal_number: int, frame: object) -> NoReturn:
        came.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _make_page(job: Job, name: str, folder: Path, title: str, started: datetime, run_began_s: float) -> NotebookEntry:
    began_s = time.monotonic()
    execution = _execute(job, name, folder, title)
    notebook, stored = execution.notebook, store.load_runs(folder)
    run = stored.get(name)
    if run and execution.status == "complete" and (why := nothing_measured(run)):
        execution = replace(execution, status="failed", reason=f"nothing was measured ({why})")
    runs = [run] if run else list(stored.values())  # a front page has no record of its own
    about = {
        "title": job.title(name),
        "notebook": name,
        "run_id": folder.name,
        "verdict": _verdict(job, name, run, runs) if execution.status == "complete" else "",
        "machine_line": machine_line(runs[0].machine) if runs else "",
        "trust": trust(runs),
        "when": f"{started:%Y-%m-%d %H:%M} UTC",
        "duration": duration(time.monotonic() - (began_s if run else run_began_s)),
        "command": job.command,
        "status": execution.status,
        "reason": execution.reason,
        "simulated": any(one.simulated for one in runs),
    }
    notebook.metadata["title"] = about["title"]
    notebook.metadata["inferbench"] = about
    scrub(notebook)
    _write_page(job, name, notebook, folder)
    return NotebookEntry(
        **notebook.metadata["inferbench"],
        name=name,
        page=job.page_name(name),
        duration_s=round(time.monotonic() - began_s, 2),
        measuring_s=round(run.duration_s, 2) if run and run.run_id == folder.name else 0.0,  # 0 when reused
    )


def _execute(job: Job, name: str, folder: Path, title: str) -> Execution:
    work = folder / ".work"
    work.mkdir(exist_ok=True)
    progress_file = work / "progress.jsonl"
    variables = {store.RUN_FOLDER: str(folder), PROGRESS_FILE: str(progress_file)}
    source, copy = job.notebooks / f"{name}.ipynb", work / f"{name}.ipynb"
    with environment(**variables), Console(title, progress_file):
        return execute(source, copy, job.parameters[name], job.timeout_s)


def _write_page(job: Job, name: str, notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Write the page and the notebook; a notebook that cannot be rendered gets a page with the reason."""
    about = notebook.metadata["inferbench"]
    path, links = folder / job.page_name(name), job.links()
    try:
        render_page(notebook, path, title=about["title"], nav=links)
    except ReportError as error:  # the notebook's own fault, so the others still run
        about |= {"status": "failed", "reason": f"the page could not be rendered: {error}", "verdict": ""}
        empty = nbformat.v4.new_notebook(metadata=notebook.metadata)
        render_page(empty, path, title=about["title"], nav=links)
    store.write_file(folder / "notebooks" / f"{name}.ipynb", nbformat.writes(notebook))


def _verdict(job: Job, name: str, run: Run | None, runs: Sequence[Run]) -> str:
    """Return the verdict of a complete page; without a record, only the front page has one."""
    if run is not None:
        return str(job.voice.answer(run).verdict)
    return str(job.voice.front({one.notebook: one for one in runs}).verdict) if name == job.front else ""


def _write_files(
    job: Job, folder: Path, pages: Sequence[NotebookEntry], started: datetime, duration_s: float, *, interrupted: bool
) -> str:
    """Write the files of the whole run, the manifest last; return the status of the run."""
    for leftover in sorted((folder / ".work").glob("*")):
        leftover.unlink()
    (folder / ".work").rmdir()
    runs = store.load_runs(folder)
    store.write_summary(folder)
    incomplete = {page.name: f"{page.status}: {page.reason}" for page in pages if page.status != "complete"}
    shown = {name: runs[name] for name in job.parameters if name in runs and name not in incomplete}
    for name, text in results.texts(shown, job.voice, incomplete).items():
        store.write_file(folder / name, text)
    manifest = Manifest(
        schema_version=1,
        run_id=folder.name,
        profile=job.profile,
        started_at=started.replace(microsecond=0),
        duration_s=round(duration_s, 2),
        machine_line=next((machine_line(run.machine) for run in runs.values()), ""),
        status="interrupted" if interrupted else "incomplete" if incomplete else "complete",
        command=job.command,
        simulated=any(run.simulated for run in runs.values()),
        trust=trust_level(list(runs.values())),
        notebooks=tuple(pages),
    )
    write_manifest(folder, manifest.model_dump(mode="json"))
    return manifest.status


def _print_done(title: str, page: NotebookEntry) -> None:
    mark = "done" if page.status == "complete" else page.status.upper()
    reason = f" · {page.reason}" if page.reason else ""
    print(f"{title}: {mark} in {duration(page.duration_s)}{reason}", file=sys.stderr)
    if page.verdict:
        print(f"    {page.verdict}", file=sys.stderr)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> Path:
    """Write `manifest.json`: the description of the run, and the SHA-256 of each of its files."""
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json" and not path.name.startswith(".")
    }
    content = {"schema_version": SCHEMA_VERSION, **manifest, "files": files}
    return store.write_file(folder / "manifest.json", json.dumps(content, indent=1, ensure_ascii=False))
