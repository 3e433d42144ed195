"""The command line that the Makefile calls: what it says and with which code it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inferbench_lib.__main__ import main

ROOT = Path(__file__).parents[1]


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "reports"
    monkeypatch.setenv("INFERBENCH_REPORTS", str(folder))
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["report", "--profile", "brand_new"],
            "inferbench: profile: expected one of gtx_750_ti, quick, standard, thorough, got brand_new\n",
        ),
        (
            ["report", "--notebook", "brand_new"],
            "inferbench: notebook: expected one of cpu_multiprocess, cpu_vs_gpu, model_engines, batch_sweep, "
            "hardware_analysis, summary, calibration, compare, got brand_new\n",
        ),
        (
            ["calibrate", "--profile", "brand_new"],
            "inferbench: profile: expected one of gtx_750_ti, quick, standard, thorough, got brand_new\n",
        ),
    ],
)
def test_unknown_names_end_with_2_before_anything_is_measured(
    arguments: list[str], message: str, reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what is known and what came; no report is begun."""
    assert main(arguments) == 2
    assert capsys.readouterr().err == message
    assert not reports.exists()


def test_arguments_of_jupyterlab_are_none_of_a_report(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An argument that no command knows is refused; JupyterLab alone gets what is not ours."""
    with pytest.raises(SystemExit) as ended:
        main(["report", "--no-browser"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("error: unrecognized arguments: --no-browser\n")
    assert not reports.exists()


def test_lab_is_on_loopback_and_takes_jupyterlabs_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """JupyterLab replaces the process, on 127.0.0.1, in the repository, our arguments before yours."""
    called: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: called.append([path, *arguments]))
    monkeypatch.setenv("JUPYTER_PATH", "/elsewhere")
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    with pytest.raises(TypeError):  # execv never returns
        main(["lab", "--no-browser"])
    ours = [f"--notebook-dir={ROOT}", "--ServerApp.ip=127.0.0.1", "--LabApp.default_url=/lab/tree/notebooks/START.md"]
    ours += [
        f"--LabApp.app_settings_dir={ROOT}/inferbench_lib/lab",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    assert called == [[sys.executable, sys.executable, "-m", "jupyterlab", *ours, "--no-browser"]]
    assert "JUPYTER_PATH" not in os.environ
    assert os.environ["JUPYTER_PREFER_ENV_PATH"] == "1"


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "soon"])
def test_a_time_limit_is_whole_seconds(text: str, reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A limit that is no number of seconds from 1 on is refused by name."""
    with pytest.raises(SystemExit) as ended:
        main(["report", f"--timeout-s={text}"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(
        f"argument --timeout-s: expected a whole number of seconds, at least 1, got {text}\n"
    )
    assert not reports.exists()


def test_reports_that_cannot_be_kept_end_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no report can be written, the command says so in one line, before it measures."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INFERBENCH_REPORTS", str(tmp_path / "file"))
    assert main(["report", "--profile", "quick"]) == 1
    assert capsys.readouterr().err == (
        "inferbench: file: expected a writable folder, got: File exists; "
        "make it writable or choose another with INFERBENCH_REPORTS=\n"
    )


def test_index_is_rebuilt_and_named(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`index` makes the index of whatever runs there are, none among them, and prints where it is."""
    assert main(["index"]) == 0
    assert capsys.readouterr().out == f"{reports / 'index.html'}\n"
    assert (reports / "index.html").read_text().startswith("<!doctype html>")


def test_ctrl_c_outside_a_report_is_one_line(
    reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interrupt before the report begins ends with 130 and no traceback."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("inferbench_lib.report.index.write_index", interrupted)
    assert main(["index"]) == 130
    assert capsys.readouterr().err == "inferbench: interrupted\n"


@pytest.mark.parametrize("command", ["report", "calibrate", "compare", "index", "lab"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` of each command ends with 0."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"{command} [-h]" in capsys.readouterr().out


def test_help_is_quick() -> None:
    """The command line itself loads no framework, so that help and mistakes answer at once."""
    program = (
        "import sys\nfrom inferbench_lib.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'sklearn', 'pandas', 'papermill', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
