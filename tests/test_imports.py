"""The house has layers: every import points down, no module needs itself, and importing the library is light."""

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

GROUND = {"records", "errors"}
BELOW_MEASURE = GROUND | {"findings", "stats", "timing", "processes", "executors", "work", "machine"}
MEASURING = BELOW_MEASURE | {"config", "store", "progress", "privacy", "measure", "studies.common"}
SHOWING = GROUND | {"findings", "store", "stats", "privacy"}
# Each layer of inferbench_lib, and what else of inferbench_lib it may import. A study's files are layers of their own.
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "bootstrap": set(),
    "records": set(),
    "errors": set(),
    "progress": set(),
    "privacy": set(),
    "findings": {"records"},
    "config": {"errors"},
    "store": GROUND | {"privacy"},
    "stats": {"records", "findings"},
    "timing": GROUND,
    "processes": GROUND | {"timing"},
    "executors": GROUND | {"timing", "processes"},
    "work": GROUND,
    "machine": GROUND | {"timing", "processes"},
    "measure": MEASURING - {"measure", "studies.common"},
    "report": SHOWING | {"progress"},
    "studies": GROUND | {"config", "store", "stats"},
    "studies.batch_loop": GROUND,
    "studies.voice": SHOWING | {"report", "studies"},
    "studies.common": MEASURING - {"studies.common"},
    "params": {"config", "work", "executors"},
    "study": {"records", "findings", "stats"},
    "page": SHOWING | {"report", "study", "executors", "work", "studies", "studies.voice"} | {"studies.batch_loop"},
    "measuring": MEASURING | {"study", "params", "studies"},
    "plan": GROUND | {"config", "store", "report", "studies", "studies.voice", "params", "measuring"},
    "__main__": GROUND | {"plan", "report", "store", "studies", "studies.voice", "params", "measuring"},
}
ONLY_IN = {"papermill": "inferbench_lib/report/notebooks.py", "nbconvert": "inferbench_lib/report/pages.py"}
"""Frameworks with one door each."""
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


def module_of(root: Path, name: str) -> Path | None:
    """The file of the library that a dotted name leads to, None for another library's."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        path = root.joinpath(*parts[:n])
        if path.with_suffix(".py").exists():
            return path.with_suffix(".py")
        if (path / "__init__.py").exists():
            return path / "__init__.py"
    return None


def layer_of(path: Path) -> str:
    """The layer that a file, relative to the library, belongs to."""
    parts = path.with_suffix("").parts
    if parts[0] != "studies":
        return parts[0]
    if len(parts) == 2:
        return "studies" if parts[1] == "__init__" else f"studies.{parts[1]}"
    tree = (ROOT / PACKAGE / path).read_text() if (ROOT / PACKAGE / path).exists() else ""
    if parts[2] in ("params", "measure", "__init__"):
        return {"params": "params", "measure": "measuring", "__init__": "study"}[parts[2]]
    if f"{PACKAGE}.measure" in tree:
        return "measuring"  # a bench of the study's own
    is_page = f"{PACKAGE}.report" in tree or parts[2].startswith("page")
    return "page" if is_page else "study"


def files(root: Path) -> list[Path]:
    """Every module of the library, relative to it."""
    return sorted(path.relative_to(root / PACKAGE) for path in (root / PACKAGE).rglob("*.py"))


def needs(root: Path) -> dict[Path, set[Path]]:
    """Which modules of the library each one imports."""
    found: dict[Path, set[Path]] = {}
    for path in files(root):
        package = ".".join((PACKAGE, *path.parent.parts))
        names = imported(ast.parse((root / PACKAGE / path).read_text()), package)
        targets = (module_of(root, name) for name in names if name.split(".")[0] == PACKAGE)
        found[path] = {target.relative_to(root / PACKAGE) for target in targets if target} - {path}
    return found


def library_violations(root: Path) -> list[str]:
    """Each import of the library that points sideways or up, or passes a framework's one door by."""
    found = []
    for path, targets in needs(root).items():
        where, layer = f"{PACKAGE}/{path.as_posix()}", layer_of(path)
        if layer not in MAY_IMPORT:
            found.append(f"{where}: no layer is named for it")
            continue
        for target in sorted(targets):
            other = layer_of(target)
            if (
                target.parts[:2] != path.parts[:2]
                and layer in ("params", "study", "page", "measuring")
                and (other == layer and target.parts[0] == "studies")
            ):
                found.append(f"{where}: imports another study's {target.as_posix()}")
            elif other not in MAY_IMPORT[layer] | {layer, "__init__"}:
                found.append(f"{where}: imports {target.as_posix()}")
        for name in imported(ast.parse((root / PACKAGE / path).read_text())):
            top = name.split(".")[0]
            if top in ONLY_IN and where != ONLY_IN[top]:
                found.append(f"{where}: imports {name}, which is for {ONLY_IN[top]}")
    return found


