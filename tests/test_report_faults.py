"""What becomes of a report when something goes wrong: said where and why, nothing green, nothing left behind."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest
import small_notebooks
from bs4 import BeautifulSoup
from processes import eventually, is_running
from small_notebooks import GOOD, KILLS_ITSELF, RAISES, SLEEPS, job, with_children

from inferbench_lib.errors import ConfigError, ReportError, StoreError
from inferbench_lib.plan import plan
from inferbench_lib.report.index import write_index
from inferbench_lib.report.notebooks import execute
from inferbench_lib.report.runner import run_report
from inferbench_lib.studies import voice

ROOT = Path(__file__).parents[1]
SOON_S = 120.0


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the runner of this test leaves its runs."""
    folder = tmp_path / "reports"
    monkeypatch.setenv("INFERBENCH_REPORTS", str(folder))
    return folder


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    return folder


def runs(reports: Path) -> list[Path]:
    return sorted(path for path in reports.iterdir() if path.is_dir())


def manifest_of(reports: Path) -> dict[str, Any]:
    (folder,) = runs(reports)
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def ends(manifest: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """How each notebook ended and why."""
    return {entry["name"]: (entry["status"], entry["reason"]) for entry in manifest["notebooks"]}


def page_of(reports: Path, name: str) -> BeautifulSoup:
    (folder,) = runs(reports)
    return BeautifulSoup((folder / f"{name}.html").read_text(), "html.parser")


def words_of(element: Any) -> str:
    return " ".join(element.get_text(" ").split())


def index_row(reports: Path) -> str:
    soup = BeautifulSoup((reports / "index.html").read_text(), "html.parser")
    (row,) = soup.select("#runs tbody tr")
    return words_of(row)


# ---- a notebook that does not end well ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "timeout_s", "status", "reason"),
    [
        (
            RAISES,
            120,
            "failed",
            "FileNotFoundError: [Errno 2] No such file or directory: '<home>/no such file' (code cell 2: import os)",
        ),
        (
            KILLS_ITSELF,
            120,
            "killed",
            "the notebook's process died; probably it ran out of memory or was killed (code cell 2: import os, signal)",
        ),
        (
            SLEEPS,
            2,
            "timed out",
            "a cell ran longer than 2 s; raise the limit with ARGS=--timeout-s=<seconds> (code cell 2: import time)",
        ),
    ],
    ids=["raises", "killed", "timed out"],
)
def test_a_notebook_that_ends_badly(
    cells: Sequence[str],
    timeout_s: int,
    status: str,
    reason: str,
    reports: Path,
    notebooks: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A red banner says where and why, the other notebook still runs, the exit code is 1, and the index says so."""
    monkeypatch.setenv("HOME", str(notebooks / "canaryhome"))
    monkeypatch.setenv("IPYTHONDIR", str(notebooks / "ipython"))
    small_notebooks.write(notebooks, bad=cells, good=GOOD)
    assert run_report(job(notebooks, "bad", "good", timeout_s=timeout_s)) == 1
    manifest = manifest_of(reports)
    assert manifest["status"] == "incomplete"
    assert ends(manifest) == {"bad": (status, reason), "good": ("complete", "")}
    page = page_of(reports, "bad")
    banner = page.select_one(".banner")
    assert words_of(banner).startswith(f"INCOMPLETE {status}")
    assert reason in words_of(banner)
    assert page_of(reports, "good").select_one(".banner") is None
    row = index_row(reports)
    assert "incomplete" in row
    assert reason in row
    assert f"[1/2] bad: {status.upper()} in " in capsys.readouterr().err
    (folder,) = runs(reports)
    for name in ("results.md", "results.txt"):
        assert f"- INCOMPLETE: bad, {status}: {reason}" in " ".join((folder / name).read_text().split())
    executed = nbformat.read(folder / "notebooks" / "bad.ipynb", as_version=4)
    assert executed.metadata["inferbench"]["status"] == status
    assert [cell.execution_count for cell in executed.cells if cell.source == "never = 1"] == [None]
    assert words_of(page.h1).startswith("The bad notebook")
    texts = [path.read_text() for path in folder.rglob("*") if path.suffix in (".html", ".json", ".ipynb", ".md")]
    assert [text for text in texts if "canaryhome" in text or str(notebooks) in text] == []


def test_a_page_that_cannot_be_made_fails_its_notebook_alone(reports: Path, notebooks: Path) -> None:
    """A picture without words for those who cannot see it is named as the reason, and the other notebook still runs."""
    picture = (
        "from IPython.display import Image, display\ndisplay(Image(bytes.fromhex('89504e470d0a1a0a'), format='png'))"
    )
    small_notebooks.write(notebooks, bad=[picture], good=GOOD)
    assert run_report(job(notebooks, "bad", "good")) == 1
    status, reason = ends(manifest_of(reports))["bad"]
    assert status == "failed"
    assert "expected an alt text, got none" in reason
    assert ends(manifest_of(reports))["good"] == ("complete", "")
    assert "expected an alt text, got none" in index_row(reports)
    assert words_of(page_of(reports, "bad").select_one(".banner")).startswith(
        "INCOMPLETE failed Why: the page could not be rendered"
    )


def test_a_record_that_no_page_can_read_back_is_kept(reports: Path, notebooks: Path) -> None:
    """A notebook that fails after it stored its record keeps it, and the run is finished without reading it back."""
    save = "store.save_run(Run(notebook='bad', run_id='any', machine=Machine(), params={}))"
    imports = "from inferbench_lib import store\nfrom inferbench_lib.records import Machine, Run"
    small_notebooks.write(notebooks, bad=[imports, save, "1 / 0"], good=GOOD)
    assert run_report(job(notebooks, "bad", "good")) == 1
    assert ends(manifest_of(reports)) == {
        "bad": ("failed", "ZeroDivisionError: division by zero (code cell 3: 1 / 0)"),
        "good": ("complete", ""),
    }
    assert "data/bad.json" in manifest_of(reports)["files"]


def test_a_notebook_that_measured_nothing_is_incomplete(reports: Path, notebooks: Path) -> None:
    """A notebook without a result in any cell is incomplete, with the reason, and the exit code is 1."""
    imports = "from inferbench_lib import store\nfrom inferbench_lib.records import Case, Machine, Measurement, Run"
    cells = "cell = Measurement(case=Case(workload='forest', batch_size=1), outcome='failed', reason='it was killed')"
    save = "store.save_run(Run(notebook='bad', run_id='any', machine=Machine(), params={}, measurements=(cell,)))"
    small_notebooks.write(notebooks, bad=[imports, cells, save], good=GOOD)
    assert run_report(job(notebooks, "bad", "good")) == 1
    manifest = manifest_of(reports)
    assert (manifest["status"], manifest["trust"][:9]) == ("incomplete", "Unusable:")
    assert ends(manifest) == {
        "bad": ("failed", "nothing was measured (failed: it was killed)"),
        "good": ("complete", ""),
    }
    assert words_of(page_of(reports, "bad").select_one(".banner")).startswith(
        "INCOMPLETE failed Why: nothing was measured (failed: it was killed)"
    )


def test_kernels_leave_no_process(reports: Path, notebooks: Path, tmp_path: Path) -> None:
    """After a kernel was killed, what it started and our workers in it are gone too."""
    marker = tmp_path / "pids"
    small_notebooks.write(notebooks, bad=with_children(marker, last="os.kill(os.getpid(), 9)"))
    assert run_report(job(notebooks, "bad")) == 1
    pids = [int(pid) for pid in marker.read_text().split()]
    assert len(pids) == 3
    assert eventually(lambda: not any(map(is_running, pids)))


def test_a_missing_kernel_is_named(notebooks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the environment's kernel nothing can run: an error that says what to do."""
    from jupyter_client.kernelspec import KernelSpecManager

    monkeypatch.setattr(KernelSpecManager, "_find_spec_directory", lambda self, name: None)
    small_notebooks.write(notebooks, good=GOOD)
    with pytest.raises(ReportError) as raised:
        execute(notebooks / "good.ipynb", tmp_path / "copy.ipynb", {}, 60)
    assert str(raised.value) == (
        "good.ipynb: expected the Jupyter kernel python3 in this environment, got none "
        "(No such kernel named python3); run make clean, then try again"
    )


# ---- parameters that cannot be used -------------------------------------------------------------------------------

KNOWN = (
    "batch_size, cold_executors, executors, max_rounds, measure_memory, min_rounds, n_features, n_processes, "
    "n_samples, n_train, n_trees, network_processes, network_threads, on_worker_death, reference_processes, "
    "reuse, rounds_per_process, scaling_processes, scaling_rows, scheduler, seed, start_method, target_width, "
    "time_limit_s, workload"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"n_proceses: 2\n", f"'n_proceses': expected one of the parameters of cpu_multiprocess ({KNOWN})"),
        (b"n_processes: two\n", "n_processes: expected integer, got 'two'"),
        (b"n_processes: 0\n", "n_processes: expected greater than or equal to 1, got 0"),
        (b"batch_size: 600000\n", "batch_size: expected at most n_samples (500000), got 600000"),
        (b"- 1\n", "expected name: value lines, got a list"),
        (b"\xff\xfe\x00", None),
        (None, "expected a readable parameter file, got: No such file or directory"),
    ],
    ids=["unknown", "type", "value", "batch above samples", "no mapping", "not text", "missing"],
)
def test_unusable_parameters_stop_the_report_before_it_begins(
    content: bytes | None, message: str | None, reports: Path, tmp_path: Path
) -> None:
    """The message names file, field, expected and got; no run folder is made."""
    path = tmp_path / "params" / "mine" / "cpu_multiprocess.yaml"
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        plan("mine", ["cpu_multiprocess"], params=tmp_path / "params")
    if message is not None:
        assert str(raised.value) == f"{path}: {message}"
    else:
        assert str(raised.value).startswith(f"{path}: expected YAML (name: value lines), got: ")
    assert not reports.exists()


