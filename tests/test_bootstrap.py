"""The installation, without installing: what it refuses, what it chooses, what it runs and what it leaves behind."""

from __future__ import annotations

import ast
import http.server
import json
import shutil
import socket
import sys
import threading
from collections import namedtuple
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from inferbench_lib import bootstrap

INDEX = "https://download.pytorch.org/whl/cpu"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
DiskUsage = namedtuple("DiskUsage", "total used free")


def message_of(check: Callable[[], object]) -> str:
    with pytest.raises(bootstrap.SetupError) as caught:
        check()
    return str(caught.value)


def test_old_python() -> None:
    """A Python below 3.11 is refused by name; 3.11 is not."""
    assert message_of(lambda: bootstrap.check_python((3, 10), "/usr/bin/python3")) == (
        "Python: expected 3.11 or newer, got 3.10 (/usr/bin/python3).\nName a newer one: make PYTHON=/path/to/python3"
    )
    bootstrap.check_python((3, 11), "/usr/bin/python3")


def test_missing_ensurepip() -> None:
    """A Python without ensurepip is refused with the package that brings it; one with it is not."""
    assert message_of(lambda: bootstrap.check_ensurepip(False, (3, 12), "/usr/bin/python3")) == (
        "ensurepip: expected in /usr/bin/python3, and it is missing, so no virtual environment can be made.\n"
        "On Debian and Ubuntu: apt install python3.12-venv. Or name another Python: make PYTHON=/path/to/python3"
    )
    bootstrap.check_ensurepip(True, (3, 12), "/usr/bin/python3")


def test_too_little_disk() -> None:
    """A disk one byte too small is refused; the smaller build is offered only where it is smaller."""
    assert message_of(lambda: bootstrap.check_disk(Path("/home"), 9.5, 3_140_000_000)) == (
        "Disk: expected 9.5 GB free in /home, got 3.1 GB.\n"
        "Free some space, or put the environment elsewhere (make VENV=/path/to/folder), "
        "or take torch without CUDA, 3.0 GB in all (make TORCH=cpu)"
    )
    assert message_of(lambda: bootstrap.check_disk(Path("/home"), 3.0, 2_999_999_999)) == (
        "Disk: expected 3.0 GB free in /home, got 3.0 GB.\n"
        "Free some space, or put the environment elsewhere (make VENV=/path/to/folder)"
    )
    bootstrap.check_disk(Path("/home"), 3.0, 3_000_000_000)


@pytest.mark.parametrize(
    ("source", "platform", "expected_gb"), [("pypi", "linux", 9.5), ("pypi", "darwin", 3.0), ("cpu", "linux", 3.0)]
)
def test_needed_room(source: str, platform: str, expected_gb: float) -> None:
    """Only PyPI's build for Linux brings the CUDA libraries."""
    assert bootstrap.needed_gb(source, platform) == expected_gb


