"""`reports/index.html`, rebuilt from the runs' manifests; a run that cannot be read is a row that says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inferbench_lib.report import shell
from inferbench_lib.store import write_file

MANIFEST = "manifest.json"
FRONT_PAGES = ("summary.html", "cpu_multiprocess.html")


@dataclass(frozen=True, kw_only=True)
class PageLink:
    """One notebook of a run; `href` is empty where it left no page."""

    title: str
    href: str
    status: str
    reason: str
    verdict: str

    @property
    def is_complete(self) -> bool:
        """Whether it ran to its end."""
        return self.status == "complete"


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run; `trouble` says what is wrong with it."""

    run_id: str
    when: datetime
    status: str
    trouble: str = ""
    profile: str = ""
    machine_line: str = ""
    command: str = ""
    duration_s: float = 0.0
    simulated: bool = False
    pages: tuple[PageLink, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every notebook ran to its end."""
        return self.status == "complete"

    @property
    def front_page(self) -> str:
        """The page to open first; empty without one."""
        hrefs = [page.href for page in self.pages if page.href]
        preferred = [f"{self.run_id}/{name}" for name in FRONT_PAGES if f"{self.run_id}/{name}" in hrefs]
        return next(iter(preferred + hrefs), "")


def write_index(reports: Path) -> Path:
    """Scan the run folders and write `index.html` beside them, newest run first; its path."""
    rows = sorted((_read(folder) for folder in _run_folders(reports)), key=lambda row: row.when, reverse=True)
    n_troubled = sum(1 for row in rows if not row.is_complete)
    return write_file(reports / "index.html", shell.render("runs.html.j2", runs=rows, n_troubled=n_troubled))


def _run_folders(reports: Path) -> list[Path]:
    """Folders that hold a manifest, or were begun as a run: JupyterLab's own folder is none."""
    folders = [path for path in reports.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return [path for path in folders if (path / MANIFEST).exists() or (path.name[:8].isdigit() and path.name != "lab")]


def _read(folder: Path) -> RunRow:
    path = folder / MANIFEST
    changed = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    if not path.exists():
        trouble = "it left no manifest: it is still running, or it was ended before it could write one"
        return RunRow(run_id=folder.name, when=changed, status="unfinished", trouble=trouble)
    try:
        return _row(folder.name, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        trouble = f"its manifest cannot be read ({type(error).__name__}: {error})"
        return RunRow(run_id=folder.name, when=changed, status="damaged", trouble=trouble)


def _row(run_id: str, manifest: Mapping[str, Any]) -> RunRow:
    pages = tuple(
        PageLink(
            title=str(page.get("title") or page["name"]),
            href=f"{run_id}/{page['page']}" if page.get("page") else "",
            status=str(page["status"]),
            reason=str(page.get("reason", "")),
            verdict=str(page.get("verdict", "")),
        )
        for page in manifest["notebooks"]
    )
    failed = [page.title for page in pages if not page.is_complete]
    return RunRow(
        run_id=run_id,
        when=datetime.fromisoformat(manifest["started_at"]).astimezone(UTC),
        status=str(manifest["status"]),
        trouble=f"Not complete: {', '.join(failed)}" if failed else "",
        profile=str(manifest.get("profile", "")),
        machine_line=str(manifest.get("machine_line", "")),
        command=str(manifest.get("command", "")),
        duration_s=float(manifest.get("duration_s", 0.0)),
        simulated=bool(manifest.get("simulated", False)),
        pages=pages,
    )
