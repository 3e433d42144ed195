"""Whatever ends the calling process, no worker outlives it and nothing stays in shared memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import children, eventually, is_running, shared_memory_files

PARENT = """
import threading
from functools import partial
import parallel_helpers as helpers
from inferbench_lib.parallel.executors import EXECUTORS
threading.Timer({after_s}, print, ["now"], dict(flush=True)).start()
executor = EXECUTORS[{name!r}](partial(helpers.load_sleeper, 600), n_processes=2, **{more!r})
executor.map(helpers.numbered_rows(4), 1)
"""
AT_WORK_S = 1.0
"""By then workers have started and sleep in their first batch."""
WAYS = [("shared_pool", {}), ("shared_pool", {"start_method": "forkserver"}), ("naive_pool", {})]
ids = pytest.mark.parametrize(("name", "more"), WAYS, ids=["shared_pool", "shared_pool by forkserver", "naive_pool"])


def start_parent(name: str, more: dict[str, str], after_s: float) -> subprocess.Popen[str]:
    """A program, in a process group of its own, that began to start its workers `after_s` ago."""
    code = PARENT.format(name=name, after_s=after_s, more=more)
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    assert parent.stdout.readline() == "now\n"
    return parent


def family(pid: int) -> set[int]:
    """All running descendants."""
    return {own for child in children(pid) for own in (child, *family(child))}


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@ids
def test_no_worker_outlives_its_parent(name: str, more: dict[str, str], end: signal.Signals) -> None:
    """Ctrl-C to the whole group, SIGTERM or SIGKILL to the parent: no process and no shared memory is left."""
    parent = start_parent(name, more, AT_WORK_S)
    pids, files = family(parent.pid), shared_memory_files(parent.pid)
    assert len(pids) >= 2
    if end == signal.SIGINT:
        os.killpg(parent.pid, end)
    else:
        parent.send_signal(end)
    _, messages = parent.communicate(timeout=30)
    assert parent.returncode == -end
    assert eventually(lambda: not any(map(is_running, pids)))
    assert eventually(lambda: not any(file.exists() for file in files))
    assert messages.count("Traceback") == (end == signal.SIGINT)  # the program's own, none of a worker's


@pytest.mark.parametrize("after_s", [0, 0.08, 0.16])
@ids
def test_killed_while_workers_start_nothing_stays(name: str, more: dict[str, str], after_s: float) -> None:
    """SIGKILL of the parent while its workers start leaves nothing either."""
    parent = start_parent(name, more, after_s)
    pids, files = family(parent.pid), shared_memory_files(parent.pid)
    parent.kill()
    parent.communicate(timeout=30)
    assert eventually(lambda: not any(map(is_running, pids)))
    assert eventually(lambda: not any(file.exists() for file in files))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a stopped process with its parent")
def test_a_stopped_worker_does_not_outlive_its_parent() -> None:
    """A worker that is stopped, and so cannot notice anything, ends with its parent too."""
    parent = start_parent("shared_pool", {}, AT_WORK_S)
    pids = {pid for pid in family(parent.pid) if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()}
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    parent.kill()
    parent.communicate(timeout=30)
    assert eventually(lambda: not any(map(is_running, pids)))
