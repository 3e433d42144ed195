"""The README's words for adding a part, followed in a copy of the tree, make parts that run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(?:python|yaml)\n# (?P<path>[\w/.]+)(?P<more>[^\n]*)\n(?P<body>.*?)^```$", re.M | re.S)
CELL = re.compile(r"^# %%(?P<about>[^\n]*)\n", re.M)
TINY = {"min_rounds": 1, "max_rounds": 1, "time_limit_s": 1.0}
FOREST = {"n_features": 4, "n_trees": 3, "n_train": 200}
PARAMS = {
    "batch_sweep": {**TINY, **FOREST, "batch_sizes": {"forest": [1, 20], "digits": [1, 20]}}
    | {"engines": ["sklearn", "proba"], "measure_memory": False},
    "cpu_multiprocess": {**TINY, "workload": "digits", "n_samples": 400, "batch_size": 100, "n_processes": 2}
    | {"executors": ["single", "joblib_threads"], "cold_executors": [], "measure_memory": False},
    "hardware_analysis": {**TINY, "workloads": ["digits"], "budget_s": 0.1, "default_threads_s": None},
    "first_call": TINY,
}
ALLOWED = {"engine": 2, "workload": 2, "executor": 1, "notebook": 6}
"""Files that a part may touch."""


def recipes() -> dict[str, list[tuple[str, str, str]]]:
    """The file, what is said of it, and its text, of each block of each recipe."""
    text = (ROOT / "README.md").read_text().partition("## Add your own")[2].partition("\n## ")[0]
    sections = re.split(r"^### An? (\w+):[^\n]*\n", text, flags=re.M)[1:]
    return {
        name: [(m["path"], m["more"], m["body"]) for m in BLOCK.finditer(body)]
        for name, body in zip(sections[::2], sections[1::2], strict=True)
    }


def notebook_of(body: str) -> str:
    """A notebook of the cells that a text in percent format holds."""
    parts = CELL.split(body)[1:]
    cells = []
    for about, source in zip(parts[::2], parts[1::2], strict=True):
        if "[markdown]" in about:
            cells.append(nbformat.v4.new_markdown_cell(re.sub(r"^# ?", "", source.strip(), flags=re.M)))
        else:
            tags = {"tags": ["parameters"]} if "parameters" in about else {}
            cells.append(nbformat.v4.new_code_cell(source.strip(), metadata=tags))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=kernel))


def with_line(text: str, dictionary: str, body: str) -> str:
    """A file with the block's import beside the others and its line in the dictionary."""
    imported, line = body.splitlines()
    text = re.sub(r"^(from inferbench_lib\.)", rf"{imported}\n\1", text, count=1, flags=re.M)
    changed = re.sub(rf"^({dictionary}: .* = {{\n)", rf"\g<1>{line}\n", text, count=1, flags=re.M)
    assert changed != text, f"no dictionary {dictionary}"
    return changed


def follow(tree: Path, path: str, more: str, body: str) -> None:
    """Do what one block says in a copy of the tree."""
    target = tree / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.write_text(with_line(target.read_text(), more.removeprefix(", "), body))
    else:
        target.write_text(notebook_of(body) if target.suffix == ".ipynb" else body)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder of a report that all four new parts take part in."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("inferbench_lib", "notebooks", "params"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for blocks in recipes().values():
        for block in blocks:
            follow(tree, *block)
    for name, values in PARAMS.items():
        path = tree / "params" / "tiny" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(values))
    done = subprocess.run(
        [sys.executable, "-m", "inferbench_lib", "report", "--profile", "tiny"]
        + [word for name in PARAMS for word in ("--notebook", name)],
        cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tree / "reports").glob("*-tiny")
    return folder


def test_each_recipe_touches_the_files_that_it_may() -> None:
    """An engine or a workload is a file and a line, an executor a file, a notebook its folder, itself, parameters."""
    assert {name: len(blocks) for name, blocks in recipes().items()} == ALLOWED
    existing = {name: [path for path, *_ in blocks if (ROOT / path).exists()] for name, blocks in recipes().items()}
    assert existing == {
        "engine": ["inferbench_lib/work/engines/__init__.py"],
        "workload": ["inferbench_lib/work/__init__.py"],
        "executor": [],
        "notebook": [],
    }


def test_recipes_are_as_short_as_promised() -> None:
    """Lines of the new files: an engine about 40, a workload 60, an executor 50, a notebook 150."""
    lines = {name: sum(body.count("\n") for *_, body in blocks) for name, blocks in recipes().items()}
    assert all(lines[name] <= most for name, most in (("engine", 40), ("workload", 60), ("executor", 50)))
    assert lines["notebook"] <= 150


def test_new_engine_and_workload_are_measured_and_verified(report: Path) -> None:
    """Both engines stand beside each other for both workloads, each output equal to the reference."""
    cells = json.loads((report / "data" / "batch_sweep.json").read_text())["measurements"]
    found = {(c["case"]["workload"], c["case"]["engine"], c["case"]["batch_size"]): c["outcome"] for c in cells}
    assert found == {
        (work, engine, size): "ok"
        for work in ("forest", "digits")
        for engine in ("sklearn", "proba")
        for size in (1, 20)
    }
    assert all(cell["verification"]["passed"] for cell in cells)
    hardware = json.loads((report / "data" / "hardware_analysis.json").read_text())["measurements"]
    assert {(cell["case"]["workload"], cell["outcome"]) for cell in hardware} == {("digits", "ok")}


def test_new_executor_is_measured_and_verified(report: Path) -> None:
    """Its row stands beside one process, and where its time went too."""
    cells = json.loads((report / "data" / "cpu_multiprocess.json").read_text())["measurements"]
    found = {cell["case"]["executor"]: cell for cell in cells}
    assert set(found) == {"single", "joblib_threads"}
    assert found["joblib_threads"]["outcome"] == "ok"
    assert {span["kind"] for span in found["joblib_threads"]["spans"][0]} == {"call", "compute"}
    assert "joblib's threads" in (report / "cpu_multiprocess.html").read_text()


def test_new_notebook_has_its_page_and_figures(report: Path) -> None:
    """Its sentence is on its page, and its figures are in summary.json."""
    assert "The first call of forest takes" in (report / "first_call.html").read_text()
    assert json.loads((report / "summary.json").read_text())["first_call/first_call_s[forest]"]["value"] > 0
