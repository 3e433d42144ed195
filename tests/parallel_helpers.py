"""Small importable models that workers of the tests load, some of them with a fault."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from remote_probe import TwoArguments


def row_sums(rows: np.ndarray) -> np.ndarray:
    """One number a row, told from the row's own values."""
    return rows.sum(axis=1)


class AtRow:
    """`row_sums` that first does something to its own process at the batch that holds `row` (its first column)."""

    def __init__(self, act: Callable[[], None], row: int) -> None:
        self._act, self._row = act, row

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        if rows[0, 0] <= self._row <= rows[-1, 0]:
            self._act()
        return row_sums(rows)


def signal_itself(number: int) -> None:
    os.kill(os.getpid(), number)


def signal_first(number: int, note: Path) -> None:
    """Signals its own process if it is the first that comes here; `note` remembers that one has come."""
    try:
        note.touch(exist_ok=False)
    except FileExistsError:
        return
    signal_itself(number)


def load_row_sums() -> Callable[[np.ndarray], np.ndarray]:
    return row_sums


def load_at_row(act: Callable[[], None], row: int) -> AtRow:
    return AtRow(act, row)


def load_sleeper(seconds: float) -> Callable[[np.ndarray], np.ndarray]:
    return partial(slow_row_sums, seconds)


def slow_row_sums(seconds: float, rows: np.ndarray) -> np.ndarray:
    """`row_sums` that also sleeps `seconds`."""
    time.sleep(seconds)
    return row_sums(rows)


def load_relay(note: Path) -> Callable[[np.ndarray], np.ndarray]:
    return partial(relay_row_sums, note)


def relay_row_sums(note: Path, rows: np.ndarray) -> np.ndarray:
    """`row_sums` that, with row 0, waits until another process has come to the last row of a thousand."""
    if rows[-1, 0] == 999:
        note.touch()
    if rows[0, 0] == 0:
        wait_for(note)
    return row_sums(rows)


def load_after(note: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Loads `row_sums` once there is a note."""
    wait_for(note)
    return row_sums


def load_noting(note: Path, seconds: float = 0.0) -> Callable[[np.ndarray], np.ndarray]:
    """Loads a sleeper, and leaves a note that it is there."""
    note.touch()
    return load_sleeper(seconds)


class AfterItsFirst:
    """`slow_row_sums` that, from its second call on, waits for a note first."""

    def __init__(self, note: Path, seconds: float = 0.0) -> None:
        self._note, self._seconds, self._is_first = note, seconds, True

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        if not self._is_first:
            wait_for(self._note)
        self._is_first = False
        return slow_row_sums(self._seconds, rows)


def load_announcing() -> Callable[[np.ndarray], np.ndarray]:
    return announcing


def announcing(rows: np.ndarray) -> np.ndarray:
    """Prints that it is at work, in one piece whoever prints beside it, and then sleeps for ten minutes."""
    os.write(1, b"at work\n")
    time.sleep(600)
    return row_sums(rows)


def wait_for(note: Path) -> None:
    """Until the file is there."""
    while not note.exists():
        time.sleep(0.002)


def load_always(act: Callable[[], None]) -> Callable[[np.ndarray], np.ndarray]:
    return partial(always, act)


def always(act: Callable[[], None], rows: np.ndarray) -> np.ndarray:
    """`row_sums` that first does something to its own process."""
    act()
    return row_sums(rows)


def load_short() -> Callable[[np.ndarray], np.ndarray]:
    return short


def short(rows: np.ndarray) -> np.ndarray:
    """Wrong: loses its last row."""
    return rows[:-1, 0]


def load_nothing() -> Callable[[np.ndarray], np.ndarray]:
    raise LookupError("no such model")


def load_marking() -> Callable[[np.ndarray], np.ndarray]:
    return marking


def marking(rows: np.ndarray) -> np.ndarray:
    """Writes -1 into the third column of its input."""
    rows[:, 2] = -1
    return rows[:, 0]


class Ragged:
    """Wrong: its outputs are of one dtype at first and of another after that."""

    dtype = "float32"

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        output = rows[:, 0].astype(self.dtype)
        self.dtype = "float64"
        return output


def load_ragged() -> Callable[[np.ndarray], np.ndarray]:
    return Ragged()


class SumModel:
    """A model with `predict`."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return row_sums(rows)


def small_forest() -> Any:
    """A forest of five trees over `numbered_rows`, trained in well under a second."""
    from sklearn.ensemble import RandomForestClassifier

    rows = numbered_rows(200)
    return RandomForestClassifier(5, random_state=0).fit(rows, rows[:, 0] % 3)


def load_small_forest() -> Callable[[np.ndarray], np.ndarray]:
    predict: Callable[[np.ndarray], np.ndarray] = small_forest().predict
    return predict


def numbered_rows(n_rows: int) -> np.ndarray:
    """`(n_rows, 3)` float64: the row's number, its square, one."""
    numbers = np.arange(n_rows, dtype=float)
    return np.stack([numbers, numbers**2, np.ones(n_rows)], axis=1)


def raise_unpicklable() -> None:
    raise TwoArguments("broken", "row 7")


def fresh_import(name: str) -> Any:
    """The VALUE of a module that is imported by a module of its own, both anew."""
    sys.modules.pop(name, None)
    namespace: dict[str, Any] = {}
    exec(f"from {name} import VALUE", namespace)
    return namespace["VALUE"]


def load_growing(n_bytes: int) -> Callable[[np.ndarray], np.ndarray]:
    return partial(growing_row_sums, n_bytes)


def growing_row_sums(n_bytes: int, rows: np.ndarray) -> np.ndarray:
    """`row_sums` whose process keeps `n_bytes` more after every call that is longer than a second."""
    time.sleep(1.1)
    _kept.append(np.ones(n_bytes, dtype=np.uint8))
    return row_sums(rows)


_kept: list[np.ndarray] = []
