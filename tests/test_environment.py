"""What is installed: pyproject.toml, the locks and environment.yml agree, and make offers what it says."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import setup_browser
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CONDA_NAMES = {"torch": "pytorch"}
# The specification's own list, in its own words.
REQUIRED = ["jupyter", "papermill", "nbconvert", "scikit-learn", "torch", "numpy", "pandas", "matplotlib", "seaborn"]


def bounds(lines: list[str]) -> dict[str, str]:
    """Each package's canonical name and its bounds."""
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): str(requirement.specifier) for requirement in parsed}


def differences(dependencies: list[str], environment: str) -> set[tuple[str, str]]:
    """What only one of the two files says, under conda's names."""
    conda = [line for line in yaml.safe_load(environment)["dependencies"] if isinstance(line, str)]
    expected = {CONDA_NAMES.get(name, name): versions for name, versions in bounds(dependencies).items()}
    expected |= {"python": PROJECT["requires-python"], "pip": ""}
    return set(expected.items()) ^ set(bounds(conda).items())


def locked(text: str) -> dict[str, list[str]]:
    """Each locked package and its versions, of which another Python may have another."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE):
        found.setdefault(name, []).append(version)
    return found


def test_conda_environment_is_equal() -> None:
    """environment.yml names the packages and bounds of pyproject.toml, no more and no fewer."""
    assert differences(PROJECT["dependencies"], (ROOT / "environment.yml").read_text()) == set()


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("numpy>=2.4.6,<3", "numpy>=2.4.6", {("numpy", "<3,>=2.4.6"), ("numpy", ">=2.4.6")}),
        ("  - tqdm>=4.70.1,<5\n", "", {("tqdm", "<5,>=4.70.1")}),
        ("  - pip\n", "  - pip\n  - polars>=1\n", {("polars", ">=1")}),
        ("python>=3.11", "python>=3.12", {("python", ">=3.11"), ("python", ">=3.12")}),
    ],
)
def test_conda_difference_is_seen(right: str, wrong: str, expected: set[tuple[str, str]]) -> None:
    """Another bound, a missing package, one too many and another Python are each seen."""
    text = (ROOT / "environment.yml").read_text()
    assert text.count(right) == 1
    assert differences(PROJECT["dependencies"], text.replace(right, wrong)) == expected


def test_promised_packages() -> None:
    """Each package that users are promised is a dependency, and each dependency has an upper bound."""
    named = bounds(PROJECT["dependencies"])
    assert set(REQUIRED) <= set(named)
    assert [name for name, versions in named.items() if "<" not in versions and "==" not in versions] == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_fits_the_project(lock: str) -> None:
    """Each dependency but torch is locked, within its bounds."""
    lines = PROJECT["dependencies"] + (PROJECT["optional-dependencies"]["dev"] if "dev" in lock else [])
    parsed = [Requirement(line) for line in lines]
    requirements = {canonicalize_name(one.name): one.specifier for one in parsed if one.name != "torch"}
    versions = locked((ROOT / lock).read_text())
    assert {name: all(map(bound.contains, versions.get(name, ["0"]))) for name, bound in requirements.items()} == (
        dict.fromkeys(requirements, True)
    )


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_is_hashed_and_without_torch(lock: str) -> None:
    """Each entry has a hash; neither torch, nor a CUDA library, nor an address is among them."""
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    names = locked(text)
    assert sorted(name for name in names if re.match(r"torch$|triton|nvidia-(?!ml-py)|cuda", name)) == []
    assert "://" not in text
    # What torch itself needs beside the CUDA libraries: its CPU build is installed without dependencies.
    assert set(names) >= {"filelock", "typing-extensions", "setuptools", "sympy", "networkx", "jinja2", "fsspec"}


def test_development_lock_contains_the_other() -> None:
    """The tools of the tests are added to the same versions, never in place of them."""
    user, developer = (locked((ROOT / f"requirements{kind}.lock").read_text()) for kind in ("", "-dev"))
    assert {name: developer.get(name) for name in user} == user


def make(*arguments: str, **environment: str) -> str:
    """What make prints, whatever the make that started these tests was told."""
    ours = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PROFILE", "TORCH", "PYTHON", "VENV", "ARGS")
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


SETUP = "python3 -I inferbench_lib/bootstrap.py --venv .venv --torch auto"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["report"], [SETUP, ".venv/bin/python -m inferbench_lib report --profile standard "]),
        (["quick"], [SETUP, ".venv/bin/python -m inferbench_lib report --profile quick "]),
        (
            ["report", "PROFILE=thorough", "TORCH=cpu", "PYTHON=py", "VENV=/v", "ARGS=--x y"],
            [
                "py -I inferbench_lib/bootstrap.py --venv /v --torch cpu",
                "/v/bin/python -m inferbench_lib report --profile thorough --x y",
            ],
        ),
        (["lab"], [SETUP, ".venv/bin/python -m inferbench_lib lab "]),
        (["calibrate"], [SETUP, ".venv/bin/python -m inferbench_lib calibrate "]),
    ],
)
def test_make_targets(arguments: list[str], expected: list[str]) -> None:
    """A user's target prepares the environment, without the tools of the tests, and calls one command."""
    assert make("--dry-run", *arguments).splitlines() == expected


