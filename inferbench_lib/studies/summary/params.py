"""The parameters of `summary`."""

from __future__ import annotations

from inferbench_lib.config import Config


class Params(Config):
    """Join the answers of one run's notebooks on its front page."""

    title = "What inference costs here"
    position = 90