def circles(root: Path) -> list[str]:
    """Modules that need themselves, through whichever others; a package's own `__init__` does not count."""
    graph = {path: {t for t in targets if t.name != "__init__.py"} for path, targets in needs(root).items()}

    def reached(start: Path) -> set[Path]:
        seen: set[Path] = set()
        waiting = list(graph[start])
        while waiting:
            if (path := waiting.pop()) not in seen:
                seen.add(path)
                waiting += graph[path]
        return seen

    return [path.as_posix() for path in graph if path in reached(path)]


def notebook_violations(root: Path) -> list[str]:
    """Each import of a notebook that is neither inferbench_lib itself, nor a study's page, nor another library."""
    ours = {path.stem for folder in (root, root / "tests") for path in folder.iterdir()} - {PACKAGE}
    found = []
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                for name in imported(ast.parse("".join(cell["source"]))):
                    parts = name.split(".")
                    is_page = parts[1:2] == ["studies"] and parts[-1].startswith("page")
                    if parts[0] in ours or (parts[0] == PACKAGE and len(parts) > 1 and not is_page):
                        found.append(f"notebooks/{path.name}: imports {name}")
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


def test_no_modules_need_each_other() -> None:
    """Following imports from any module never leads back to it, inside folders too."""
    assert circles(ROOT) == []


def test_layers_are_ordered() -> None:
    """Following what may be imported never leads back to the same layer."""

    def below(layer: str) -> set[str]:
        return MAY_IMPORT[layer].union(*map(below, MAY_IMPORT[layer]))

    assert [layer for layer in MAY_IMPORT if layer in below(layer)] == []


@pytest.mark.parametrize(
    ("where", "line", "expected"),
    [
        ("timing/clock.py", "from inferbench_lib.report import words", "imports report/words.py"),
        ("timing/clock.py", "def f():\n    import inferbench_lib.machine.facts", "imports machine/facts.py"),
        ("timing/clock.py", "from inferbench_lib import progress", "imports progress.py"),
        ("timing/clock.py", "from ..report import words", "imports report/words.py"),
        ("stats/scaling.py", "from inferbench_lib.errors import X", "imports errors.py"),
        ("records.py", "from . import errors", "imports errors.py"),
        ("store.py", "from inferbench_lib.config import X", "imports config.py"),
        ("report/words.py", "from inferbench_lib.studies.a.page import X", "imports studies/a/page.py"),
        ("studies/a/study.py", "from inferbench_lib.store import X", "imports store.py"),
        ("studies/a/page.py", "from inferbench_lib.studies.a.measure import X", "imports studies/a/measure.py"),
        ("studies/a/measure.py", "from inferbench_lib.studies.a.page import X", "imports studies/a/page.py"),
        ("studies/a/page.py", "from inferbench_lib.studies.b.page import X",
         "imports another study's studies/b/page.py"),
        ("report/words.py", "import papermill", "imports papermill, which is for inferbench_lib/report/notebooks.py"),
        ("report/notebooks.py", "from nbconvert import X",
         "imports nbconvert.X, which is for inferbench_lib/report/pages.py"),
        ("attic.py", "", "no layer is named for it"),
    ],
)  # fmt: skip
def test_import_that_points_up_is_seen(where: str, line: str, expected: str, tmp_path: Path) -> None:
    """Each way of writing a forbidden import is found in a library that is otherwise in order."""
    modules = {"records.py", "errors.py", "progress.py", "privacy.py", "config.py", "store.py", "__init__.py"}
    modules |= {f"studies/{study}/{part}.py" for study in "ab" for part in ("params", "measure", "study", "page")}
    for module in modules | {"timing/clock.py", "stats/scaling.py", "report/words.py", "machine/facts.py"}:
        path = tmp_path / PACKAGE / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import json\nfrom inferbench_lib import __version__\n")
    assert library_violations(tmp_path) == []
    (tmp_path / PACKAGE / where).write_text(line)
    assert library_violations(tmp_path) == [f"inferbench_lib/{where}: {expected}"]


