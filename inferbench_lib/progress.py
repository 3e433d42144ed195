"""Show live progress: the current measurement and the remaining steps.

Where `$INFERBENCH_PROGRESS` names a file (the runner sets it), each step appends one JSON line to it. Nothing is
printed then, so the page holds no trace of it. Otherwise a bar shows it, in JupyterLab and in a terminal.
Steps are made only between timed regions.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Self

PROGRESS_FILE = "INFERBENCH_PROGRESS"
IN_VIEW = (
    "<img src='data:,' alt='' hidden onerror=\"this.closest('.jp-OutputArea')?.scrollIntoView({block: 'center'})\">"
)
"""Picture without data, whose failure scrolls to the bar, because Run All scrolls to the last cell."""


class LabBar:
    """Bar over the whole width of a cell in JupyterLab, with what is measured now and the remaining time above it."""

    def __init__(self, *, total: int, desc: str, **_: Any) -> None:
        from IPython.display import display
        from ipywidgets import HTML, IntProgress, Label, VBox

        self.total, self.n, self._text, self._began_s = total, 0, desc, time.monotonic()
        self._words, self._bar = Label(), IntProgress(layout={"width": "100%"})
        self._box = VBox([self._words, self._bar, HTML(IN_VIEW)], layout={"width": "100%"}).add_class(
            "inferbench-progress"
        )
        self.refresh()
        display(self._box)

    def set_description_str(self, text: str) -> None:
        """Show what is measured now."""
        self._text = text
        self.refresh()

    def update(self, n: int) -> None:
        """Add completed steps."""
        self.n += n
        self.refresh()

    def refresh(self) -> None:
        """Show the share that is done, and how long the rest takes at this speed."""
        from tqdm import tqdm

        left_s = (time.monotonic() - self._began_s) * (self.total - self.n) / max(1, self.n)
        left = f" · {tqdm.format_interval(left_s)} left" if self.n else ""
        self._bar.max, self._bar.value = self.total, self.n
        self._words.value = f"{100 * self.n // max(1, self.total)} %{left} · {self._text}"

    def close(self) -> None:
        """Remove the bar."""
        self._box.close()


def _is_notebook() -> bool:
    """Return whether a kernel runs this, which has a front end that shows widgets."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


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
            from tqdm import tqdm

            kind: Any = LabBar if _is_notebook() else tqdm
            self._bar = kind(total=self.total, desc=self.label, unit="step", leave=False, dynamic_ncols=True)
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
