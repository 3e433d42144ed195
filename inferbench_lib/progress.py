"""Show live progress: the current measurement and the remaining steps.

Where `$INFERBENCH_PROGRESS` names a file (the runner sets it), each step appends one JSON line to it. Nothing is
printed then, so the page holds no trace of it. Otherwise a tqdm bar shows it, in JupyterLab and in a terminal.
Steps are made only between timed regions.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Self

PROGRESS_FILE = "INFERBENCH_PROGRESS"


class Progress:
    """A progress bar of `total` steps named `label`; `total` may grow while it runs."""

    def __init__(self, label: str, total: int) -> None:
        self.label = label
        self.total = total
        self.done = 0
        self._file = os.environ.get(PROGRESS_FILE)
        self._bar: Any = None

    def __enter__(self) -> Self:
        if not self._file:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=self.total, desc=self.label, unit="step", leave=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def now(self, text: str) -> None:
        """Show what is measured next."""
        if self._bar is not None:
            self._bar.set_description_str(f"{self.label}: {text}")
        elif self._file:
            line = {"label": self.label, "done": self.done, "total": self.total, "now": text, "at": time.time()}
            with Path(self._file).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def step(self, n: int = 1) -> None:
        """Add `n` completed steps."""
        self.done += n
        if self._bar is not None:
            self._bar.update(n)

    def expect(self, total: int) -> None:
        """Set the number of all steps to `total`."""
        self.total = total
        if self._bar is not None:
            self._bar.total = total
            self._bar.refresh()
