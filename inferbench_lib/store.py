"""Records to files and back; every file is complete or not there.

A run is a folder: pages, `notebooks/`, `figures/`, `data/<notebook>.json` (raw), `summary.json`, `results.md`,
`results.txt`, and `manifest.json` (SHA-256 of every other file), which is written last.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from inferbench_lib.errors import StoreError
from inferbench_lib.privacy import scrub_text
from inferbench_lib.records import SCHEMA_VERSION, Figure, Run

RUN_FOLDER = "INFERBENCH_RUN_FOLDER"
"""Environment variable by which the runner tells a notebook where its run is kept."""


def reports_folder() -> Path:
    """`reports/` beside the library, or `$INFERBENCH_REPORTS`."""
    return Path(os.environ.get("INFERBENCH_REPORTS", Path(__file__).parents[1] / "reports"))


def run_folder() -> Path:
    """The folder of the current run: the runner's, or `reports/lab` in JupyterLab."""
    return Path(os.environ.get(RUN_FOLDER, reports_folder() / "lab"))


def write_file(path: Path, content: bytes | str) -> Path:
    """Write the whole of `content` to `path` or leave what was there; raises StoreError with what to do."""
    payload = content.encode() if isinstance(content, str) else content
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise StoreError(_explain(path, len(payload), error)) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _explain(path: Path, n_bytes: int, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        free = shutil.disk_usage(next(folder for folder in path.parents if folder.exists())).free
        return (
            f"{path.name}: expected room for {n_bytes:,} bytes, got {free:,} free ({error.strerror}); free some space"
        )
    return f"{path.name}: expected a writable folder, got: {error.strerror}; choose another with INFERBENCH_REPORTS="


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def dump_run(run: Run) -> bytes:
    """The record as JSON, without where it was made."""
    return scrub_text(_adapter(Run).dump_json(run).decode()).encode()


def save_run(run: Run, folder: Path | None = None) -> Path:
    """Write `data/<notebook>.json` in the run's folder."""
    return write_file((folder or run_folder()) / "data" / f"{run.notebook}.json", dump_run(run))


def load_run(path: Path) -> Run:
    """Read a stored notebook record; raises StoreError where it is missing, damaged or of another schema."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path.name}: expected a stored run, got: {error.strerror}") from error
    try:
        version = json.loads(raw).get("schema_version")
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{path.name}: expected schema version {SCHEMA_VERSION}, got {version}; "
                "read it with the inferbench that wrote it, or measure again"
            )
        run: Run = _adapter(Run).validate_json(raw)
    except (ValueError, AttributeError, ValidationError) as error:
        raise StoreError(
            f"{path.name}: expected a stored run, got a damaged file ({str(error).splitlines()[0]})"
        ) from error
    return run


def stored_run(notebook: str, run_id: str) -> Run:
    """The record of `notebook` in `reports/<run_id>`; raises StoreError naming the runs that there are."""
    path = reports_folder() / run_id / "data" / f"{notebook}.json"
    if not path.exists():
        known = sorted(folder.parents[1].name for folder in reports_folder().glob(f"*/data/{notebook}.json"))
        raise StoreError(
            f"reuse: expected a run that holds {notebook} ({', '.join(known) or 'there is none'}), got {run_id}"
        )
    return load_run(path)


def load_runs(folder: Path) -> dict[str, Run]:
    """All notebook records of one run, by notebook."""
    return {path.stem: load_run(path) for path in sorted((folder / "data").glob("*.json"))}


def write_summary(folder: Path) -> Path:
    """`summary.json`: the figures of all notebooks of the run, flat and sorted."""
    figures: dict[str, Figure] = {}
    for run in load_runs(folder).values():
        figures.update({f"{run.notebook}/{name}": figure for name, figure in run.summary.items()})
    payload = _adapter(Mapping[str, Figure]).dump_json(dict(sorted(figures.items())), indent=1)
    return write_file(folder / "summary.json", payload)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> Path:
    """`manifest.json`: what the run was, and the SHA-256 of each of its files."""
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json" and not path.name.startswith(".")
    }
    content = {"schema_version": SCHEMA_VERSION, **manifest, "files": files}
    return write_file(folder / "manifest.json", json.dumps(content, indent=1, ensure_ascii=False))
