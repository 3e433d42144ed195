"""What is stored is whole or not there, says what it is, and comes back as it was."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sample_runs

from inferbench_lib import store
from inferbench_lib.errors import StoreError
from inferbench_lib.records import SCHEMA_VERSION, Figure, Machine, Run
from inferbench_lib.report.runner import write_manifest

ROOT = Path(__file__).parents[1]


def names(folder: Path) -> list[str]:
    """What lies in a folder, hidden files included."""
    return sorted(path.name for path in folder.iterdir())


# One file


def test_file_is_written_whole(tmp_path: Path) -> None:
    """Text and bytes arrive unchanged, readable by others, in a folder made for them, with nothing left beside them."""
    path = store.write_file(tmp_path / "new" / "a.txt", "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    store.write_file(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(path.parent) == ["a.txt"]


def failing(number: int) -> Callable[..., Any]:
    """A call of the operating system that fails with this error."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_leaves_what_was_there(
    number: int, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room the message says how many bytes were needed and are free, and the old content stays."""
    path = store.write_file(tmp_path / "summary.json", "old")
    free = type("Usage", (), {"free": 1234})
    monkeypatch.setattr(store.shutil, "disk_usage", lambda folder: free if folder == tmp_path else None)
    monkeypatch.setattr(store.os, call, failing(number))
    with pytest.raises(StoreError) as caught:
        store.write_file(path, "x" * 5000)
    assert str(caught.value) == (
        f"summary.json: expected 5,000 bytes free, got 1,234 ({os.strerror(number)}); free some space"
    )
    assert path.read_text() == "old"
    assert names(tmp_path) == ["summary.json"]


def test_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only folder is a message with the way around it."""
    monkeypatch.setattr(store.tempfile, "mkstemp", failing(errno.EROFS))
    with pytest.raises(StoreError) as caught:
        store.write_file(tmp_path / "a.txt", "x")
    assert str(caught.value) == (
        "a.txt: expected a writable folder, got: Read-only file system; "
        "make it writable or choose another with INFERBENCH_REPORTS="
    )


def test_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    """A folder that cannot be made is the same message, not a traceback."""
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StoreError, match=r"a\.txt: expected a writable folder, got: (Not a directory|File exists)"):
        store.write_file(tmp_path / "data" / "a.txt", "x")


def test_file_size_limit_is_a_message(tmp_path: Path) -> None:
    """Under a real file-size limit (RLIMIT_FSIZE) the write fails with the message, and the old content stays."""
    path = store.write_file(tmp_path / "a.txt", "old")
    code = (
        "import sys, signal; from pathlib import Path; from inferbench_lib import store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: store.write_file(Path(sys.argv[1]), 'x' * 100_000)\n"
        "except store.StoreError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.stdout.startswith("a.txt: expected 100,000 bytes free, got ")
    assert done.stdout.endswith(" (File too large); free some space\n")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_interrupted_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between writing and renaming passes on; neither the old file nor the folder shows a trace."""
    path = store.write_file(tmp_path / "a.txt", "old")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.write_file(path, "new")
    assert (path.read_text(), names(tmp_path)) == ("old", ["a.txt"])


# A run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run, named by the runner as it names it for notebooks."""
    run_folder = tmp_path / "reports" / "20260712-standard"
    monkeypatch.setenv("INFERBENCH_REPORTS", str(tmp_path / "reports"))
    monkeypatch.setenv(store.RUN_FOLDER, str(run_folder))
    return run_folder


@pytest.mark.parametrize("run", sample_runs.ALL, ids=sample_runs.NAMES)
def test_run_comes_back_as_it_was(run: Run, folder: Path) -> None:
    """Every type of a record survives the way to a file and back, None, empty and nested ones included."""
    path = store.save_run(run)
    assert path == folder / "data" / f"{run.notebook}.json"
    back = store.load_run(path)
    assert back.measurements == run.measurements
    assert (back.machine, back.params, back.summary) == (run.machine, run.params, run.summary)
    assert replace(back, tables={}) == replace(run, tables={})
    assert back.tables == json.loads(json.dumps(run.tables))


def test_full_record_comes_back(folder: Path) -> None:
    """A record in which every field is filled is equal after the round trip."""
    run = replace(sample_runs.full(), tables={"schedules": {"rounds": {"orders": [[0, 1]]}}})
    assert store.load_run(store.save_run(run)) == run


def test_record_is_strict_json(folder: Path) -> None:
    """No NaN or Infinity stands in a file, which other readers of JSON refuse."""

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} in the record")

    for run in sample_runs.ALL:
        json.loads(store.save_run(run).read_text(), parse_constant=refuse)


