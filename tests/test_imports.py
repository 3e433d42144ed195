"""The house has floors: every import points down, and importing the library stays light."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "inferbench_lib"

GROUND = {"records", "errors", "progress", "privacy"}
ROOMS = GROUND | {"analysis", "workloads", "engines", "timing", "parallel", "machine"}
# How a measurement is conducted, between the rooms and `experiments`: all but the session leave params and files alone.
CONDUCT = ROOMS | {
    "settings",
    "config",
    "store",
    "benches",
    "variants",
    "executor_bench",
    "passes",
    "configured",
    "rounds",
    "session",
}
# Each module or folder of inferbench_lib, and what else of inferbench_lib it may import.
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "bootstrap": set(),
    "records": set(),
    "errors": set(),
    "progress": set(),
    "privacy": set(),
    "settings": GROUND,
    "config": GROUND | {"settings"},
    "store": GROUND,
    "analysis": {"records"},
    "workloads": {"records", "errors"},
    "engines": {"records", "errors", "workloads"},
    "timing": {"records", "errors"},
    "parallel": {"records", "errors", "timing"},
    "machine": {"records", "errors", "timing", "parallel"},
    "benches": ROOMS,
    "variants": ROOMS | {"benches"},
    "executor_bench": ROOMS | {"benches"},
    "passes": ROOMS,
    "configured": ROOMS | {"benches", "variants", "passes"},
    "rounds": ROOMS | {"benches", "variants"},
    "session": CONDUCT - {"session"},
    "probes": ROOMS | {"benches"},
    "report": GROUND | {"settings", "config", "store", "analysis"},
    "experiments": CONDUCT | {"report"},
    "calibrate": CONDUCT | {"probes", "report"},
    "__main__": CONDUCT | {"report", "experiments"},
}
# Frameworks with one door each.
ONLY_IN = {"papermill": "inferbench_lib/report/notebooks.py", "nbconvert": "inferbench_lib/report/pages.py"}
HEAVY = ("torch", "sklearn", "scipy", "matplotlib", "pandas")


def imported(tree: ast.AST, package: str = "") -> Iterator[str]:
    """The dotted name of each import, also inside functions; `from a import b` is a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: -(node.level - 1) or None] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def group_of(root: Path, name: str) -> str:
    """The module or folder of inferbench_lib that a dotted name leads to."""
    second = name.split(".")[1] if "." in name else "__init__"
    there = root / PACKAGE / second
    return second if there.is_dir() or there.with_suffix(".py").exists() else "__init__"


def library_violations(root: Path) -> list[str]:
    """Each import of the library that points sideways or up, or passes a framework's one door by."""
    found = []
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        where, group = path.relative_to(root).as_posix(), parts[1]
        if group not in MAY_IMPORT:
            found.append(f"{where}: no floor is named for it")
            continue
        for name in imported(ast.parse(path.read_text()), ".".join(parts[:-1])):
            top = name.split(".")[0]
            if top == PACKAGE and group_of(root, name) not in MAY_IMPORT[group] | {group, "__init__"}:
                found.append(f"{where}: imports {name}")
            if top in ONLY_IN and where != ONLY_IN[top]:
                found.append(f"{where}: imports {name}, which is for {ONLY_IN[top]}")
    return found


def notebook_violations(root: Path) -> list[str]:
    """Each import of a notebook that names something of this repository other than inferbench_lib."""
    ours = {path.stem for folder in (root, root / "tests") for path in folder.iterdir()} - {PACKAGE}
    found = []
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                names = imported(ast.parse("".join(cell["source"])))
                found += [f"notebooks/{path.name}: imports {name}" for name in names if name.split(".")[0] in ours]
    return found


def loaded(root: Path, statement: str) -> list[str]:
    """Which heavy frameworks a fresh process holds after a statement."""
    code = f"import sys; {statement}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.split()


def test_imports_point_down() -> None:
    """No module of the library imports one beside or above it."""
    assert library_violations(ROOT) == []


def test_each_floor_exists_once() -> None:
    """The floors are ordered: following what may be imported never leads back."""

    def below(group: str) -> set[str]:
        return MAY_IMPORT[group].union(*map(below, MAY_IMPORT[group]))

    assert [group for group in MAY_IMPORT if group in below(group)] == []


