"""Every parameter file is usable, and every notebook's parameters are its model's, in a notebook one likes to read."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from inferbench_lib import config, studies

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARAMS = sorted((ROOT / "params").glob("*/*.yaml"))
PROFILES = ("gtx_750_ti", "quick", "standard", "thorough")
MOST_LINES = 8


def one_of_each(paths: list[Path], **more: Any) -> Any:
    """A test for each file, named after it."""
    return pytest.mark.parametrize("path", paths, ids=["/".join(path.parts[-2:]) for path in paths], **more)


def parameters_cell(path: Path) -> dict[str, Any]:
    """What papermill finds in a notebook's parameters cell: literal values by name."""
    found = papermill.inspect_notebook(str(path))
    return {name: ast.literal_eval(item["default"]) for name, item in found.items()}


def cell_faults(notebook: Any) -> list[str]:
    """What makes a notebook long, committed with results, or hard to follow."""
    faults = []
    heading = ""
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            heading = cell.source.splitlines()[0]
            continue
        if cell.outputs or cell.execution_count is not None:
            faults.append(f"cell {number}: has outputs")
        if "parameters" not in cell.metadata.get("tags", ()) and len(cell.source.splitlines()) > MOST_LINES:
            faults.append(f"cell {number}: has more than {MOST_LINES} lines")
        tree = ast.parse(cell.source)
        if any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)
            for node in ast.walk(tree)
        ):
            faults.append(f"cell {number}: defines something")
        if "ib.show(" in cell.source and not (heading.startswith("## ") and heading.endswith("?")):
            faults.append(f"cell {number}: shows a figure without asking a question")
        heading = ""
    return faults


def test_every_profile_has_every_notebook() -> None:
    """The four profiles hold one file for each notebook and nothing else."""
    expected = {(profile, name) for profile in PROFILES for name in studies.names()}
    assert {(path.parent.name, path.stem) for path in PARAMS} == expected


@one_of_each(PARAMS)
def test_parameter_file_is_valid(path: Path) -> None:
    """What is committed passes the same validation as a user's own file."""
    assert studies.load(path) == studies.build(path.stem, config.read_params(path))


def test_standard_is_the_reference_workload() -> None:
    """`standard` names the published sizes: 500,000 × 50, a row of 4 processes; batches 1 to 16, 10 + 50.

    All other ways take the usable CPUs, and each process one batch.
    """
    forest = studies.load(ROOT / "params/standard/cpu_multiprocess.yaml").model_dump()
    network = studies.load(ROOT / "params/standard/cpu_vs_gpu.yaml").model_dump()
    names = ("n_samples", "n_features", "reference_processes", "n_processes", "batch_size")
    assert [forest[name] for name in names] == [500_000, 50, 4, None, None]
    assert (network["batch_sizes"], network["warmup"]) == ([1, 2, 4, 8, 16], 10)
    assert network["iterations"] == {"cnn-small": 50, "cnn-medium": 20, "cnn-large": 10}


def test_gtx_750_ti_caps_memory_at_two_gigabytes() -> None:
    """The profile of the reference card is the one with a memory cap, and no batch above 16."""
    for name in ("cpu_vs_gpu", "batch_sweep"):
        built = studies.load(ROOT / f"params/gtx_750_ti/{name}.yaml").model_dump()
        assert built["memory_cap_bytes"] == 2_000_000_000
        sizes = built["batch_sizes"]
        assert max(sizes["cnn-small"] if name == "batch_sweep" else sizes) == 16
        assert studies.load(ROOT / f"params/standard/{name}.yaml").model_dump()["memory_cap_bytes"] is None


def test_every_profile_asks_for_rounds_that_carry_an_interval() -> None:
    """Fewer than six rounds carry no 95 % interval, so no committed profile asks for fewer."""
    asked = {path: studies.load(path).model_dump().get("min_rounds", 6) for path in PARAMS}
    assert {path: rounds for path, rounds in asked.items() if rounds < 6} == {}


def test_every_notebook_has_its_model() -> None:
    """There is a notebook for each model and a model for each notebook."""
    assert {path.stem for path in NOTEBOOKS} == set(studies.names())


@one_of_each(NOTEBOOKS)
def test_parameters_cell_equals_the_model(path: Path) -> None:
    """The parameters cell names exactly the model's fields, each with the model's default."""
    defaults = studies.params(path.stem)().model_dump()
    assert parameters_cell(path) == defaults


@one_of_each(NOTEBOOKS)
def test_parameters_are_typed_and_explained(path: Path) -> None:
    """Each parameter has one line, with a type that papermill reads and the model's description for people."""
    found = papermill.inspect_notebook(str(path))
    cells = nbformat.read(path, as_version=4).cells
    (cell,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(cell.source.splitlines()) == len(found)
    assert [name for name, item in found.items() if item["inferred_type_name"] in ("", "None")] == []
    described = {name: of.description for name, of in studies.params(path.stem).model_fields.items()}
    assert {name: item["help"] for name, item in found.items()} == described


@one_of_each(NOTEBOOKS)
def test_notebook_is_headed_by_the_title_of_its_question(path: Path) -> None:
    """The page's heading and the title that other pages link to it by are one."""
    assert nbformat.read(path, as_version=4).cells[0].source.splitlines()[0] == f"# {studies.params(path.stem).title}"


@one_of_each(NOTEBOOKS)
def test_notebook_is_short_and_asks_before_it_shows(path: Path) -> None:
    """No outputs, no definition, cells of at most eight lines, and a question above every figure."""
    assert cell_faults(nbformat.read(path, as_version=4)) == []


@one_of_each(NOTEBOOKS)
def test_notebook_opens_anywhere(path: Path) -> None:
    """The kernel is plain python3, the file is valid, and it begins with a title."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")


def cells_with(source: str, **fields: Any) -> Any:
    """A notebook of a question and one code cell."""
    question = nbformat.v4.new_markdown_cell("## How fast?")
    return nbformat.v4.new_notebook(cells=[question, nbformat.v4.new_code_cell(source, **fields)])


@pytest.mark.parametrize(
    ("notebook", "expected"),
    [
        (cells_with("ib.show(view)"), []),
        (cells_with("1", execution_count=3), ["cell 1: has outputs"]),
        (cells_with("1", outputs=[nbformat.v4.new_output("stream", text="1")]), ["cell 1: has outputs"]),
        (cells_with("x = 1\n" * 9), ["cell 1: has more than 8 lines"]),
        (cells_with("def f(): return 1"), ["cell 1: defines something"]),
        (cells_with("class A: pass"), ["cell 1: defines something"]),
        (cells_with("f = lambda: 1"), ["cell 1: defines something"]),
        (
            nbformat.v4.new_notebook(cells=[*cells_with("").cells, nbformat.v4.new_code_cell("ib.show(view)")]),
            ["cell 2: shows a figure without asking a question"],
        ),
    ],
)
def test_fault_of_a_notebook_is_seen(notebook: Any, expected: list[str]) -> None:
    """Each thing that a notebook must not hold is found in one that is otherwise in order."""
    assert cell_faults(notebook) == expected
