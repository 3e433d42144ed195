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
from inferbench_lib.executors import listed
load = helpers.load_announcing
if {after_s} is not None:
    threading.Timer({after_s}, print, ["now"], dict(flush=True)).start()
    load = partial(helpers.load_sleeper, 600)
executor = listed()[{name!r}](load, n_processes=2, **{more!r})
executor.map(helpers.numbered_rows(4), 1)
"""
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "shared_pool": ("shared_pool", {}),
    "shared_pool by forkserver": ("shared_pool", {"start_method": "forkserver"}),
    "naive_pool": ("naive_pool", {}),
    "process_pool": ("process_pool", {}),
    "loky": ("loky", {}),
    "dask": ("dask", {}),
}
OF_OTHERS = ("process_pool", "loky", "dask")
"""Which a library starts; fewer moments will do."""
WORKING = [(way, end) for way in WAYS for end in (signal.SIGINT, signal.SIGKILL)]
WORKING += [(way, signal.SIGTERM) for way in WAYS if way not in OF_OTHERS]
STARTING = [(way, after_s) for way in WAYS for after_s in ((0.16, 0.8) if way in OF_OTHERS else (0, 0.08, 0.16))]


def start_parent(way: str, after_s: float | None = None) -> subprocess.Popen[str]:
    """A program, in a process group of its own, that began to start its workers `after_s` ago; or both are at work."""
    name, more = WAYS[way]
    code = PARENT.format(name=name, after_s=after_s, more=more)
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    for line in ["at work\n"] * 2 if after_s is None else ["now\n"]:
        assert parent.stdout.readline() == line
    return parent


def family(pid: int) -> set[int]:
    """All running descendants."""
    return {own for child in children(pid) for own in (child, *family(child))}


@pytest.mark.parametrize(("way", "end"), WORKING)
def test_no_worker_outlives_its_parent(way: str, end: signal.Signals) -> None:
    """Ctrl-C to the whole group, SIGTERM or SIGKILL to the parent: no process and no shared memory is left."""
    parent = start_parent(way)
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


@pytest.mark.parametrize(("way", "after_s"), STARTING)
def test_killed_while_workers_start_nothing_stays(way: str, after_s: float) -> None:
    """SIGKILL of the parent while its workers start leaves nothing either."""
    parent = start_parent(way, after_s)
    pids, files = family(parent.pid), shared_memory_files(parent.pid)
    parent.kill()
    parent.communicate(timeout=30)
    assert eventually(lambda: not any(map(is_running, pids)))
    assert eventually(lambda: not any(file.exists() for file in files))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a stopped process with its parent")
def test_a_stopped_worker_does_not_outlive_its_parent() -> None:
    """A worker that is stopped, and so cannot notice anything, ends with its parent too."""
    parent = start_parent("shared_pool")
    pids = {pid for pid in family(parent.pid) if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()}
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    parent.kill()
    parent.communicate(timeout=30)
    assert eventually(lambda: not any(map(is_running, pids)))
