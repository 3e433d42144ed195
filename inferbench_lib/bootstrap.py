"""Prepare the environment: a virtual environment, the locked packages, torch, this project.

`make` runs this file with the system's Python, before any package exists. It needs the standard library alone, imports
nothing of ours, and also starts under an old Python, to report that it is too old.

A stamp in the environment records what was installed, from which `plan` derives the remaining steps.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)
DEPENDENCY_FILES = ("pyproject.toml", "requirements.lock", "requirements-dev.lock")
STAMP = "inferbench.json"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
INDEX_TIMEOUT_S = 4.0

READY, UPDATE, CREATE, ANEW = "ready", "update", "create", "anew"
CPU, PYPI = "cpu", "pypi"  # the sources of torch: PyTorch's CPU index, or PyPI's default build (CUDA on Linux)

# Measured with torch 2.13: 2.3 GB installed with the test tools, and 0.6 GB of wheels in pip's cache.
# With CUDA: 5.0 GB of torch, triton and CUDA libraries unpacked, their 3.0 GB of wheels, and 1.5 GB for the rest.
NEEDED_GB, NEEDED_WITH_CUDA_GB = 3.0, 9.5

DRIVER_TRACES = ("proc/driver/nvidia", "dev/nvidiactl", "usr/lib/wsl/lib/libcuda.so.1")
OFFLINE_SIGNS = ("connection broken", "failed to connect", "name resolution", "network is unreachable", "timed out")
PIP_OPTIONS = ("--quiet", "--disable-pip-version-check", "--no-input")
PIP_LINES_SHOWN = 15


class SetupError(Exception):
    """An environment that cannot be made; the text is the reason and what to do."""


def check_python(version: tuple[int, int], executable: str) -> None:
    """Refuse a Python that is too old."""
    if version < OLDEST_PYTHON:
        raise SetupError(
            f"Python: expected {dotted(OLDEST_PYTHON)} or newer, got {dotted(version)} ({executable}).\n"
            f"Name a newer one: make PYTHON=/path/to/python3"
        )


def check_ensurepip(is_present: bool, version: tuple[int, int], executable: str) -> None:
    """Refuse a Python without ensurepip, as Debian ships it: it cannot put pip into a virtual environment."""
    if not is_present:
        raise SetupError(
            f"ensurepip: expected in {executable}, and it is missing, so no virtual environment can be made.\n"
            f"On Debian and Ubuntu: apt install python{dotted(version)}-venv. "
            f"Or name another Python: make PYTHON=/path/to/python3"
        )


def check_disk(folder: Path, needed_gb: float, free_bytes: int) -> None:
    """Refuse a disk that the installation would fill."""
    if free_bytes < needed_gb * 1e9:
        smaller = f", or take torch without CUDA, {NEEDED_GB} GB in all (make TORCH=cpu)"
        raise SetupError(
            f"Disk: expected {needed_gb} GB free in {folder}, got {free_bytes / 1e9:.1f} GB.\n"
            f"Free some space, or put the environment elsewhere (make VENV=/path/to/folder)"
            f"{smaller if needed_gb > NEEDED_GB else ''}"
        )


def needed_gb(source: str, platform: str) -> float:
    """Return the disk space for the environment and its downloads; PyPI's build has CUDA on Linux only."""
    return NEEDED_WITH_CUDA_GB if source == PYPI and platform == "linux" else NEEDED_GB


def dotted(version: tuple[int, int]) -> str:
    """Return `3.11` for (3, 11)."""
    return ".".join(map(str, version))


def has_nvidia_driver(filesystem: Path = Path("/")) -> bool:
    """Return True where Linux, a container or WSL2 shows traces of an NVIDIA driver."""
    return shutil.which("nvidia-smi") is not None or any((filesystem / trace).exists() for trace in DRIVER_TRACES)


def torch_sources(choice: str, has_driver: bool, platform: str) -> tuple[str, ...]:
    """Return the sources of torch, the preferred one first; `choice` is auto, cpu or cuda."""
    if choice == "cpu":
        return (CPU,)
    if choice == "cuda" or has_driver or platform != "linux":
        return (PYPI,)
    return (CPU, PYPI)


def choose_source(sources: Sequence[str], answers: Callable[[], bool]) -> tuple[str, str]:
    """Return the source to use, and the reason; the CPU index is asked only where there is an alternative."""
    if sources[0] == PYPI:
        return PYPI, "torch: PyPI's default build (on Linux with CUDA, a download of 3 GB)"
    if len(sources) > 1 and not answers():
        return PYPI, f"torch: no NVIDIA driver found, but {CPU_INDEX} does not answer: PyPI's default build instead"
    return CPU, f"torch: the build without CUDA, from {CPU_INDEX}"


def cpu_index_answers() -> bool:
    """Return True where PyTorch's CPU index answers within a few seconds."""
    from urllib.request import urlopen  # here, because it triples the start-up of a run with nothing to do

    try:
        with urlopen(f"{CPU_INDEX}/torch/", timeout=INDEX_TIMEOUT_S):
            return True
    except OSError:
        return False


def fingerprint(root: Path) -> str:
    """Return the SHA-256 of the dependency files and of the project's folder (an editable install points there)."""
    digest = hashlib.sha256(str(root).encode())
    for name in DEPENDENCY_FILES:
        digest.update(b"\0" + (root / name).read_bytes())
    return digest.hexdigest()


