"""Show the progress of a report: one redrawn line on a terminal, plain lines otherwise."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from inferbench_lib.report.words import duration

REDRAW_S = 0.2
PLAIN_LINE_EVERY_S = 15.0


class Console:
    """Progress display of one notebook, which follows its progress file; `title` is like `[2/5] a_notebook`."""

    def __init__(self, title: str, progress_file: Path, stream: TextIO | None = None) -> None:
        self._title = title
        self._file = progress_file
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._started_s = time.monotonic()

    def __enter__(self) -> Self:
        self._file.write_text("")
        if not self._live:
            print(self._title, file=self._stream, flush=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._live:
            print("\r\x1b[2K", end="", file=self._stream, flush=True)

    def _follow(self) -> None:
        said_s = time.monotonic()
        while not self._stop.wait(REDRAW_S):
            text = describe(last_line(self._file), time.monotonic() - self._started_s)
            if self._live:
                width = shutil.get_terminal_size().columns
                line = f"{self._title}  {text}"[: width - 1]
                print(f"\r\x1b[2K{line}", end="", file=self._stream, flush=True)
            elif time.monotonic() - said_s >= PLAIN_LINE_EVERY_S:
                said_s = time.monotonic()
                print(f"    {text}", file=self._stream, flush=True)


def last_line(path: Path) -> dict[str, Any] | None:
    """Return the newest complete progress line, None before the first."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    complete = [line for line in lines if line.endswith("\n")]
    return json.loads(complete[-1]) if complete else None


def describe(line: dict[str, Any] | None, elapsed_s: float) -> str:
    """Return the share done, the current step and the time left: `37% · round 2: forest … · about 40 s left`."""
    if line is None:
        return "starting"
    share = line["done"] / line["total"] if line["total"] else 0.0
    left = f" · about {duration(elapsed_s * (1 - share) / share)} left" if share >= 0.1 else ""
    return f"{share:.0%} · {line['now']}{left}"