def test_modules_that_need_each_other_are_seen(tmp_path: Path) -> None:
    """A circle within one folder is found, be it through a third module."""
    for name, other in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")):
        path = tmp_path / PACKAGE / "stats" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"from inferbench_lib.stats import {other}\n")
    (tmp_path / PACKAGE / "stats/__init__.py").touch()
    assert circles(tmp_path) == ["stats/a.py", "stats/b.py", "stats/c.py"]


def test_notebooks_import_the_library_and_their_page() -> None:
    """Notebooks import inferbench_lib and pages of studies, nothing else of ours."""
    assert notebook_violations(ROOT) == []


def test_notebook_that_reaches_around_is_seen(tmp_path: Path) -> None:
    """A notebook that imports a helper of the tests, or a part below the pages, is found."""
    for folder in ("notebooks", "tests", PACKAGE):
        (tmp_path / folder).mkdir()
    (tmp_path / "tests/helper.py").touch()
    cells = [
        {"cell_type": "markdown", "source": ["import helper"]},
        {"cell_type": "code", "source": ["import numpy\n", "from inferbench_lib.studies.a import page"]},
        {"cell_type": "code", "source": ["from helper import value\n", "from inferbench_lib.measure import bench"]},
    ]
    (tmp_path / "notebooks/one.ipynb").write_text(json.dumps({"cells": cells}))
    assert notebook_violations(tmp_path) == [
        "notebooks/one.ipynb: imports helper.value",
        "notebooks/one.ipynb: imports inferbench_lib.measure.bench",
    ]


def test_library_is_light() -> None:
    """Importing the library loads neither torch nor scikit-learn nor SciPy nor matplotlib nor pandas."""
    assert loaded(ROOT, f"import {PACKAGE}") == []


def test_benches_are_light() -> None:
    """A process for a bench loads only what its engine needs: importing every source loads no framework."""
    sources = ("measure.calls", "measure.executor_passes", "studies.hardware_analysis.profile")
    assert loaded(ROOT, "import " + ", ".join(f"{PACKAGE}.{name}" for name in sources)) == []


def test_heavy_library_is_seen(tmp_path: Path) -> None:
    """A library that imports a framework at its top is found."""
    (tmp_path / f"{PACKAGE}.py").write_text("import pandas\n")
    assert loaded(tmp_path, f"import {PACKAGE}") == ["pandas"]


def test_bootstrap_needs_the_standard_library_alone() -> None:
    """The installation imports nothing that would have to be installed first."""
    tree = ast.parse((ROOT / PACKAGE / "bootstrap.py").read_text())
    assert {name.split(".")[0] for name in imported(tree)} <= sys.stdlib_module_names


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    """Every file of the library has at most 250 lines."""
    lengths = {path.as_posix(): len((ROOT / PACKAGE / path).read_text().splitlines()) for path in files(ROOT)}
    assert {name: n for name, n in lengths.items() if n > 250} == {}
