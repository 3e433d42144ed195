"""Objects that tests put into a process of their own; nothing heavy is imported here."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inferbench_lib.errors import NotAvailable


class TwoArguments(Exception):
    """Can be pickled, but not unpickled: its constructor wants more than its message."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} at {where}")


class NoReturn:
    """A result that can be pickled, but not unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return _refuse, ("cannot come back",)


def _refuse(text: str) -> None:
    raise ValueError(text)


class Probe:
    """Tells about the process it lives in, and misbehaves on request."""

    def __init__(self, closing_note: Path | None = None) -> None:
        self._closing_note = closing_note

    def pid(self) -> int:
        return os.getpid()

    def environ(self, name: str) -> str | None:
        return os.environ.get(name)

    def modules(self) -> set[str]:
        return set(sys.modules)

    def length(self, value: Any) -> int:
        return len(value)

    def hash_of(self, text: str) -> int:
        return hash(text)

    def first_item(self, shared: Any) -> float:
        return float(shared.array.flat[0])

    def cpu_s(self) -> float:
        return time.process_time()

    def nap(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait_for(self, note: Path) -> None:
        while not note.exists():
            time.sleep(0.002)

    def interrupt_caller(self) -> None:
        """Ctrl-C for the process that asks, which then gets no answer for a minute."""
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)

    def leave(self, code: int) -> None:
        os._exit(code)

    def die(self, number: int) -> None:
        os.kill(os.getpid(), number)

    def fail(self) -> None:
        raise TwoArguments("broken", "row 7")

    def exhaust(self) -> None:
        raise MemoryError("no room for 8 rows")

    def refuse(self) -> None:
        raise NotAvailable("gpu: expected one, got none")

    def unpicklable(self) -> Any:
        return threading.Lock()

    def no_return(self) -> NoReturn:
        return NoReturn()

    def close(self) -> None:
        if self._closing_note:
            self._closing_note.write_text("closed")


def fail_to_build() -> None:
    raise LookupError("no such model")


def import_slowly() -> list[int]:
    """Something whose making is an import of at least 0.2 s, and nothing else."""
    import slow_to_import

    return [slow_to_import.VALUE]
