"""The mutation run itself: on a toy it tells the killed from the survivors, and its table keeps up with the sources."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mutant_table import ITEMS, MUTANTS, Mutant
from mutants import ROOT, problems

DOUBLE = "def double(x):\n    return 2 * x\n"
DOUBLES = "from inferbench_lib.toy import double\n\ndef test_double():\n    assert double(3) == 6\n"
TEST = "tests/test_toy.py::test_double"
RUN = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from mutant_table import Mutant
from mutants import run
sys.exit(run([Mutant(**fields) for fields in json.loads(sys.argv[3])], Path(sys.argv[2]), timeout_s=float(sys.argv[4])))
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A checkout of one function and one test."""
    for name, text in (
        ("inferbench_lib/__init__.py", ""),
        ("inferbench_lib/toy.py", DOUBLE),
        ("tests/test_toy.py", DOUBLES),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def change(**fields: Any) -> dict[str, Any]:
    """A change of the toy's only expression, unless told otherwise."""
    return {"name": "it", "file": "inferbench_lib/toy.py", "old": "2 * x", "new": "3 * x", "test": TEST} | fields


def run(root: Path, *changes: dict[str, Any], timeout_s: float = 60) -> tuple[int, list[str]]:
    """Exit code and lines of a run on the toy, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(Path(__file__).parent), str(root), json.dumps(changes), str(timeout_s)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_killed_and_equivalent_mutants_pass(toy: Path) -> None:
    """A wrong answer is killed, an equivalent change is listed with its reason, and the checkout stays as it was."""
    same = change(name="the same", new="x * 2", test="", equivalent="multiplication commutes")
    code, lines = run(toy, change(item="speedup inverted"), same)
    assert lines[:-1] == [
        f"killed     speedup inverted: it · {TEST}",
        "equivalent the same · multiplication commutes",
    ]
    assert lines[-1].startswith("2 mutants: 1 equivalent, 1 killed; 1 tests, ")
    assert code == 0
    assert (toy / "inferbench_lib/toy.py").read_text() == DOUBLE


def test_a_mutant_that_does_not_end_is_killed(toy: Path) -> None:
    """An endless loop is ended after its time, and counts as noticed."""
    code, lines = run(toy, change(old="    return 2 * x", new="    while True:\n        pass"), timeout_s=3)
    assert (code, lines[0]) == (0, f"killed     it · no end within 3 s of {TEST}")


def test_a_survivor_fails_the_run(toy: Path) -> None:
    """A change that its test does not notice is exit 1, whatever the others."""
    code, lines = run(toy, change(), change(name="adds", new="x + x"))
    assert (code, lines[1]) == (1, f"SURVIVED   adds · {TEST}")
    assert lines[-1].startswith("2 mutants: 1 killed, 1 SURVIVED; 1 tests, ")


def test_a_mutant_that_is_no_python_is_not_called_killed(toy: Path) -> None:
    """Where the test could not even be collected nothing was shown, and the run fails."""
    code, lines = run(toy, change(new="2 *"))
    assert code == 1
    assert lines[0].startswith("CANNOT RUN it · pytest ended with ")
    assert any("SyntaxError" in line for line in lines)


def test_tests_that_fail_anyway_kill_nothing(toy: Path) -> None:
    """A test that fails on the sound source ends the run before any mutant is tried."""
    (toy / "inferbench_lib/toy.py").write_text(DOUBLE.replace("2", "4"))
    code, lines = run(toy, change(old="4 * x"))
    assert (code, lines[-1]) == (1, "These tests fail without any mutant; correct that first.")
    assert not any(line.startswith("killed") for line in lines)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([change(old="5")], "it: no longer applies: expected its old text once in inferbench_lib/toy.py, got it 0 ×"),
        ([change(old="x")], "it: no longer applies: expected its old text once in inferbench_lib/toy.py, got it 2 ×"),
        ([change(file="gone.py")], "it: no longer applies: expected its old text once in gone.py, got it 0 ×"),
        ([change(test="")], "it: expected either a test that kills it or the reason why none can"),
        ([change(equivalent="so")], "it: expected either a test that kills it or the reason why none can"),
        ([change(), change()], "it: expected one mutant of that name, got 2"),
        ([change(item="luck")], "luck: it: expected an item of the list, got luck"),
    ],
)
def test_a_row_that_says_nothing_is_refused(toy: Path, changes: list[dict[str, Any]], said: str) -> None:
    """A stale or ambiguous text, neither test nor reason, a name twice and an unknown item: each in a sentence."""
    assert problems([Mutant(**fields) for fields in changes], (), toy) == [said]


def test_an_item_without_a_mutant_is_missed(toy: Path) -> None:
    """Each item needs a mutant that can be killed; an equivalent one does not stand for it."""
    only = Mutant(**change(item="NaN output", test="", equivalent="so"))
    assert problems([only], ("NaN output",), toy) == ["NaN output: expected a mutant that stands for it, got none"]


def test_the_table_fits_the_sources() -> None:
    """Every mutant applies to the source as it is now, and every item of the list has one."""
    assert problems(MUTANTS, ITEMS, ROOT) == []
    assert len(ITEMS) == 21
