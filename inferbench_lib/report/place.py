"""Where a report comes to lie, that no other is made there meanwhile, and that it can be interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from inferbench_lib.errors import StoreError


def new_folder(reports: Path, started: datetime, profile: str) -> Path:
    """`reports/<date>-<time>-<profile>`; raises StoreError before measuring where it cannot be written."""
    stem = f"{started:%Y%m%d-%H%M%S}-{profile}"
    for number in range(1, 100):
        folder = reports / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise _not_writable(error) from None
        return folder
    raise StoreError(f"reports: expected a free name like {stem}, got 99 folders of that name; remove some")


@contextlib.contextmanager
def only_one(reports: Path) -> Iterator[None]:
    """Hold the lock of the reports folder; raises StoreError naming the process that holds it."""
    try:
        reports.mkdir(parents=True, exist_ok=True)
        lock = (reports / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise _not_writable(error) from None
    with lock:
        if not _try_lock(lock.fileno()):
            lock.seek(0)
            raise StoreError(
                f"reports: expected no other report in the making, got one by process {lock.read().strip() or '?'}; "
                "two at once would disturb each other's figures: wait for it to end"
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()} since {datetime.now(UTC):%H:%M:%S} UTC")
        lock.flush()
        yield
        lock.truncate(0)


def _not_writable(error: OSError) -> StoreError:
    return StoreError(
        f"reports: expected a folder that can be written to, got: {error.strerror}; "
        "make it writable or name another with INFERBENCH_REPORTS="
    )


def _try_lock(descriptor: int) -> bool:
    """Whether this process got the file's lock; where the system has no such locks, always."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def terminable() -> Iterator[threading.Event]:
    """Let SIGTERM interrupt as Ctrl-C does, so that the kernel is ended and the run is marked; set when it came."""
    came = threading.Event()

    def stop(signal_number: int, frame: object) -> NoReturn:
        came.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)
