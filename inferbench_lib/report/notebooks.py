"""One notebook executed by papermill, and how it ended. The only file that imports papermill."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import nbformat
from jupyter_client.manager import AsyncKernelManager

from inferbench_lib.errors import ReportError, StoreError


@dataclass(frozen=True, kw_only=True)
class Execution:
    """An executed notebook: `complete`, `failed`, `killed`, `timed out` or `interrupted`, and why."""

    notebook: nbformat.NotebookNode
    status: str
    reason: str = ""


class _KernelManager(AsyncKernelManager):
    """Talks to the kernel where nobody else can listen, and remembers its process group, so that none of it stays."""

    groups: ClassVar[list[int]] = []
    sockets: ClassVar[list[tempfile.TemporaryDirectory[str]]] = []

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if os.name == "posix":
            self.sockets.append(tempfile.TemporaryDirectory(prefix="inferbench-"))
            self.transport, self.ip = "ipc", f"{self.sockets[-1].name}/kernel"

    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
        with Path(os.devnull).open("wb") as nowhere:  # its log of interrupts; what cells print comes as output
            await super().start_kernel(stderr=nowhere, **options)
        pid = getattr(self.provisioner, "pid", None)
        if pid:
            self.groups.append(pid)

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:  # type: ignore[override]
        """At once: all that a notebook leaves is in files by then, and taking its libraries apart takes seconds."""
        await super().shutdown_kernel(now=True, restart=restart)


def execute(source: Path, working_copy: Path, parameters: Mapping[str, Any], timeout_s: int) -> Execution:
    """Run a notebook with these parameters; a failure is a value, not an exception.

    papermill keeps `working_copy` up to date cell by cell. After a killed kernel, a time-out or an interrupt what
    it saved looks completed, so the status is told by how the execution ended, never by the file.
    Raises ReportError where no kernel can be started at all, StoreError where the disk is full.
    """
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    # Of the tasks that an interrupt leaves behind asyncio tells with a traceback, whenever they are collected.
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
        status, reason = "timed out", f"a cell was still running after {timeout_s} s"
    except DeadKernelError:
        status, reason = "killed", "the notebook's process ended without a word; likely it was killed or out of memory"
    except NoSuchKernel as error:
        raise ReportError(
            f"{source.name}: expected the Jupyter kernel python3 in this environment, got none ({error}); "
            "run make clean and try again"
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
    """Which code cell was the last to start, counted as a reader counts them."""
    number, started = 0, (0, "")
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        number += 1
        if cell.metadata.get("papermill", {}).get("start_time"):
            lines = [line for line in cell.source.splitlines() if line.strip()]
            started = (number, lines[0] if lines else "")
    return f" (code cell {started[0]}: {started[1]})" if started[0] else " (before the first cell)"


def _end_processes() -> None:
    """End what is left of the kernels' own process groups, and remove their sockets."""
    while _KernelManager.groups:
        with contextlib.suppress(ProcessLookupError, PermissionError, AttributeError):
            os.killpg(_KernelManager.groups.pop(), signal.SIGKILL)
    while _KernelManager.sockets:
        _KernelManager.sockets.pop().cleanup()


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """These environment variables for the kernels started meanwhile; the kernel of this very environment is used."""
    before = dict(os.environ)
    os.environ.update(values, JUPYTER_PREFER_ENV_PATH="1")
    os.environ.pop("JUPYTER_PATH", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
