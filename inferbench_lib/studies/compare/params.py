"""The parameters of `compare`."""

from __future__ import annotations

from pydantic import Field

from inferbench_lib.config import Config


class Params(Config):
    """Compare stored runs with one of them; without names, the newest two runs of one profile."""

    title = "What changed between runs"

    base: str | None = Field(
        None, description="BASE: a run's id, its folder, or one of its pages; None: the newest two"
    )
    heads: list[str] = Field([], description="the runs to compare with BASE, named as BASE is")
