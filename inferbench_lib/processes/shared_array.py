"""Share an n-dimensional array between processes without a copy, and leave no file behind.

On Linux the memory has no name: other processes open it through `/proc/<owner>/fd/<number>`, and the kernel frees it
when the last of them ends. Nothing can stay in `/dev/shm`, whose size (64 MB in a default container) is no limit
either. Space is reserved before it is mapped, so too little is an error here instead of a SIGBUS at the first write.
With `multiprocessing.shared_memory` before Python 3.13, a process that only attaches destroys the segment.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inferbench_lib.errors import NotAvailable, OutOfMemory

KEPT_BYTES = 256 << 20
"""A file up to this size stays mapped between passes: mapping 100 MB again took 0.9 % of a forest's pass."""


@dataclass(frozen=True, kw_only=True)
class Handle:
    """The location and layout of the bytes; `identity` (device, inode) detects a reused descriptor number."""

    path: str
    identity: tuple[int, int]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int = 0
    writable: bool = True


class SharedArray(AbstractContextManager["SharedArray"]):
    """A shared array; pickling it sends its handle, and unpickling maps the same memory.

    The process that made it must keep it open until the others have mapped it. Views stay valid after `close`; the last
    one frees the memory.
    """

    def __init__(self, handle: Handle, descriptor: int) -> None:
        self.handle = handle
        self._memory = mmap.mmap(descriptor, 0, access=mmap.ACCESS_WRITE if handle.writable else mmap.ACCESS_READ)
        self._array: np.ndarray | None = np.ndarray(handle.shape, handle.dtype, self._memory, handle.offset)
        self._let_go: Callable[[], object] = lambda: None
        _mapped[handle] = self

    @classmethod
    def empty(cls, shape: int | tuple[int, ...], dtype: Any, *, in_memory: bool = True) -> SharedArray:
        """Return zeros of `shape`, in memory if that is asked for and it fits there, else in a temporary file.

        Raises OutOfMemory when neither has room, ValueError for a dtype that holds Python objects.
        """
        shape, dtype = (shape,) if isinstance(shape, int) else tuple(shape), np.dtype(dtype)
        if dtype.hasobject:
            raise ValueError(f"SharedArray.dtype: expected numbers, got {dtype}; convert the array to a numeric dtype")
        n_bytes = max(1, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        try:
            descriptor, path = _room_for(n_bytes, in_memory)
        except OSError as error:
            free = shutil.disk_usage(tempfile.gettempdir()).free
            raise OutOfMemory(
                f"shared array: expected room for {n_bytes:,} bytes in memory or in the temporary folder, got "
                f"{_name_of(error)} with {free:,} bytes free there; use fewer samples, or set TMPDIR to a larger disk"
            ) from error
        where = path or f"/proc/{os.getpid()}/fd/{descriptor}"
        shared = cls(Handle(path=where, identity=_identity(descriptor), shape=shape, dtype=dtype), descriptor)
        shared._let_go = weakref.finalize(shared, _let_go, descriptor, path, os.getpid())
        return shared

    @classmethod
    def of(cls, array: np.ndarray) -> SharedArray:
        """Return a shared copy of `array`; raises as `empty` does."""
        shared = cls.empty(array.shape, array.dtype)
        shared.array[...] = array
        return shared

    @classmethod
    def map_file(cls, path: Path, rows: range | None = None) -> SharedArray:
        """Map an `.npy` file, or consecutive `rows` of it, read-only and without reading it into memory.

        Raises ValueError for a file in Fortran order or rows that it does not have.
        """
        header = np.load(path, mmap_mode="r")
        rows = range(len(header)) if rows is None else rows
        if rows.step != 1 or not 0 <= rows.start <= rows.stop <= len(header):
            raise ValueError(f"SharedArray.map_file: expected rows within range(0, {len(header)}), got {rows}")
        if not header.flags.c_contiguous:
            raise ValueError(
                f"SharedArray.map_file: expected rows in C order in {path.name}, got Fortran order; "
                "save np.ascontiguousarray(array) instead"
            )
        offset = header.offset + rows.start * header.strides[0]
        return cls._mapped_file(path, (len(rows), *header.shape[1:]), header.dtype, offset)

    @classmethod
    def map_memmap(cls, array: np.memmap) -> SharedArray | None:
        """Map the file behind `array`, or behind a slice of it, read-only; None where the values may differ from it.

        They may in an array that was computed from a map, in a private copy (mode "c"), and outside C order.
        """
        memory = getattr(array, "_mmap", None)
        if memory is None or array.filename is None or array.mode == "c" or not array.flags.c_contiguous:
            return None
        start = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
        # A mapping begins at a whole page, `array.offset` where its first array did; parts keep both.
        mapped_from = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
        offset = mapped_from + array.__array_interface__["data"][0] - start
        return cls._mapped_file(Path(array.filename), array.shape, array.dtype, offset)

    @classmethod
    def _mapped_file(cls, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int) -> SharedArray:
        with path.open("rb") as file:
            where, identity = str(path.resolve()), _identity(file.fileno())
            handle = Handle(path=where, identity=identity, shape=shape, dtype=dtype, offset=offset, writable=False)
            return cls(handle, file.fileno())

    @property
    def array(self) -> np.ndarray:
        """Return the view; raises ValueError after `close`."""
        if self._array is None:
            raise ValueError("SharedArray.array: expected an open array, got a closed one; keep it open while in use")
        return self._array

    def forget(self, rows: range) -> None:
        """Release the pages that hold `rows` of a file, so that a file larger than memory never fills this process.

        The next read finds them in the file. Files up to `KEPT_BYTES` stay mapped, and so does shared memory.
        """
        if self.handle.writable or self.array.nbytes <= KEPT_BYTES or not hasattr(mmap, "MADV_DONTNEED") or not rows:
            return
        row_bytes = self.array.strides[0]
        start = (self.handle.offset + rows.start * row_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
        stop = self.handle.offset + rows.stop * row_bytes
        self._memory.madvise(mmap.MADV_DONTNEED, start, stop - start)

    def close(self) -> None:
        """Release the memory, which earlier views keep; closing twice does nothing."""
        self._array = None
        _mapped.pop(self.handle, None)
        self._let_go()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[Handle], SharedArray], tuple[Handle]]:
        return _attach, (self.handle,)


