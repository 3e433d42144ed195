"""The questions: one folder each, found by listing. A new folder changes no other file.

A folder holds four files. `params.py`: the parameters (`Params`). `measure.py`: `measure(params) -> Run`, the only
one to measure; may `publish(run)` more than the record. `study.py`: `study(run)` and `figures(study)`, both pure.
`page.py`: `answer(study)`, `VIEWS`, and what the front page, `results.md` and the index may take from it:
`advise(study)`, `PICTURE`, `EXPLANATION`, `HEADLINES`, `KEY_FIGURES`.
"""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from inferbench_lib import config, store
from inferbench_lib.config import Config
from inferbench_lib.errors import ConfigError
from inferbench_lib.records import Figure, Run

FOLDER = Path(__file__).parent


@cache
def names() -> tuple[str, ...]:
    """List the questions in the order of a report; those that are not part of one come last."""
    found = sorted(path.parent.name for path in FOLDER.glob("*/params.py"))
    return tuple(sorted(found, key=lambda name: (params(name).position is None, params(name).position)))


def in_report() -> tuple[str, ...]:
    """List the notebooks of `make report`, in order."""
    return tuple(name for name in names() if params(name).position is not None)


def measured() -> tuple[str, ...]:
    """List the notebooks of `make report` that leave a record; the front page does not."""
    return tuple(name for name in in_report() if (FOLDER / name / "measure.py").exists())


def params(name: str) -> type[Config]:
    """Return the model of a question's parameters."""
    model: type[Config] = _part(name, "params").Params
    return model


def page(name: str) -> ModuleType:
    """Return the module that turns a question's study into sentences, tables and figures."""
    return _part(name, "page")


def _part(name: str, part: str) -> ModuleType:
    if not (FOLDER / name / "params.py").exists():
        raise ConfigError(f"notebook: expected one of {', '.join(names())}, got {name}")
    return import_module(f"{__name__}.{name}.{part}")


def build(name: str, values: Mapping[str, Any], source: str = "parameters") -> Config:
    """Return the validated parameters of a question; raises ConfigError naming field, expected and got."""
    return config.build(params(name), name, values, source)


def load(path: Path) -> Config:
    """Read a parameter file that is named after its notebook; raises ConfigError."""
    if path.stem not in names():
        raise ConfigError(f"{path}: expected a file named after a notebook ({', '.join(names())}), got {path.name}")
    return build(path.stem, config.read_params(path), source=str(path))


def run(name: str, **values: Any) -> Run:
    """Measure one question, or read the stored run that `reuse` names; raises ConfigError before measuring.

    A report keeps either in its folder. In JupyterLab a measured run gets a folder of its own; what is read again
    leaves none.
    """
    asked = build(name, values)
    if asked.reuse is not None:
        found = store.stored_run(name, asked.reuse)
        if store.is_report():
            store.save_run(found)
        else:
            os.environ.pop(store.RUN_FOLDER, None)
        return found
    if not store.is_report():
        store.begin_lab_run()
    measuring = _part(name, "measure")
    measured: Run = measuring.measure(asked)
    found = replace(measured, summary=figures(measured))
    store.save_run(found)
    if hasattr(measuring, "publish"):
        measuring.publish(found)
    return found


def function(name: str) -> Callable[..., Run]:
    """Return `run` for one question, with its real parameters and their meaning for the help of an editor."""

    def ask(**values: Any) -> Run:
        return run(name, **values)

    fields = params(name).model_fields.items()
    keyword = inspect.Parameter.KEYWORD_ONLY
    listed = [inspect.Parameter(field, keyword, default=of.default, annotation=of.annotation) for field, of in fields]
    meaning = "\n".join(f"{field}: {of.description}" for field, of in fields)
    ask.__name__ = ask.__qualname__ = name
    ask.__doc__ = f"{params(name).__doc__}\n\nRaises ConfigError for a value that cannot be used.\n\n{meaning}"
    ask.__signature__ = inspect.Signature(listed, return_annotation=Run)  # type: ignore[attr-defined]
    return ask


def parameters(notebook: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Pick a notebook's parameters out of its variables (`globals()`).

    A name that is assigned in the parameters cell and is no parameter comes along, so that it is refused by name.
    """
    known = params(notebook).model_fields
    wanted = dict.fromkeys([*known, *_assigned_beside(known, variables.get("In", ()))])
    return {name: variables[name] for name in wanted if name in variables}


def _assigned_beside(known: Iterable[str], cells: Iterable[str]) -> list[str]:
    """Name what the newest parameters cell assigns, and what papermill injected after it."""
    found: list[str] = []
    for source in reversed(list(cells)):
        assigned, is_injected = list(_assigned(source)), source.startswith("# Parameters\n")
        if is_injected or set(assigned) & set(known):
            found += assigned
            if not is_injected:
                break
    return found


def _assigned(source: str) -> Iterator[str]:
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a cell with a magic command
        return
    for node in body:
        match node:
            case ast.Assign(targets=targets, value=value):
                pass
            case ast.AnnAssign(target=target, value=value):
                targets = [target]
            case _:
                continue
        if value and any(isinstance(part, ast.Call) for part in ast.walk(value)):
            continue  # a result, such as `run = ib.batch_sweep(...)` in the same cell
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def figures(run: Run) -> dict[str, Figure]:
    """Compute a run's entries of `summary.json` from its samples, each marked where the run was simulated."""
    found: Mapping[str, Figure] = _part(run.notebook, "study").figures(study(run))
    marked = {name: replace(of, verdict=": ".join(filter(None, (run.mark, of.verdict)))) for name, of in found.items()}
    return marked if run.mark else dict(found)


_STUDIED: dict[int, tuple[Run, Any]] = {}


def study(run: Run) -> Any:
    """Return what the samples of a run say, worked out once: a run never changes, and several pages ask."""
    held, said = _STUDIED.get(id(run), (None, None))
    if held is not run:
        said = _part(run.notebook, "study").study(run)
        _STUDIED[id(run)] = (run, said)  # kept with its run, so that no other run can come to have its id
    return said
