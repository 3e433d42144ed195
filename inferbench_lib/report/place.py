"""Create the run folder, lock the reports folder, and end on SIGTERM as on Ctrl-C."""

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
    """Create `reports/<date>-<time>-<profile>`; raises StoreError, before measuring, where it cannot be written."""
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
    raise StoreError(f"reports: expected a new folder {stem}, got 99 folders with that name; remove some of them")


@contextlib.contextmanager
def only_one(reports: Path) -> Iterator[None]:
    """Lock the reports folder; raises StoreError with the process that holds the lock."""
    try:
        reports.mkdir(parents=True, exist_ok=True)
        lock = (reports / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise _not_writable(error) from None
    with lock:
        if not _try_lock(lock.fileno()):
            lock.seek(0)
            raise StoreError(
                f"reports: expected no other report to be running, got process {lock.read().strip() or '?'}; "
                "wait for it to end, because two at once would disturb each other's measurements"
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()} since {datetime.now(UTC):%H:%M:%S} UTC")
        lock.flush()
        yield
        lock.truncate(0)


def _not_writable(error: OSError) -> StoreError:
    return StoreError(
        f"reports: expected a writable folder, got: {error.strerror}; "
        "make it writable or choose another with INFERBENCH_REPORTS="
    )


def _try_lock(descriptor: int) -> bool:
    """Return whether this process got the file's lock; always, on a system without such locks."""
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
    """Handle SIGTERM as Ctrl-C, so that the kernel is ended and the run is marked; yield an event that it sets."""
    came = threading.Event()

    def stop(signal_number: int, frame: object) -> NoReturn:
        came.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)
