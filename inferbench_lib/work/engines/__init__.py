"""The engines, by name: one file each, and its line here."""

from __future__ import annotations

from collections.abc import Mapping

from inferbench_lib.work.base import Engine
from inferbench_lib.work.engines.sklearn import Sklearn
from inferbench_lib.work.engines.torch import Torch

ENGINES: Mapping[str, type[Engine]] = {
    "sklearn": Sklearn,
    "torch": Torch,
}