def read_stamp(venv: Path) -> dict[str, object]:
    """Return the stamp's values: `{}` without one (a new environment, or one made by hand)."""
    stamp = venv / STAMP
    return dict(json.loads(stamp.read_text())) if stamp.exists() else {}


def write_stamp(venv: Path, stamp: dict[str, object]) -> None:
    """Replace the stamp in one step."""
    draft = venv / f"{STAMP}.draft"
    draft.write_text(json.dumps(stamp) + "\n")
    draft.replace(venv / STAMP)


def plan(stamp: dict[str, object], python: str, sources: Sequence[str], files: str, dev: bool) -> str:
    """Return the remaining work in an environment with such a stamp.

    READY: nothing (a development environment serves users too). UPDATE: install over the existing packages. CREATE:
    there is no stamp. ANEW: another Python, another source of torch, or an interrupted installation.
    """
    if not stamp:
        return CREATE
    if stamp.get("python") != python or stamp.get("torch") not in sources:
        return ANEW
    return READY if stamp.get("files") == files and stamp.get("dev") in (True, dev) else UPDATE


def install_steps(root: Path, source: str, dev: bool) -> list[tuple[str, list[str]]]:
    """Return a line for the user and pip's arguments, per step. The user's own pip configuration stays in force."""
    lock = root / ("requirements-dev.lock" if dev else "requirements.lock")
    import tomllib  # not at the top: older Pythons lack it, and check_python must still run there

    dependencies = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    torch = next(line for line in dependencies if line.startswith("torch=="))
    # The lock holds torch's dependencies from PyPI, so the CPU index is asked for torch alone.
    from_index = ["--index-url", CPU_INDEX, "--no-deps"] if source == CPU else []
    return [
        (f"the packages of {lock.name}", ["--require-hashes", "-r", str(lock)]),
        (torch, [*from_index, torch]),
        ("inferbench itself", ["--no-deps", "--no-build-isolation", "--editable", str(root)]),
    ]


def describe_failure(what: str, output: str) -> str:
    """Return the end of pip's output and what to do."""
    tail = "\n".join("    " + line for line in output.strip().splitlines()[-PIP_LINES_SHOWN:])
    remedy = "Run the same command again. If it fails in the same way, start over with `make clean`"
    if any(sign in output.casefold() for sign in OFFLINE_SIGNS):
        remedy = (
            "A package index could not be reached: connect to the network, or name a mirror (PIP_INDEX_URL) or a "
            "folder of wheels (PIP_FIND_LINKS), and run the same command again"
        )
    return f"Installing {what} failed. The end of pip's output:\n{tail}\n{remedy}"


def run(command: Sequence[str], what: str) -> None:
    """Run one step; its output is shown only where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise SetupError(describe_failure(what, done.stdout))


def say(line: str) -> None:
    """Print one line for the user at once."""
    print(f"inferbench setup: {line}", flush=True)


def prepare(root: Path, venv: Path, choice: str, dev: bool) -> None:
    """Bring the environment up to date; raise SetupError where it cannot be made, before any download if possible."""
    version = sys.version_info[:2]
    check_python(version, sys.executable)
    sources = torch_sources(choice, has_nvidia_driver(), sys.platform)
    files = fingerprint(root)
    stamp = read_stamp(venv)
    python = venv / "bin/python"
    todo = plan(stamp, dotted(version), sources, files, dev)
    if stamp and not python.exists():  # the Python that made it is gone
        todo = ANEW
    if todo == READY:
        return

    started_s = time.monotonic()
    check_ensurepip(importlib.util.find_spec("ensurepip") is not None, version, sys.executable)
    say(f"preparing {venv}, once; later runs skip this")
    if todo == UPDATE:
        source, dev = str(stamp["torch"]), dev or stamp["dev"] is True
    else:
        source, why = choose_source(sources, cpu_index_answers)
        say(why)
        home = next(folder for folder in venv.absolute().parents if folder.exists())
        check_disk(home, needed_gb(source, sys.platform), shutil.disk_usage(home).free)

    # This file marks only the environments that it made, and clears only marked ones.
    if todo == ANEW or not python.exists():
        clear = ["--clear"] if todo == ANEW else []
        run([sys.executable, "-I", "-m", "venv", *clear, str(venv)], "the virtual environment")
        write_stamp(venv, {"unfinished": True})
    for what, arguments in install_steps(root, source, dev):
        say(f"installing {what}")
        run([str(python), "-I", "-m", "pip", "install", *PIP_OPTIONS, *arguments], what)
    write_stamp(venv, {"python": dotted(version), "torch": source, "files": files, "dev": dev})
    say(f"ready after {time.monotonic() - started_s:.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return exit code 0 when the environment is ready, 1 when it cannot be made, 130 when interrupted."""
    parser = argparse.ArgumentParser(description="Prepare inferbench's environment.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("--torch", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--dev", action="store_true", help="with the tools of the tests")
    options = parser.parse_args(arguments)
    try:
        prepare(ROOT, options.venv, options.torch, options.dev)
    except SetupError as error:
        print(f"inferbench setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("inferbench setup: interrupted; run the same command again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
