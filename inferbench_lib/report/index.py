"""Rebuild `reports/index.html` from the runs' manifests; a run that cannot be read is a row with the reason."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError

from inferbench_lib.errors import StoreError
from inferbench_lib.records import Figure, Run
from inferbench_lib.report import history, shell
from inferbench_lib.store import load_run, write_file

MANIFEST = "manifest.json"
SUMMARY = "summary.json"
_RUN_FOLDER = re.compile(r"\d{8}-\d{6}-.+")


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _plain_name(page: str) -> str:
    """Accept only a page in the run's own folder, so that a foreign manifest cannot link elsewhere."""
    if page and not re.fullmatch(r"\w[\w.-]*\.html", page):
        raise ValueError(f"expected a page beside the manifest, such as a_page.html, got {page!r}")
    return page


class NotebookEntry(BaseModel, frozen=True):
    """Notebook of a run, with its status; `page` is empty where it left none."""

    name: str
    status: Literal["complete", "failed", "timed out", "killed", "interrupted", "not run"]
    title: str = ""
    reason: str = ""
    page: Annotated[str, AfterValidator(_plain_name)] = ""
    duration_s: float = 0.0
    measuring_s: float = 0.0
    verdict: str = ""


class Manifest(BaseModel, frozen=True):
    """Content of a run's `manifest.json`, as the runner writes it and the index reads it; more keys are allowed."""

    schema_version: Literal[1]
    run_id: str = ""
    started_at: Annotated[datetime, AfterValidator(_in_utc)]
    status: Literal["complete", "incomplete", "interrupted"]
    notebooks: tuple[NotebookEntry, ...]
    profile: str = ""
    machine_line: str = ""
    command: str = ""
    duration_s: float = 0.0
    simulated: bool = False
    trust: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Run in the index, with its manifest, or without one and with `trouble` as the reason.

    The `speaker` is the notebook of the front page, if it has a verdict: it speaks for all.
    """

    run_id: str
    when: datetime
    status: str
    trouble: str = ""
    manifest: Manifest | None = None
    figures: Mapping[str, Figure] = field(default_factory=dict)
    changes: history.Changes | None = None
    headlines: tuple[tuple[str, str], ...] = ()
    pages: tuple[tuple[str, NotebookEntry], ...] = ()
    speaker: NotebookEntry | None = None

    @property
    def is_complete(self) -> bool:
        """Return whether every notebook ran to its end."""
        return self.status == "complete"

    @property
    def series(self) -> tuple[str, str, bool]:
        """Return what comparable runs have in common: machine, profile, and whether they were simulated."""
        about = self.manifest
        return (about.machine_line, about.profile, about.simulated) if about and self.is_complete else ("", "", False)

    @property
    def front_page(self) -> str:
        """Return the first page to open, relative to the index: the front page or the first one written; else ""."""
        return next((href for href, _ in self.pages if href), "")


def write_index(reports: Path, headlines: history.Headlines, front: str = "") -> Path:
    """Write `index.html` beside the run folders, newest run first; return its path.

    `headlines` names the figures by which runs are compared, `front` the notebook whose page opens a run.
    Raises StoreError where it cannot be written.
    """
    found = [_read(folder, front) for folder in _run_folders(reports)]
    oldest_first = sorted(found, key=lambda row: (row.when, row.run_id))
    rows = list(_compared_with_previous(reports, oldest_first, headlines))[::-1]
    text = shell.render(
        "runs.html.j2",
        rows=rows,
        n_troubled=sum(not row.is_complete for row in rows),
        histories=list(_histories(oldest_first, headlines)),
        width=history.WIDTH,
        height=history.HEIGHT,
    )
    return write_file(reports / "index.html", text)


def _compared_with_previous(reports: Path, oldest_first: Sequence[Row], headlines: history.Headlines) -> Iterator[Row]:
    """Yield each run with its changes since the newest one of its series that holds one of the same headline figures.

    A calibration, or a run of other notebooks, is no run before.
    """
    seen: dict[tuple[str, str, bool], list[Row]] = defaultdict(list)
    for row in oldest_first:
        comparable = headlines.keys() & row.figures.keys() if row.series[0] else set()
        before = next((one for one in reversed(seen[row.series]) if comparable & one.figures.keys()), None)
        records = partial(_records, reports, (before or row).run_id, row.run_id)
        changes = history.changes(before.figures, row.figures, headlines, records) if before else None
        yield replace(row, headlines=tuple(history.headlines(row.figures, headlines)), changes=changes)
        seen[row.series].append(row)


def _records(reports: Path, before: str, after: str, notebook: str) -> tuple[Run, Run] | None:
    """Read a notebook's records in two runs; None where one cannot be read, so that the figures alone decide."""
    earlier, later = (reports / run_id / "data" / f"{notebook}.json" for run_id in (before, after))
    with contextlib.suppress(StoreError):
        return load_run(earlier), load_run(later)
    return None


def _histories(oldest_first: Sequence[Row], headlines: history.Headlines) -> Iterator[tuple[str, list[history.Line]]]:
    """Yield machine and profile, and a line per headline figure that at least two of its runs have."""
    known = sorted((row for row in oldest_first if row.figures and row.series[0]), key=lambda row: row.series)
    for (machine, profile, simulated), rows in groupby(known, key=lambda row: row.series):
        found = list(history.lines([(f"{row.when:%Y-%m-%d %H:%M}", row.figures) for row in rows], headlines))
        if found:
            yield " · ".join(filter(None, [machine, profile, "SIMULATED" if simulated else ""])), found


def _run_folders(reports: Path) -> Iterator[Path]:
    """Yield folders with a manifest, and folders named like a run whose manifest was never written."""
    for folder in reports.glob("*/"):
        if (folder / MANIFEST).exists() or _RUN_FOLDER.fullmatch(folder.name):
            yield folder


def _read(folder: Path, front: str) -> Row:
    path = folder / MANIFEST
    when = _begun(folder)
    if not path.exists():
        trouble = "No manifest: the run is still in progress, or it was killed before it could write one."
        return Row(run_id=folder.name, when=when, status="unfinished", trouble=trouble)
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        return Row(run_id=folder.name, when=when, status="unreadable", trouble=_explain(error))
    ended = [entry for entry in manifest.notebooks if entry.status != "complete"]
    # A manifest can claim to be complete although a notebook did not end.
    status = "incomplete" if manifest.status == "complete" and ended else manifest.status
    entries = sorted(manifest.notebooks, key=lambda entry: entry.name != front)
    pages = tuple((f"{folder.name}/{entry.page}" if entry.page else "", entry) for entry in entries)
    figures, trouble = _figures(folder)
    return Row(
        run_id=folder.name, when=manifest.started_at, status=status, manifest=manifest, pages=pages, figures=figures,
        trouble=trouble, speaker=next((entry for entry in entries if entry.name == front and entry.verdict), None),
    )  # fmt: skip


def _figures(folder: Path) -> tuple[dict[str, Figure], str]:
    """Read the figures of a run, or none and the fault of their file; a run may have none."""
    path = folder / SUMMARY
    if not path.exists():
        return {}, ""
    try:
        return TypeAdapter(dict[str, Figure]).validate_json(path.read_bytes()), ""
    except (OSError, ValidationError):
        return {}, f"{SUMMARY}: expected the run's figures, got a damaged file; its pages may still be good."


def _begun(folder: Path) -> datetime:
    """Return when a run without a readable manifest began, from its folder's name, else when the folder changed."""
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