def test_make_test_ends_with_pytest() -> None:
    """`make test` brings its tools and a browser, lints, type-checks, and runs pytest last."""
    lines = make("--dry-run", "test").splitlines()
    assert lines == [
        f"{SETUP} --dev",
        ".venv/bin/python tests/setup_browser.py",
        ".venv/bin/python -m ruff check --quiet",
        ".venv/bin/python -m ruff format --check --quiet",
        ".venv/bin/python -m nbstripout --verify notebooks/*.ipynb",
        ".venv/bin/python -m mypy",
        ".venv/bin/python -m pytest ",
    ]


def test_make_help_lists_each_target() -> None:
    """Plain `make` lists every target that users may call."""
    listed = re.findall(r"^  make (\w+)", make(), re.MULTILINE)
    first, later = ["report", "quick", "lab", "compare", "calibrate"], ["test", "lint", "mutants", "picture", "lock"]
    assert listed == ["help", *first, *later, "clean"]


def test_make_compare_hands_over_its_runs() -> None:
    """BASE is one run, HEAD may be several; without them the command chooses."""
    assert make("--dry-run", "compare", "BASE=a", "HEAD=b c").splitlines()[-1] == (
        '.venv/bin/python -m inferbench_lib compare --base "a" --head "b c" '
    )
    assert make("--dry-run", "compare").splitlines()[-1].endswith('--base "" --head "" ')


def test_kernels_are_the_environments_own() -> None:
    """make drops JUPYTER_PATH and prefers the environment's own kernels."""
    probe = "--eval=probe: ; @echo $${JUPYTER_PATH-unset} $$JUPYTER_PREFER_ENV_PATH"
    assert make(probe, "probe", JUPYTER_PATH="/elsewhere", JUPYTER_PREFER_ENV_PATH="0") == "unset 1\n"


def test_clean_spares_other_folders(tmp_path: Path) -> None:
    """`make clean` removes an environment, and no folder that is not one."""
    for name in ("environment", "precious"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyvenv.cfg").touch()
    (tmp_path / "precious/pyvenv.cfg").unlink()
    for name in ("environment", "precious"):
        make("--file", str(ROOT / "Makefile"), "--directory", str(tmp_path), "clean", f"VENV={name}")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def fake_browser(folder: Path, name: str, exit_code: int) -> str:
    """An executable that ends with this exit code."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    path.chmod(0o755)
    return str(path)


def test_browser_must_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first browser that starts is taken: on PATH before Playwright's own, a broken one never."""
    broken = fake_browser(tmp_path / "path", "chromium", 1)
    good = fake_browser(tmp_path / "path", "google-chrome", 0)
    own = fake_browser(tmp_path / "own", "chrome", 0)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin")
    monkeypatch.setattr(setup_browser, "playwrights_own", lambda: own)
    assert setup_browser.find_browser() == good
    Path(good).unlink()
    assert setup_browser.find_browser() == own
    Path(own).unlink()
    assert Path(broken).exists()
    assert setup_browser.find_browser() is None


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_no_browser(ci: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where none can be had, each way was tried; a user is warned, and CI fails."""
    tried: list[str] = []

    def succeed(command: list[str], timeout_s: float) -> None:
        tried.extend(command)

    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(setup_browser, "find_browser", lambda: None)
    monkeypatch.setattr(setup_browser, "installers", lambda: [("one way", [["1"]]), ("another", [["2"], ["3"]])])
    monkeypatch.setattr(setup_browser, "run", succeed)
    assert setup_browser.main() == code
    assert tried == ["1", "2", "3"]
    printed = capsys.readouterr()
    assert printed.out == "browser: trying one way\nbrowser: trying another\n"
    assert printed.err == (
        "warning: No Chromium: none on PATH, Playwright could not download one, and the distribution's package could "
        "not be installed. Install Chromium or Chrome; until then the tests that open pages in a browser are skipped "
        "(under CI=true they fail).\n"
    )


def test_browser_is_installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A way whose command fails is followed by the next, and the browser that it brings is named."""
    found = iter([None, "/usr/bin/chromium"])
    monkeypatch.setattr(setup_browser, "find_browser", lambda: next(found))
    monkeypatch.setattr(setup_browser, "installers", lambda: [("one way", [["fails"]]), ("another", [["works"]])])
    monkeypatch.setattr(setup_browser, "run", lambda command, timeout_s: None if command == ["works"] else "no network")
    assert setup_browser.main() == 0
    assert capsys.readouterr().out == (
        "browser: trying one way\nbrowser: one way failed: no network\n"
        "browser: trying another\nbrowser: /usr/bin/chromium\n"
    )


@pytest.mark.parametrize(
    ("script", "expected"),
    [("exit 0", None), ("echo first; echo last >&2; exit 3", "exit code 3\nfirst\nlast"), ("exit 3", "exit code 3")],
)
def test_failed_command_says_why(script: str, expected: str | None) -> None:
    """A command that fails is told by its exit code and the end of what it printed."""
    assert setup_browser.run(["/bin/sh", "-c", script], 60) == expected
