"""The README's picture is of a real, whole run of the reference workload."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import picture
import pytest

ROOT = Path(__file__).parents[1]


def run(reports: Path, name: str, **about: Any) -> Path:
    """A run's folder with its manifest and page."""
    manifest = {"status": "complete", "simulated": False, "profile": "standard", "started_at": name} | about
    (reports / name).mkdir(parents=True)
    (reports / name / "manifest.json").write_text(json.dumps(manifest))
    page = reports / name / picture.PAGE
    page.write_text("<!doctype html><title>A page</title><p>text")
    return page


def test_the_newest_whole_run_of_the_reference_workload_is_taken(tmp_path: Path) -> None:
    """Incomplete, simulated and other runs, and those without the page, are passed over, however new."""
    assert picture.newest_page(tmp_path) is None
    run(tmp_path, "1")
    wanted = run(tmp_path, "2")
    run(tmp_path, "3", status="incomplete")
    run(tmp_path, "4", simulated=True)
    run(tmp_path, "5", profile="quick")
    run(tmp_path, "6").unlink()
    assert picture.newest_page(tmp_path) == wanted


def test_a_picture_is_taken(tmp_path: Path, browser_path: str) -> None:
    """It is a PNG of the size asked for."""
    picture.take(run(tmp_path, "1"), tmp_path / "picture.png", browser_path)
    header = (tmp_path / "picture.png").read_bytes()[:24]
    assert struct.unpack(">II", header[16:]) == (picture.WIDTH, picture.HEIGHT)


def test_without_a_run_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The picture that there is stays."""
    monkeypatch.setattr(picture, "REPORTS", tmp_path)
    assert picture.main() == 1
    assert capsys.readouterr().err == "picture: expected a complete run of standard, got none; make report\n"


def test_the_readme_shows_it() -> None:
    """README.md shows the file that is made, and it is there."""
    assert "](reports/example.png)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / "reports" / "example.png").stat().st_size > 10_000