# ---- where the report is kept -------------------------------------------------------------------------------------


def test_a_reports_folder_that_cannot_be_written_to(
    notebooks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails before any notebook begins, and says how to name another folder."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INFERBENCH_REPORTS", str(tmp_path / "file" / "reports"))
    began = tmp_path / "began"
    small_notebooks.write(notebooks, good=[f"open({str(began)!r}, 'w')"])
    with pytest.raises(StoreError) as raised:
        run_report(job(notebooks, "good"))
    assert str(raised.value) == (
        "reports: expected a writable folder, got: Not a directory; "
        "make it writable or choose another with INFERBENCH_REPORTS="
    )
    assert not began.exists()


def test_a_folder_without_write_permission(notebooks: Path, reports: Path) -> None:
    """The same for a folder whose permissions forbid it, where permissions bind."""
    if os.geteuid() == 0:
        pytest.skip("permissions do not bind the superuser")
    reports.mkdir(mode=0o555)
    small_notebooks.write(notebooks, good=GOOD)
    with pytest.raises(StoreError, match="got: Permission denied; make it writable"):
        run_report(job(notebooks, "good"))


@pytest.mark.parametrize("limit_bytes", [800, 20_000], ids=["notebook", "page"])
def test_a_full_disk_leaves_the_previous_report_intact(
    limit_bytes: int, notebooks: Path, reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever cannot be written, it is told in one line, and every file that was there stays as it was."""
    small_notebooks.write(notebooks, good=GOOD)
    assert run_report(job(notebooks, "good")) == 0
    before = {path: path.read_bytes() for path in reports.rglob("*") if path.is_file() and path.name != ".lock"}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(notebooks)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "LIMIT": str(limit_bytes)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(r"expected .*free some space\n$", done.stderr), done.stderr
    assert {path: path.read_bytes() for path in before} == before
    index = write_index(reports, voice.headlines()).read_text()
    assert "unfinished" in index
    assert "complete" in index


LIMITED = """
import os, resource, sys
from pathlib import Path
from unittest import mock
import small_notebooks
from inferbench_lib import __main__ as command, plan
limit = int(os.environ['LIMIT'])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
job = small_notebooks.job(Path(sys.argv[1]), 'good')
with mock.patch.object(plan, 'plan', lambda *_, **__: job):
    sys.exit(command.main(['report']))
"""


# ---- signals ------------------------------------------------------------------------------------------------------


class Running:
    """A report in a process of its own, under a terminal, while its notebook sleeps."""

    def __init__(self, notebooks: Path, marker: Path) -> None:
        small_notebooks.write(notebooks, first=GOOD, bad=with_children(marker), later=GOOD)
        self.terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, small_notebooks.__file__, str(notebooks), "first", "bad", "later"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        assert eventually(lambda: marker.exists() and len(marker.read_text().split()) == 3, within_s=SOON_S), (
            self.rest()
        )
        self.pids = [int(pid) for pid in marker.read_text().split()]

    def press_ctrl_c(self) -> None:
        os.write(self.terminal, b"\x03")

    def rest(self) -> str:
        """Everything on the terminal until the process has gone."""
        said = b""
        try:
            while piece := os.read(self.terminal, 65536):
                said += piece
        except OSError:  # the last process has closed the terminal
            pass
        return said.decode()


@pytest.fixture
def running(notebooks: Path, reports: Path, tmp_path: Path) -> Iterator[Running]:
    started = Running(notebooks, tmp_path / "pids")
    yield started
    if started.process.poll() is None:
        started.process.kill()
    started.process.wait()
    for pid in filter(is_running, started.pids):
        os.kill(pid, signal.SIGKILL)
    os.close(started.terminal)


def test_ctrl_c_ends_the_report_quietly(running: Running, reports: Path) -> None:
    """Exit code 130 and no traceback; the run is marked interrupted and nothing of the kernel stays."""
    running.press_ctrl_c()
    said = running.rest()
    assert running.process.wait(SOON_S) == 130
    assert "Traceback" not in said
    assert [line for line in said.split("\x1b[2K")[-1].splitlines() if line.strip()][-1].startswith(
        "interrupted: open "
    )
    assert manifest_of(reports)["status"] == "interrupted"
    assert {name: status for name, (status, _) in ends(manifest_of(reports)).items()} == {
        "first": "complete",
        "bad": "interrupted",
        "later": "not run",
    }
    assert words_of(page_of(reports, "bad").select_one(".banner")).startswith("INCOMPLETE interrupted")
    assert "interrupted" in index_row(reports)
    assert eventually(lambda: not any(map(is_running, running.pids)))


def test_sigterm_ends_the_report_as_quietly(running: Running, reports: Path) -> None:
    """Exit code 143; the run is marked interrupted and nothing of the kernel stays."""
    running.process.send_signal(signal.SIGTERM)
    said = running.rest()
    assert running.process.wait(SOON_S) == 143
    assert "Traceback" not in said
    assert manifest_of(reports)["status"] == "interrupted"
    assert ends(manifest_of(reports))["bad"][0] == "interrupted"
    assert eventually(lambda: not any(map(is_running, running.pids)))


def test_a_killed_report_frees_the_folder_and_leaves_no_process(running: Running, reports: Path) -> None:
    """A second report is refused meanwhile, naming it; killed, it leaves no process and is unfinished in the index."""
    with pytest.raises(StoreError) as raised:
        run_report(job(reports, "unused"))
    assert re.fullmatch(
        rf"reports: expected no other report to be running, got process {running.process.pid} "
        r"since \d\d:\d\d:\d\d UTC; wait for it to end, because two at once would disturb each other's measurements",
        str(raised.value),
    )
    running.process.kill()
    running.process.wait()
    kernel, _, worker = running.pids  # the notebook's own child is nobody's to end after the kernel's death
    assert eventually(lambda: not is_running(kernel) and not is_running(worker), within_s=SOON_S)
    write_index(reports, voice.headlines())
    assert "unfinished" in index_row(reports)
