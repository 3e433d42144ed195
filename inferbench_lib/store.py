"""Write records to files and read them; a file is complete or absent.

A run is a folder with pages, `notebooks/`, `figures/`, `data/<notebook>.json` (raw samples), `summary.json`,
`results.md` and `results.txt`. `manifest.json`, written last, holds the SHA-256 of every other file.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import gzip
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from inferbench_lib.errors import StoreError
from inferbench_lib.privacy import scrub_text
from inferbench_lib.records import SCHEMA_VERSION, Figure, Run

GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, section 2.3.1
RUN_FOLDER = "INFERBENCH_RUN_FOLDER"
"""Environment variable with which the runner names the run folder to a notebook."""
LAB = "lab"  # the first letters of the names of runs in JupyterLab; those of reports begin with a date


def reports_folder() -> Path:
    """Return `reports/` beside the library, or `$INFERBENCH_REPORTS`."""
    return Path(os.environ.get("INFERBENCH_REPORTS", Path(__file__).parents[1] / "reports"))


def run_folder() -> Path:
    """Return the folder of the current run: the runner's, or that of the last run in JupyterLab."""
    return Path(os.environ.get(RUN_FOLDER, reports_folder() / LAB))


def is_report() -> bool:
    """Return whether the runner makes a report."""
    return not Path(os.environ.get(RUN_FOLDER, LAB)).name.startswith(LAB)


def begin_lab_run() -> None:
    """Create the folder `reports/lab-<date>-<time>` for a run in JupyterLab."""
    os.environ[RUN_FOLDER] = str(_create(reports_folder(), f"{LAB}-{datetime.now(UTC):%Y%m%d-%H%M%S}"))


def new_folder(reports: Path, started: datetime, profile: str) -> Path:
    """Create `reports/<date>-<time>-<profile>`; raises StoreError, before measuring, where it cannot be written."""
    return _create(reports, f"{started:%Y%m%d-%H%M%S}-{profile}")


def _create(reports: Path, stem: str) -> Path:
    names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    folder = next(folder for name in names if not (folder := reports / name).exists())
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise _fault(reports, error) from None
    return folder


