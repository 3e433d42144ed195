"""A module that takes 0.2 s to import."""

from __future__ import annotations

import time
from typing import Any

time.sleep(0.2)
VALUE = 7


def load() -> Any:
    """A model that adds up nothing."""
    return len