@pytest.mark.parametrize(
    ("where", "line", "expected"),
    [
        ("timing/clock.py", "from inferbench_lib.report import words", "imports inferbench_lib.report.words"),
        ("timing/clock.py", "def f():\n    import inferbench_lib.machine", "imports inferbench_lib.machine"),
        ("timing/clock.py", "from inferbench_lib import progress", "imports inferbench_lib.progress"),
        ("timing/clock.py", "from ..report import words", "imports inferbench_lib.report.words"),
        ("analysis/scaling.py", "from inferbench_lib.errors import X", "imports inferbench_lib.errors.X"),
        ("records.py", "from . import errors", "imports inferbench_lib.errors"),
        ("store.py", "from inferbench_lib.config import X", "imports inferbench_lib.config.X"),
        ("report/words.py", "from inferbench_lib.experiments import X", "imports inferbench_lib.experiments.X"),
        ("report/words.py", "import papermill", "imports papermill, which is for inferbench_lib/report/notebooks.py"),
        (
            "report/notebooks.py",
            "from nbconvert import X",
            "imports nbconvert.X, which is for inferbench_lib/report/pages.py",
        ),
        ("attic.py", "", "no floor is named for it"),
    ],
)
def test_import_that_points_up_is_seen(where: str, line: str, expected: str, tmp_path: Path) -> None:
    """Each way of writing a forbidden import is found in a library that is otherwise in order."""
    modules = {f"{group}.py" for group in MAY_IMPORT} - {"timing.py", "analysis.py", "report.py", "machine.py"}
    for module in modules | {"timing/clock.py", "analysis/scaling.py", "report/words.py", "machine/facts.py"}:
        path = tmp_path / PACKAGE / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import json\nfrom inferbench_lib import __version__\n")
    assert library_violations(tmp_path) == []
    (tmp_path / PACKAGE / where).write_text(line)
    assert library_violations(tmp_path) == [f"inferbench_lib/{where}: {expected}"]


def test_notebooks_import_the_library_alone() -> None:
    """Notebooks import nothing of ours but inferbench_lib."""
    assert notebook_violations(ROOT) == []


def test_notebook_that_reaches_around_is_seen(tmp_path: Path) -> None:
    """A notebook that imports a helper of the tests is found; the library, and prose, are not."""
    for folder in ("notebooks", "tests", PACKAGE):
        (tmp_path / folder).mkdir()
    (tmp_path / "tests/helper.py").touch()
    cells = [
        {"cell_type": "markdown", "source": ["import helper"]},
        {"cell_type": "code", "source": ["import numpy\n", "from inferbench_lib import experiments"]},
        {"cell_type": "code", "source": ["from helper import value\n", "import tests.helper"]},
    ]
    (tmp_path / "notebooks/one.ipynb").write_text(json.dumps({"cells": cells}))
    assert notebook_violations(tmp_path) == [
        "notebooks/one.ipynb: imports helper.value",
        "notebooks/one.ipynb: imports tests.helper",
    ]


def test_library_is_light() -> None:
    """Importing the library loads neither torch nor scikit-learn nor SciPy nor matplotlib nor pandas."""
    assert loaded(ROOT, f"import {PACKAGE}") == []


def test_benches_are_light() -> None:
    """A process for a variant loads only what its workload needs: importing every bench loads no framework."""
    assert loaded(ROOT, f"import {PACKAGE}.variants, {PACKAGE}.probes") == []


def test_heavy_library_is_seen(tmp_path: Path) -> None:
    """A library that imports a framework at its top is found."""
    (tmp_path / f"{PACKAGE}.py").write_text("import pandas\n")
    assert loaded(tmp_path, f"import {PACKAGE}") == ["pandas"]


def test_bootstrap_needs_the_standard_library_alone() -> None:
    """The installation imports nothing that would have to be installed first."""
    tree = ast.parse((ROOT / PACKAGE / "bootstrap.py").read_text())
    assert {name.split(".")[0] for name in imported(tree)} <= sys.stdlib_module_names