def test_other_schema_version_is_refused(folder: Path) -> None:
    """A record of another schema is never read half; the message says what to do."""
    path = store.save_run(sample_runs.multiprocess())
    content = json.loads(path.read_text())
    assert content["schema_version"] == SCHEMA_VERSION
    path.write_text(json.dumps(content | {"schema_version": 99}))
    with pytest.raises(StoreError) as caught:
        store.load_run(path)
    assert str(caught.value) == (
        f"cpu_multiprocess.json: expected schema version {SCHEMA_VERSION}, got 99; "
        "read it with the version of inferbench that wrote it, or run again"
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"null", b"\xff\xfe", b'{"schema_version": 1}', b'{"schema_version": 1, "notebook": 3}'],
)
def test_damaged_file_is_named(content: bytes, folder: Path) -> None:
    """Whatever a damaged file holds, the message names it and nothing else is raised."""
    path = store.write_file(folder / "data" / "summary.json", content)
    with pytest.raises(
        StoreError, match=r"summary\.json: expected (a stored run, got a damaged file \(.+\); run again|schema)"
    ):
        store.load_run(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A record that is not there is a message."""
    with pytest.raises(StoreError) as caught:
        store.load_run(tmp_path / "cpu_vs_gpu.json")
    assert str(caught.value) == "cpu_vs_gpu.json: expected a stored run, got: No such file or directory; check its path"


def test_stored_run_is_found_by_its_id(folder: Path) -> None:
    """`reuse` reads the named run's record; an unknown id lists those that hold the notebook."""
    run = sample_runs.multiprocess()
    store.save_run(run)
    assert store.stored_run("cpu_multiprocess", "20260712-standard").measurements == run.measurements
    with pytest.raises(StoreError) as caught:
        store.stored_run("cpu_multiprocess", "nosuch")
    assert str(caught.value) == (
        "reuse: expected a stored run of cpu_multiprocess, got nosuch; name one of 20260712-standard"
    )
    with pytest.raises(StoreError) as caught:
        store.stored_run("summary", "20260712-standard")
    assert str(caught.value) == (
        "reuse: expected a stored run of summary, got 20260712-standard; there is none yet: leave reuse out to measure"
    )


def test_runs_of_a_folder_are_read_by_notebook(folder: Path) -> None:
    """All records of a run, by the name of their notebook."""
    for run in (sample_runs.sweep(), sample_runs.multiprocess()):
        store.save_run(run)
    assert list(store.load_runs(folder)) == ["batch_sweep", "cpu_multiprocess"]


def test_notebook_in_jupyterlab_has_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the runner results lie in `reports/lab`."""
    monkeypatch.delenv(store.RUN_FOLDER, raising=False)
    monkeypatch.setenv("INFERBENCH_REPORTS", str(tmp_path))
    assert store.run_folder() == tmp_path / "lab"
    monkeypatch.delenv("INFERBENCH_REPORTS")
    assert store.reports_folder() == ROOT / "reports"


# The summary and the manifest


def run_with(notebook: str, **figures: Figure) -> Run:
    return Run(notebook=notebook, run_id="r", machine=Machine(), params={}, summary=figures)


def test_summary_is_flat_sorted_and_whole(folder: Path) -> None:
    """Figures of all notebooks stand under `<notebook>/<figure>`, sorted, with all six fields."""
    store.save_run(run_with("summary", b=Figure(value=None), a=Figure(value="PASSED")))
    store.save_run(run_with("cpu_vs_gpu", x=Figure(value=8765066, unit="parameters")))
    store.save_run(run_with("batch_sweep", y=Figure(value=1.5, low=1.0, high=2.0, unit="×", verdict="faster")))
    content = json.loads(store.write_summary(folder).read_text())
    assert list(content) == ["batch_sweep/y", "cpu_vs_gpu/x", "summary/a", "summary/b"]
    assert content["batch_sweep/y"] == {
        "value": 1.5,
        "low": 1.0,
        "high": 2.0,
        "unit": "×",
        "verdict": "faster",
        "kind": "interval",
    }
    assert content["cpu_vs_gpu/x"]["value"] == 8765066
    assert isinstance(content["cpu_vs_gpu/x"]["value"], int)
    assert content["summary/b"]["value"] is None


def test_manifest_names_every_file_with_its_hash(folder: Path) -> None:
    """The manifest holds the SHA-256 of each file of the run, below folders too, of itself and hidden ones not."""
    contents = {"summary.json": b"{}", "data/a.json": b"data", "figures/b.png": b"\x89PNG", "index.html": b""}
    for name, content in contents.items():
        store.write_file(folder / name, content)
    (folder / ".partial").write_text("half")
    for _ in range(2):  # written again, it still leaves itself out
        path = write_manifest(folder, {"run_id": "20260712-standard", "complete": True})
    manifest = json.loads(path.read_text())
    assert manifest["files"] == {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    assert (manifest["schema_version"], manifest["run_id"], manifest["complete"]) == (
        SCHEMA_VERSION,
        "20260712-standard",
        True,
    )
