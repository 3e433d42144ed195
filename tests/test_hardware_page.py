"""The hardware page is the one with the most pictures, and stays small all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from thorough_hardware import thorough_hardware
from tiny import make_report

from inferbench_lib import store

LIMIT_BYTES = 400_000


@pytest.mark.timeout(300)
def test_the_page_of_a_thorough_run_is_small(tmp_path: Path) -> None:
    """At most 400 kB with three networks on 16 CPUs, all pictures twice and all its samples inside."""
    stored, folder = "20260712-140302-thorough", tmp_path / "params" / "thorough"
    store.save_run(replace(thorough_hardware(), run_id=stored), tmp_path / "reports" / stored)
    folder.mkdir(parents=True)
    (folder / "hardware_analysis.yaml").write_text(yaml.safe_dump({"reuse": stored}))
    made = make_report(tmp_path, "thorough", ("hardware_analysis",), tmp_path / "params")
    assert made.code == 0, made.said
    page = made.folder / "hardware_analysis.html"
    assert page.read_text().count("<figure") == 6
    (inside,) = store.embedded(page)
    assert len(inside.measurements) == len(thorough_hardware().measurements)
    assert page.stat().st_size <= LIMIT_BYTES
