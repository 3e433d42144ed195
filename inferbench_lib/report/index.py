"""`reports/index.html`, rebuilt from the runs' manifests; a run that cannot be read is a row that says so."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from inferbench_lib.report import shell
from inferbench_lib.store import write_file

MANIFEST = "manifest.json"
FRONT_PAGES = ("index.html", "summary.html", "cpu_multiprocess.html")
_RUN_FOLDER = re.compile(r"\d{8}-\d{6}-.+")


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _plain_name(page: str) -> str:
    """A page lies in its run's folder: a manifest that came from elsewhere cannot send its reader away."""
    if page and not re.fullmatch(r"\w[\w.-]*\.html", page):
        raise ValueError(f"expected a page beside the manifest, such as summary.html, got {page!r}")
    return page


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class NotebookEntry(_Lenient):
    """How one notebook of a run ended; `page` is empty where it left none."""

    name: str
    status: Literal["complete", "failed", "timed out", "killed", "interrupted", "not run"]
    title: str = ""
    reason: str = ""
    page: Annotated[str, AfterValidator(_plain_name)] = ""
    verdict: str = ""


class Manifest(_Lenient):
    """What the index reads of a run's `manifest.json`; more keys are allowed."""

    schema_version: Literal[1]
    started_at: Annotated[datetime, AfterValidator(_in_utc)]
    status: Literal["complete", "incomplete", "interrupted"]
    notebooks: tuple[NotebookEntry, ...]
    profile: str = ""
    machine_line: str = ""
    command: str = ""
    duration_s: float = 0.0
    simulated: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the index: a run with its manifest, or without one and `trouble` saying why."""

    run_id: str
    when: datetime
    status: str
    trouble: str = ""
    manifest: Manifest | None = None
    pages: tuple[tuple[str, NotebookEntry], ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every notebook ran to its end."""
        return self.status == "complete"

    @property
    def front_page(self) -> str:
        """The page to open first, relative to the index; empty without one."""
        written = {entry.page: href for href, entry in self.pages if href}
        return next((written[name] for name in FRONT_PAGES if name in written), next(iter(written.values()), ""))


def write_index(reports: Path) -> Path:
    """Scan the run folders and write `index.html` beside them, newest run first; its path.

    Raises StoreError where it cannot be written.
    """
    rows = sorted(map(_read, _run_folders(reports)), key=lambda row: (row.when, row.run_id), reverse=True)
    n_troubled = sum(not row.is_complete for row in rows)
    return write_file(reports / "index.html", shell.render("runs.html.j2", rows=rows, n_troubled=n_troubled))


def _run_folders(reports: Path) -> Iterator[Path]:
    """Folders that hold a manifest, and those named as a run whose manifest was never written."""
    for folder in reports.glob("*/"):
        if (folder / MANIFEST).exists() or _RUN_FOLDER.fullmatch(folder.name):
            yield folder


def _read(folder: Path) -> Row:
    path = folder / MANIFEST
    when = _begun(folder)
    if not path.exists():
        trouble = "It left no manifest: it is still running, or it was ended before it could write one."
        return Row(run_id=folder.name, when=when, status="unfinished", trouble=trouble)
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        return Row(run_id=folder.name, when=when, status="unreadable", trouble=_explain(error))
    ended = [entry for entry in manifest.notebooks if entry.status != "complete"]
    # A manifest that calls itself complete over a notebook that did not end is not believed.
    status = "incomplete" if manifest.status == "complete" and ended else manifest.status
    pages = tuple((f"{folder.name}/{entry.page}" if entry.page else "", entry) for entry in manifest.notebooks)
    return Row(run_id=folder.name, when=manifest.started_at, status=status, manifest=manifest, pages=pages)


def _begun(folder: Path) -> datetime:
    """When a run without a readable manifest was begun: its folder is named by that; else when the folder changed."""
    if _RUN_FOLDER.fullmatch(folder.name):
        with contextlib.suppress(ValueError):
            return datetime.strptime(folder.name[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC)


def _explain(error: OSError | ValidationError) -> str:
    if isinstance(error, OSError):
        return f"{MANIFEST}: expected a readable file, got: {error.strerror}."
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or "the file"
    return f"{MANIFEST}: {field}: {first['msg']}. The run's own files may still be good: open them in its folder."