_mapped: weakref.WeakValueDictionary[Handle, SharedArray] = weakref.WeakValueDictionary()
"""The mappings of this process: a handle that arrives again finds its mapping and its pages."""


def _attach(handle: Handle) -> SharedArray:
    if (mapped := _mapped.get(handle)) is not None:
        return mapped
    try:
        descriptor = os.open(handle.path, os.O_RDWR if handle.writable else os.O_RDONLY)
    except OSError as error:
        raise NotAvailable(_gone(_name_of(error))) from error
    try:
        if _identity(descriptor) != handle.identity:
            raise NotAvailable(_gone("another file in its place"))
        return SharedArray(handle, descriptor)
    finally:
        os.close(descriptor)


def _gone(found: str) -> str:
    return f"shared array: expected the memory that its maker shares, got {found}; keep it open in its maker"


def _room_for(n_bytes: int, in_memory: bool) -> tuple[int, str]:
    """Return a descriptor of so many bytes in memory, else in a file, and a path where there is no /proc to open it."""
    if _can_share_unnamed():
        if in_memory:
            with suppress(OSError, AttributeError):  # Python built against an old C library has no memfd
                return _reserved(os.memfd_create("inferbench"), n_bytes), ""
        with tempfile.TemporaryFile() as file:
            return _reserved(os.dup(file.fileno()), n_bytes), ""
    descriptor, path = tempfile.mkstemp(prefix="inferbench-")
    try:
        return _reserved(descriptor, n_bytes), path
    except OSError:
        Path(path).unlink()
        raise


def _reserved(descriptor: int, n_bytes: int) -> int:
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, n_bytes)
        else:  # macOS: only written bytes surely have space
            zeros = bytes(1 << 20)
            for start in range(0, n_bytes, len(zeros)):
                os.write(descriptor, zeros[: n_bytes - start])
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _can_share_unnamed() -> bool:
    return Path("/proc/self/fd").is_dir()


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _let_go(descriptor: int, path: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked child holds a copy, and must not remove what its parent owns
        os.close(descriptor)
        if path:
            Path(path).unlink(missing_ok=True)


def _name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))