@contextlib.contextmanager
def only_one(reports: Path) -> Iterator[None]:
    """Lock the reports folder; raises StoreError with the process that holds the lock."""
    try:
        reports.mkdir(parents=True, exist_ok=True)
        lock = (reports / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise _fault(reports, error) from None
    with lock:
        try:
            with contextlib.suppress(ImportError):  # a system without such locks
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StoreError(
                f"reports: expected no other report to be running, got process {lock.read().strip() or '?'}; "
                "wait for it to end, because two at once would disturb each other's measurements"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()} since {datetime.now(UTC):%H:%M:%S} UTC")
        lock.flush()
        yield
        lock.truncate(0)


def write_file(path: Path, content: bytes | str) -> Path:
    """Write `content` to `path` completely, or leave the old file unchanged and raise StoreError."""
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
        raise _fault(path, error, len(payload)) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return path


def _fault(path: Path, error: OSError, n_bytes: int = 1) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        free = shutil.disk_usage(next(folder for folder in path.parents if folder.exists())).free
        return StoreError(
            f"{path.name}: expected {n_bytes:,} bytes free, got {free:,} ({error.strerror}); free some space"
        )
    return StoreError(
        f"{path.name}: expected a writable folder, got: {error.strerror}; "
        "make it writable or choose another with INFERBENCH_REPORTS="
    )


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def dump_run(run: Run) -> bytes:
    """Return the record as JSON, without paths and names of this machine."""
    return scrub_text(_adapter(Run).dump_json(run).decode()).encode()


def save_run(run: Run, folder: Path | None = None) -> Path:
    """Write `data/<notebook>.json` in the run's folder."""
    return write_file((folder or run_folder()) / "data" / f"{run.notebook}.json", dump_run(run))


def load_run(path: Path) -> Run:
    """Read a stored record; raises StoreError where it is missing, damaged or of another schema."""
    return _parse(_read(path), path.name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path.name}: expected a stored run, got: {error.strerror}; check its path") from error


def _parse(raw: bytes | str, name: str) -> Run:
    """Parse a record: JSON, its gzip, or either of them in base64 as text."""
    try:
        content = base64.b64decode(raw, validate=True) if isinstance(raw, str) else raw
        content = gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content
        version = json.loads(content).get("schema_version")
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{name}: expected schema version {SCHEMA_VERSION}, got {version}; "
                "read it with the version of inferbench that wrote it, or run again"
            )
        run: Run = _adapter(Run).validate_json(content)
    except (ValueError, AttributeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        fault = str(error).splitlines()[0]
        raise StoreError(f"{name}: expected a stored run, got a damaged file ({fault}); run again") from error
    return run


def stored_run(notebook: str, run_id: str) -> Run:
    """Read the record of `notebook` in `reports/<run_id>`; raises StoreError with the runs that hold one."""
    path = reports_folder() / run_id / "data" / f"{notebook}.json"
    if not path.exists():
        known = stored_ids(notebook)
        do = f"name one of {', '.join(known)}" if known else "there is none yet: leave reuse out to measure"
        raise StoreError(f"reuse: expected a stored run of {notebook}, got {run_id}; {do}")
    return load_run(path)


def stored_ids(notebook: str) -> list[str]:
    """List the runs in `reports/` that hold a record of `notebook`, oldest first."""
    return sorted(path.parents[1].name for path in reports_folder().glob(f"*/data/{notebook}.json"))


def known_runs(most: int = 10) -> str:
    """Name the newest runs in `reports/` that hold records, or say how to make one."""
    ids = sorted({path.parents[1].name for path in reports_folder().glob("*/data/*.json")}, reverse=True)
    more = f" and {len(ids) - most} older ones" if len(ids) > most else ""
    return f"the stored runs are {', '.join(ids[:most])}{more}" if ids else "there is none yet: run make report"


def load_runs(folder: Path) -> dict[str, Run]:
    """Read all records of one run, by notebook."""
    return {path.stem: load_run(path) for path in sorted((folder / "data").glob("*.json"))}


def runs_of(source: str) -> dict[str, Run]:
    """Read the records of a run, by notebook: of `reports/<source>`, a run's folder, a record, or a page.

    Without records in the folder, read its pages. Raises StoreError where there is none or one cannot be read.
    """
    path = reports_folder() / source
    path = path if path.exists() else Path(source).expanduser()
    if not path.exists():
        raise StoreError(f"{source}: expected a stored run, got no such run, file or folder; {known_runs()}")
    if path.is_dir():
        found = list(load_runs(path).values()) or [
            run for page in sorted(path.glob("*.html")) for run in embedded(page)
        ]
    elif path.name.endswith((".json", ".json.gz")):
        found = [_parse(_read(path), path.name)]
    else:
        found = embedded(path)
    if not found:
        raise StoreError(
            f"{path.name}: expected a run with its data, got none; name a run's folder or one of its pages"
        )
    return {run.notebook: run for run in found}


def embedded(page: Path) -> list[Run]:
    """Read the records embedded in a page; raises StoreError where one cannot be read."""
    from bs4 import BeautifulSoup
    from bs4.filter import SoupStrainer

    links = BeautifulSoup(_read(page).decode(errors="replace"), "html.parser", parse_only=SoupStrainer("a"))
    found = []
    for link in links.select("a[download]"):
        name, (kind, _, encoded) = str(link["download"]), str(link.get("href", "")).partition(";base64,")
        if name.endswith((".json", ".json.gz")) and kind in ("data:application/json", "data:application/gzip"):
            found.append(_parse(encoded, f"{page.name}: {name.removesuffix('.gz')}"))
    return found


def write_summary(folder: Path) -> Path:
    """Write `summary.json`: the figures of all notebooks of the run, flat and sorted."""
    runs = load_runs(folder).values()
    figures = {f"{run.notebook}/{name}": figure for run in runs for name, figure in run.summary.items()}
    payload = _adapter(Mapping[str, Figure]).dump_json(dict(sorted(figures.items())), indent=1)
    return write_file(folder / "summary.json", payload)
