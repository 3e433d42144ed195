"""Execute a notebook with papermill, show its progress and tell how it ended. The only file that imports papermill."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TextIO

import nbformat
from jupyter_client.manager import AsyncKernelManager

from inferbench_lib.errors import ReportError, StoreError
from inferbench_lib.report.words import duration

REDRAW_S = 0.2
PLAIN_LINE_EVERY_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Executed notebook: `complete`, `failed`, `killed`, `timed out` or `interrupted`, and the reason."""

    notebook: nbformat.NotebookNode
    status: str
    reason: str = ""


class _KernelManager(AsyncKernelManager):
    """Kernel manager with private sockets, which remembers process groups so that no process is left behind."""

    groups: ClassVar[list[int]] = []
    sockets: ClassVar[list[tempfile.TemporaryDirectory[str]]] = []

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if os.name == "posix":
            self.sockets.append(tempfile.TemporaryDirectory(prefix="inferbench-"))
            self.transport, self.ip = "ipc", f"{self.sockets[-1].name}/kernel"

    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
        with Path(os.devnull).open("wb") as nowhere:  # it logs interrupts; cells print to their outputs
            await super().start_kernel(stderr=nowhere, **options)
        pid = getattr(self.provisioner, "pid", None)
        if pid:
            self.groups.append(pid)

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:  # type: ignore[override]
        """Kill the kernel: its results are in files by then, and unloading its libraries takes seconds."""
        await super().shutdown_kernel(now=True, restart=restart)


def execute(source: Path, working_copy: Path, parameters: Mapping[str, Any], timeout_s: int) -> Execution:
    """Run a notebook with these parameters; a failure is a value, not an exception.

    papermill updates `working_copy` after each cell. After a killed kernel, a timeout or an interrupt that file looks
    complete, so the status comes from how the execution ended. Raises ReportError where no kernel can be started,
    StoreError where the disk is full.
    """
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    # asyncio logs a traceback for every task that an interrupt leaves behind.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    status, reason = "complete", ""
    try:
        papermill.execute_notebook(
            str(source),
            str(working_copy),
            parameters=dict(parameters),
            kernel_name="python3",
            progress_bar=False,
            cwd=str(source.parent),
            execution_timeout=timeout_s,
            kernel_manager_class=_KernelManager,
        )
    except papermill.PapermillExecutionError as error:
        status, reason = "failed", f"{error.ename}: {error.evalue}"
        if error.ename == "KeyboardInterrupt":
            status = "interrupted"
    except CellTimeoutError:
        status = "timed out"
        reason = f"a cell ran longer than {timeout_s} s; raise the limit with ARGS=--timeout-s=<seconds>"
    except DeadKernelError:
        status, reason = "killed", "the notebook's process died; probably it ran out of memory or was killed"
    except NoSuchKernel as error:
        raise ReportError(
            f"{source.name}: expected the Jupyter kernel python3 in this environment, got none ({error}); "
            "run make clean, then try again"
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise StoreError(
            f"{source.name}: expected room for the executed notebook, got: {error.strerror}; free some space"
        ) from error
    except KeyboardInterrupt:
        status, reason = "interrupted", "it was interrupted"
    finally:
        _end_processes()
    executed = nbformat.read(working_copy if working_copy.exists() else source, as_version=4)
    where = "" if status == "complete" else _where(executed)
    return Execution(notebook=executed, status=status, reason=f"{reason}{where}")


def _where(notebook: nbformat.NotebookNode) -> str:
    """Return the last code cell that started, by its number among the code cells and its first line."""
    code = enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1)
    started = [(number, cell) for number, cell in code if cell.metadata.get("papermill", {}).get("start_time")]
    if not started:
        return " (before the first cell)"
    number, cell = started[-1]
    first_line, _, _ = cell.source.strip().partition("\n")
    return f" (code cell {number}: {first_line})"


def _end_processes() -> None:
    """Kill the remaining processes of the kernels' process groups, and remove their sockets."""
    while _KernelManager.groups:
        with contextlib.suppress(ProcessLookupError, PermissionError, AttributeError):
            os.killpg(_KernelManager.groups.pop(), signal.SIGKILL)
    while _KernelManager.sockets:
        _KernelManager.sockets.pop().cleanup()


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables for kernels started meanwhile, and use the kernel of this Python environment."""
    before = dict(os.environ)
    os.environ.update(values, JUPYTER_PREFER_ENV_PATH="1")
    os.environ.pop("JUPYTER_PATH", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


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

    def __exit__(self, *_: object) -> None:
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
