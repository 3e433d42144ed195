"""Parameters: a flat YAML file or keyword arguments in, one frozen, validated model a notebook out.

Nothing is measured before every parameter is known to be usable. A message names the file, the field,
what was expected and what came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from inferbench_lib.errors import ConfigError
from inferbench_lib.settings import CONFIGS, Config

_NAME = re.compile(r"[a-z_]\w*")


def build(notebook: str, values: Mapping[str, Any], source: str = "parameters") -> Config:
    """The validated configuration of `notebook`; raises ConfigError naming `source`, field, expected and got."""
    model = CONFIGS[notebook]
    for name in values:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name not in model.model_fields:
            known = ", ".join(sorted(model.model_fields))
            raise ConfigError(f"{source}: {_shown(name)}: expected one of the parameters of {notebook} ({known})")
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(source, values, item) for item in error.errors())) from None


def load(path: Path, notebook: str | None = None) -> Config:
    """The configuration in a flat YAML file named after its notebook; raises ConfigError."""
    name = notebook or path.stem
    if name not in CONFIGS:
        raise ConfigError(f"{path}: expected a file named after a notebook ({', '.join(CONFIGS)}), got {path.name}")
    return build(name, read_params(path), source=str(path))


def read_params(path: Path) -> dict[str, Any]:
    """The mapping in a parameter file; raises ConfigError where it cannot be read or is not a flat mapping."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable parameter file, got: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first_line = str(error).splitlines()[0]
        raise ConfigError(f"{path}: expected YAML (name: value lines), got: {first_line}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected name: value lines, got a {type(values).__name__}")
    return values


def _explain(source: str, values: Mapping[str, Any], item: Any) -> str:
    text = str(item["msg"]).removeprefix("Value error, ")
    if not item["loc"]:
        return f"{source}: {text}"
    field = ".".join(str(part) for part in item["loc"])
    got: Any = values
    for part in item["loc"]:
        got = got[part] if isinstance(got, (dict, list)) else got
    expected = text[0].lower() + text[1:]
    for prefix in ("input should be ", "value should have ", "a valid "):
        expected = expected.removeprefix(prefix)
    expected = expected.partition(" after validation")[0]
    return f"{source}: {field}: expected {expected}, got {_shown(got)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def parameters(notebook: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """Of a notebook's variables (`globals()`), those that are its parameters."""
    return {name: names[name] for name in CONFIGS[notebook].model_fields if name in names}