@pytest.mark.parametrize("trace", [None, "proc/driver/nvidia", "dev/nvidiactl", "usr/lib/wsl/lib/libcuda.so.1"])
def test_driver_by_its_traces(trace: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each trace of an NVIDIA driver is enough, and without any there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    if trace:
        (tmp_path / trace).mkdir(parents=True)
    assert bootstrap.has_nvidia_driver(tmp_path) is (trace is not None)


def test_driver_by_its_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nvidia-smi on PATH is enough."""
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bootstrap.has_nvidia_driver(tmp_path / "empty")


@pytest.mark.parametrize(
    ("choice", "has_driver", "platform", "expected"),
    [
        ("auto", True, "linux", ("pypi",)),
        ("auto", False, "linux", ("cpu", "pypi")),
        ("auto", False, "darwin", ("pypi",)),
        ("cpu", True, "linux", ("cpu",)),
        ("cuda", False, "linux", ("pypi",)),
    ],
)
def test_sources_of_torch(choice: str, has_driver: bool, platform: str, expected: tuple[str, ...]) -> None:
    """`auto` follows the driver, and falls back to PyPI only from its own choice; a named build has no substitute."""
    assert bootstrap.torch_sources(choice, has_driver, platform) == expected


@pytest.mark.parametrize(
    ("sources", "answers", "expected"),
    [
        (("pypi",), None, ("pypi", "torch: PyPI's default build (on Linux with CUDA, a download of 3 GB)")),
        (("cpu",), None, ("cpu", f"torch: the build without CUDA, from {INDEX}")),
        (("cpu", "pypi"), True, ("cpu", f"torch: the build without CUDA, from {INDEX}")),
        (
            ("cpu", "pypi"),
            False,
            ("pypi", f"torch: no NVIDIA driver found, but {INDEX} does not answer: PyPI's default build instead"),
        ),
    ],
)
def test_choice_of_the_source(sources: Sequence[str], answers: bool | None, expected: tuple[str, str]) -> None:
    """The CPU index is asked only where PyPI is the other way, and a silent one is named."""

    def ask() -> bool:
        assert answers is not None, "asked without need"
        return answers

    assert bootstrap.choose_source(sources, ask) == expected


def test_index_answers_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that serves torch answers; one that serves something else, or nothing at all, does not."""

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/whl/torch/" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for folder, expected in (("whl", True), ("other", False)):
            monkeypatch.setattr(bootstrap, "CPU_INDEX", f"http://127.0.0.1:{server.server_port}/{folder}")
            assert bootstrap.cpu_index_answers() is expected
        server.shutdown()
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound, and never listening
        monkeypatch.setattr(bootstrap, "CPU_INDEX", f"http://127.0.0.1:{unheard.getsockname()[1]}")
        assert not bootstrap.cpu_index_answers()


@pytest.mark.parametrize(
    ("changes", "dev", "expected"),
    [
        ({}, False, "ready"),
        ({}, True, "update"),
        ({"dev": True}, True, "ready"),
        ({"dev": True}, False, "ready"),
        ({"files": "other"}, False, "update"),
        ({"python": "3.99"}, False, "anew"),
        ({"torch": "elsewhere"}, False, "anew"),
    ],
)
def test_plan(changes: dict[str, object], dev: bool, expected: str) -> None:
    """What is left to do follows from what differs between the stamp and what is asked for."""
    stamp = {"python": "3.11", "torch": "pypi", "files": "same", "dev": False} | changes
    assert bootstrap.plan(stamp, "3.11", ("cpu", "pypi"), "same", dev) == expected


def test_plan_without_a_whole_stamp() -> None:
    """No stamp: create, and keep what somebody made by hand; an unfinished one: begin anew."""
    assert bootstrap.plan({}, "3.11", ("pypi",), "same", False) == "create"
    assert bootstrap.plan({"unfinished": True}, "3.11", ("pypi",), "same", False) == "anew"


def test_failure_of_pip() -> None:
    """A failure shows the last fifteen lines of pip's output and the next step."""
    output = "\n".join(f"line {n}" for n in range(20))
    shown = "\n".join(f"    line {n}" for n in range(5, 20))
    assert bootstrap.describe_failure("torch==2.13.0", output) == (
        f"Installing torch==2.13.0 failed. The end of pip's output:\n{shown}\n"
        "Run the same command again. If it fails in the same way, start over with `make clean`"
    )


def test_failure_without_network() -> None:
    """An index out of reach is named as the cause."""
    output = "WARNING: Retrying after connection broken by 'NewConnectionError'\nERROR: No matching distribution\n"
    assert bootstrap.describe_failure("torch==2.13.0", output) == (
        "Installing torch==2.13.0 failed. The end of pip's output:\n"
        "    WARNING: Retrying after connection broken by 'NewConnectionError'\n"
        "    ERROR: No matching distribution\n"
        "A package index could not be reached: connect to the network, or name a mirror (PIP_INDEX_URL) or a "
        "folder of wheels (PIP_FIND_LINKS), and run the same command again"
    )


class Recorder:
    """Stands for `bootstrap.run`: keeps the commands, makes the interpreter, fails where it is told to."""

    def __init__(self, fails_at: str = "") -> None:
        self.commands: list[list[str]] = []
        self.fails_at = fails_at

    def __call__(self, command: Sequence[str], what: str) -> None:
        self.commands.append(list(command))
        if what == self.fails_at:
            raise bootstrap.SetupError("no room")
        if "venv" in command:
            interpreter = Path(command[-1]) / "bin/python"
            interpreter.parent.mkdir(parents=True, exist_ok=True)
            interpreter.touch()


class Installation:
    """A project of three dependency files, and an environment to be made for it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.venv, self.monkeypatch = folder, folder / "venv", monkeypatch
        (folder / "pyproject.toml").write_text('[project]\ndependencies = ["numpy>=2", "torch==9.8.7"]\n')
        (folder / "requirements.lock").touch()
        (folder / "requirements-dev.lock").touch()

    def prepare(self, fails_at: str = "", choice: str = "cpu", dev: bool = False) -> list[list[str]]:
        """The commands that this run gave."""
        recorder = Recorder(fails_at)
        self.monkeypatch.setattr(bootstrap, "run", recorder)
        try:
            bootstrap.prepare(self.root, self.venv, choice, dev)
        except bootstrap.SetupError:
            assert fails_at
        return recorder.commands

    def made(self, *options: str) -> list[str]:
        return [sys.executable, "-I", "-m", "venv", *options, str(self.venv)]

    def installed(self, lock: str, *torch: str) -> list[list[str]]:
        pip = [str(self.venv / "bin/python"), "-I", "-m", "pip", "install"]
        pip += ["--quiet", "--disable-pip-version-check", "--no-input"]
        return [
            [*pip, "--require-hashes", "-r", str(self.root / lock)],
            [*pip, *torch, "torch==9.8.7"],
            [*pip, "--no-deps", "--no-build-isolation", "--editable", str(self.root)],
        ]

    def stamp(self) -> dict[str, object]:
        return dict(json.loads((self.venv / "inferbench.json").read_text()))


CPU_BUILD = ("--index-url", INDEX, "--no-deps")


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Nothing is installed yet, the disk has room, and time stands still."""
    monkeypatch.setattr(bootstrap, "time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: DiskUsage(0, 0, 10**12))
    return Installation(tmp_path, monkeypatch)


def test_first_run_and_second(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """The first run makes the environment and stamps it; the second runs nothing and says nothing."""
    expected = [installation.made(), *installation.installed("requirements.lock", *CPU_BUILD)]
    assert installation.prepare() == expected
    files = bootstrap.fingerprint(installation.root)
    assert installation.stamp() == {"python": PYTHON, "torch": "cpu", "files": files, "dev": False}
    assert capsys.readouterr().out == (
        f"inferbench setup: preparing {installation.venv}, once; later runs skip this\n"
        f"inferbench setup: torch: the build without CUDA, from {INDEX}\n"
        "inferbench setup: installing the packages of requirements.lock\n"
        "inferbench setup: installing torch==9.8.7\n"
        "inferbench setup: installing inferbench itself\n"
        "inferbench setup: ready after 0 s\n"
    )
    assert installation.prepare() == []
    assert capsys.readouterr().out == ""


def test_cuda_build_brings_its_libraries(installation: Installation) -> None:
    """PyPI's build is installed with its dependencies and without another index."""
    assert installation.prepare(choice="cuda")[1:] == installation.installed("requirements.lock")


def test_interrupted_run(installation: Installation) -> None:
    """An installation cut short leaves no stamp of a finished one, and is begun anew."""
    installation.prepare(fails_at="torch==9.8.7")
    assert installation.stamp() == {"unfinished": True}
    assert installation.prepare()[0] == installation.made("--clear")


def test_tools_are_added(installation: Installation) -> None:
    """The tools of the tests are installed over what is there, and stay when a user's run follows."""
    installation.prepare()
    assert installation.prepare(dev=True) == installation.installed("requirements-dev.lock", *CPU_BUILD)
    assert installation.prepare() == []
    (installation.root / "requirements.lock").write_text("changed")
    assert installation.prepare() == installation.installed("requirements-dev.lock", *CPU_BUILD)


def test_failed_update(installation: Installation) -> None:
    """An update that fails leaves the environment as usable as it was."""
    installation.prepare()
    before = installation.stamp()
    installation.prepare(fails_at="the packages of requirements-dev.lock", dev=True)
    assert installation.stamp() == before
    assert installation.prepare() == []


def test_other_torch(installation: Installation) -> None:
    """Another build of torch begins anew, so that no libraries of the old one stay."""
    installation.prepare()
    assert installation.prepare(choice="cuda")[0] == installation.made("--clear")


def test_python_is_gone(installation: Installation) -> None:
    """An environment whose Python was removed is made anew."""
    installation.prepare()
    (installation.venv / "bin/python").unlink()
    assert installation.prepare()[0] == installation.made("--clear")


def test_environment_made_by_hand(installation: Installation) -> None:
    """An environment that somebody else made is neither cleared nor marked as ours while it is not finished."""
    (installation.venv / "bin").mkdir(parents=True)
    (installation.venv / "bin/python").touch()
    assert installation.prepare(fails_at="torch==9.8.7") == installation.installed("requirements.lock", *CPU_BUILD)[:2]
    assert not (installation.venv / "inferbench.json").exists()


def test_project_moved(installation: Installation) -> None:
    """The fingerprint follows each dependency file and the project's place."""
    seen = {bootstrap.fingerprint(installation.root)}
    for name in ("pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        (installation.root / name).write_text("changed")
        seen.add(bootstrap.fingerprint(installation.root))
    seen.add(bootstrap.fingerprint(installation.root.rename(installation.root.with_name("moved"))))
    assert len(seen) == 5


def test_refused_before_anything_runs(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that cannot carry the installation is refused before the first command."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: DiskUsage(0, 0, 10**9))
    recorder = Recorder()
    monkeypatch.setattr(bootstrap, "run", recorder)
    assert message_of(lambda: bootstrap.prepare(installation.root, installation.venv, "cpu", False)) == (
        f"Disk: expected 3.0 GB free in {installation.root}, got 1.0 GB.\n"
        "Free some space, or put the environment elsewhere (make VENV=/path/to/folder)"
    )
    assert recorder.commands == []
    assert not installation.venv.exists()


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (bootstrap.SetupError("no room"), 1, "inferbench setup: no room\n"),
        (KeyboardInterrupt(), 130, "inferbench setup: interrupted; run the same command again\n"),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A refusal exits 1 and Ctrl-C 130, each with one message and no traceback."""

    def prepare(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(bootstrap, "prepare", prepare)
    assert bootstrap.main([]) == code
    assert capsys.readouterr().err == expected


def test_real_step_fails() -> None:
    """A step that exits non-zero shows what it printed; one that succeeds is silent."""
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(int(sys.argv[1]))"
    bootstrap.run([sys.executable, "-c", script, "0"], "nothing")
    assert message_of(lambda: bootstrap.run([sys.executable, "-u", "-c", script, "3"], "nothing")) == (
        "Installing nothing failed. The end of pip's output:\n    out\n    err\n"
        "Run the same command again. If it fails in the same way, start over with `make clean`"
    )


def test_starts_under_an_old_python() -> None:
    """The file parses as Python 3.7, so that an old interpreter gets as far as the message."""
    ast.parse(Path(bootstrap.__file__).read_text(), feature_version=(3, 7))
