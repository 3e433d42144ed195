"""Arrays that processes share: what is seen, where it lives, what is left."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from remote_probe import Probe

from inferbench_lib.errors import NotAvailable, OutOfMemory
from inferbench_lib.processes import shared_array
from inferbench_lib.processes.remote import Remote
from inferbench_lib.processes.shared_array import SharedArray

READ_AND_WRITE = """
import pickle, sys
shared = pickle.load(sys.stdin.buffer)
print(shared.array.tolist(), flush=True)
shared.array[0] = 99
"""


def in_another_process(shared: SharedArray) -> str:
    """What a fresh process prints of the array, before it writes 99 over its first item and ends."""
    run = [sys.executable, "-c", READ_AND_WRITE]
    return subprocess.run(run, input=pickle.dumps(shared), capture_output=True, check=True).stdout.decode().strip()


def place(shared: SharedArray) -> str:
    """Where the kernel says that the bytes are."""
    return str(Path("/proc/self/fd", Path(shared.handle.path).name).readlink())


@pytest.fixture(params=["memory", "file"])
def backing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the next array lies: memory has room, or files alone have."""
    if request.param == "memory":
        return "/memfd:inferbench"
    fallocate, is_first = os.posix_fallocate, iter([True])

    def refuse_first(descriptor: int, offset: int, length: int) -> None:
        if next(is_first, False):
            raise OSError(errno.ENOSPC, "no space")
        fallocate(descriptor, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", refuse_first)
    return f"{tempfile.gettempdir()}/"


def test_another_process_reads_and_writes_the_same_memory(backing: str) -> None:
    """A process that unpickles the array sees its values, its writes are seen here, and its end destroys nothing."""
    with SharedArray.of(np.array([1, 2, 3])) as shared:
        assert in_another_process(shared) == "[1, 2, 3]"
        assert shared.array.tolist() == [99, 2, 3]
        assert in_another_process(shared) == "[99, 2, 3]"


def test_what_is_shared_has_no_name(backing: str) -> None:
    """In memory, or in a file where memory has no room, no folder lists the array while it is open."""
    where = place(SharedArray.empty(8, float))
    assert where.startswith(backing)
    assert where.endswith(" (deleted)")


@pytest.mark.parametrize("shape", [(), (0, 4), (3,), (2, 3, 4)])
def test_shapes_and_dtypes_are_kept(shape: tuple[int, ...]) -> None:
    """An array of any shape, an empty one too, arrives with its values and dtype."""
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    with SharedArray.of(array) as shared:
        assert (shared.array.shape, shared.array.dtype) == (shape, np.float32)
        assert np.array_equal(shared.array, array)


def test_no_room_at_all_is_a_named_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither memory nor disk has room, the error says how much was needed and what is free."""

    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    monkeypatch.setattr(shared_array.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5000}))
    with pytest.raises(OutOfMemory) as caught:
        SharedArray.empty(1000, float)
    assert str(caught.value) == (
        "shared array: expected room for 8,000 bytes in memory or in the temporary folder, got ENOSPC with 5,000 bytes "
        "free there; use fewer samples, or set TMPDIR to a larger disk"
    )


def test_a_file_size_limit_is_an_error_not_a_signal() -> None:
    """Under RLIMIT_FSIZE the space is refused when it is reserved, before anything could be written past its end."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(OutOfMemory, match="EFBIG"):
            SharedArray.empty(1 << 20, float)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_without_proc_a_named_file_serves_and_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Systems without /proc share a temporary file by its path; closing removes it, and so does losing the array."""
    monkeypatch.setattr(shared_array, "_can_share_unnamed", lambda: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with SharedArray.of(np.array([1, 2, 3])) as shared:
        assert [str(path) for path in tmp_path.iterdir()] == [shared.handle.path]
        assert in_another_process(shared) == "[1, 2, 3]"
    lost = SharedArray.empty(3, int)
    del lost
    assert list(tmp_path.iterdir()) == []


def test_without_posix_fallocate_the_space_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system cannot reserve space, it is filled with zeros, to the last byte."""
    monkeypatch.delattr(os, "posix_fallocate")
    shared = SharedArray.empty((1 << 20) + 1, np.uint8)
    assert Path(shared.handle.path).stat().st_size == (1 << 20) + 1


def test_a_view_outlives_its_array() -> None:
    """A view taken before `close` keeps its memory; the closed array gives no new one."""
    shared = SharedArray.of(np.array([1, 2, 3]))
    view = shared.array
    shared.close()
    shared.close()
    assert view.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="expected an open array, got a closed one; keep it open while in use"):
        _ = shared.array


def test_a_handle_that_outlived_its_maker_is_refused() -> None:
    """A stale handle is a named error, also where its number has been given to another file meanwhile."""
    shared = SharedArray.of(np.array([1, 2, 3]))
    pickled = pickle.dumps(shared)
    shared.close()
    with pytest.raises(NotAvailable) as caught:
        pickle.loads(pickled)
    gone = "shared array: expected the memory that its maker shares, got {}; keep it open in its maker"
    assert str(caught.value) == gone.format("ENOENT")
    with tempfile.TemporaryFile() as other:
        number = int(Path(shared.handle.path).name)
        if other.fileno() != number:
            os.dup2(other.fileno(), number)
        with pytest.raises(NotAvailable) as caught:
            pickle.loads(pickled)
        assert str(caught.value) == gone.format("another file in its place")
        if other.fileno() != number:
            os.close(number)


def test_a_handle_that_comes_again_is_mapped_once() -> None:
    """A process that gets the same array twice finds its first mapping."""
    with SharedArray.of(np.array([1, 2, 3])) as shared:
        assert pickle.loads(pickle.dumps(shared)) is shared


def test_python_objects_are_refused() -> None:
    """An array of Python objects cannot be shared."""
    with pytest.raises(ValueError, match="expected numbers, got object; convert the array to a numeric dtype"):
        SharedArray.of(np.array([None]))


def test_a_file_is_mapped_where_it_lies(tmp_path: Path) -> None:
    """An .npy file is seen by another process, whole or some rows of it, and cannot be written."""
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(12.0).reshape(4, 3))
    whole, rows = SharedArray.map_file(path), SharedArray.map_file(path, range(1, 3))
    assert whole.array.sum() == 66
    assert rows.array.tolist() == [[3, 4, 5], [6, 7, 8]]
    with pytest.raises(ValueError, match="read-only"):
        rows.array[0] = 0
    with Remote(Probe) as remote:
        assert remote.call("first_item", rows) == 3


def test_a_file_in_fortran_order_or_without_the_rows_is_refused(tmp_path: Path) -> None:
    """What cannot be mapped as rows is refused with the way out."""
    path = tmp_path / "columns.npy"
    np.save(path, np.asfortranarray(np.ones((4, 3))))
    with pytest.raises(ValueError, match=r"got Fortran order; save np.ascontiguousarray\(array\) instead"):
        SharedArray.map_file(path)
    np.save(path, np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"expected rows within range\(0, 4\), got range\(2, 5\)"):
        SharedArray.map_file(path, range(2, 5))
