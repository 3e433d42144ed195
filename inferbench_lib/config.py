"""Parameters: a flat YAML file or keyword arguments in, one frozen, validated model per notebook out.

Nothing is measured before every parameter is known to be usable. A message names the file, the field, what was
expected and what came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from inferbench_lib.errors import ConfigError

_NAME = re.compile(r"[a-z_]\w*")


def _without_repeats(values: list[Any]) -> list[Any]:
    """Refuse a value that is listed twice: two equal cells would become one row."""
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"each value once, not {', '.join(repeated)} again")
    return values


Each = AfterValidator(_without_repeats)
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Counts = Annotated[list[PositiveInt], Each]


class Config(BaseModel):
    """Base class of every notebook's parameters: `title` heads its page, `position` orders it in a report.

    A notebook without a position is not part of `make report`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    title: ClassVar[str] = ""
    position: ClassVar[int | None] = None

    reuse: str | None = Field(None, description="a stored run's id: show it instead of measuring")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield each parameter that has no effect beside the others, and the reason."""
        yield from ()

    @model_validator(mode="after")
    def _nothing_idle(self) -> Self:
        for name, reason in self.idle():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: has no effect, because {reason}; leave it out")
        return self

    def _at_most(self, name: str, limit: str) -> Self:
        """Raise ValueError where a parameter, or one of its values, is above another parameter."""
        given, allowed = getattr(self, name), getattr(self, limit)
        largest = max(given, default=0) if isinstance(given, list) else given
        if largest > allowed:
            raise ValueError(f"{name}: expected at most {limit} ({allowed}), got {largest}")
        return self


class Seeded(Config):
    """Base class of the parameters of notebooks that draw data, weights or the order of turns."""

    seed: Annotated[int, Field(ge=0)] = Field(0, description="seeds data, weights and the order of turns")


class Rounds(Seeded):
    """Base class of the parameters of every comparison: rounds until the intervals are narrow or the time is up."""

    min_rounds: PositiveInt = Field(6, description="rounds at least; an interval needs 6")
    max_rounds: PositiveInt = Field(8, description="rounds at most")
    rounds_per_process: PositiveInt | None = Field(None, description="rounds after which every process starts anew")
    target_width: PositiveFloat = Field(0.03, description="stop once every median is known to this share")
    time_limit_s: PositiveFloat = Field(150.0, description="seconds of rounds, once there are min_rounds")

    @model_validator(mode="after")
    def _rounds_in_order(self) -> Self:
        return self._at_most("min_rounds", "max_rounds")


Model = TypeVar("Model", bound=Config)


def build(model: type[Model], notebook: str, values: Mapping[str, Any], source: str = "parameters") -> Model:
    """Return the validated parameters of `notebook`; raises ConfigError naming `source`, field, expected and got."""
    for name in values:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name not in model.model_fields:
            known = ", ".join(sorted(model.model_fields))
            raise ConfigError(f"{source}: {_shown(name)}: expected one of the parameters of {notebook} ({known})")
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(source, values, item) for item in error.errors())) from None


def read_params(path: Path) -> dict[str, Any]:
    """Read the mapping in a parameter file; raises ConfigError where it cannot be read or is not a flat mapping."""
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
    field = ".".join(str(part) for part in item["loc"] if part != "[key]")
    got: Any = values
    for part in item["loc"]:
        is_key = part == "[key]"  # pydantic's word for a key that is not usable itself
        got = item["input"] if is_key else got[part] if isinstance(got, (dict, list)) else got
    expected = text[0].lower() + text[1:]
    for prefix in ("input should be ", "value should have ", "a valid "):
        expected = expected.removeprefix(prefix)
    expected = expected.partition(" after validation")[0]
    return f"{source}: {field}: expected {expected}, got {_shown(got)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
