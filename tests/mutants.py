"""Break the measuring code on purpose, one change at a time: each change must make a test fail.

`python tests/mutants.py [--list] [--only TEXT]` works on copies of the checkout, in which it applies the changes of
mutant_table.py one after the other and runs the test named there. Exit 1 when a change survives its test, when the
text that it replaces is not there exactly once, or when an item of the list has no change.

Each run of a test is a fork of one process that has imported the frameworks already; that is what makes it quick.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import groupby
from pathlib import Path

from mutant_table import ITEMS, MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("inferbench_lib", "tests", "pyproject.toml")
N_AT_ONCE = 2
TIMEOUT_S = 60.0
LOG = "tests.log"
KILLED, SURVIVED, BROKEN, EQUIVALENT = "killed", "SURVIVED", "CANNOT RUN", "equivalent"


def problems(mutants: Sequence[Mutant], items: Collection[str], root: Path) -> list[str]:
    """What is wrong with the table itself, a sentence each."""
    found = []
    for mutant, n_alike in Counter(map(str, mutants)).items():
        if n_alike > 1:
            found.append(f"{mutant}: expected one mutant of that name, got {n_alike}")
    for mutant in mutants:
        path = root / mutant.file
        n_places = path.read_text().count(mutant.old) if path.exists() else 0
        if n_places != 1:
            found.append(
                f"{mutant}: no longer applies: expected its old text once in {mutant.file}, got it {n_places} ×"
            )
        if bool(mutant.test) == bool(mutant.equivalent):
            found.append(f"{mutant}: expected either a test that kills it or the reason why none can")
        if mutant.item and mutant.item not in items:
            found.append(f"{mutant}: expected an item of the list, got {mutant.item}")
    killable = {mutant.item for mutant in mutants if mutant.test}
    return found + [f"{item}: expected a mutant that stands for it, got none" for item in items if item not in killable]


def run(
    mutants: Sequence[Mutant], root: Path, *, preload: Callable[[], None] = lambda: None, timeout_s: float = TIMEOUT_S
) -> int:
    """Try every mutant and print a line for each; the exit code."""
    started_s = time.monotonic()
    preload()
    to_kill = [mutant for mutant in mutants if mutant.test]
    tests = sorted({mutant.test for mutant in to_kill})
    verdicts = Counter({EQUIVALENT: len(mutants) - len(to_kill)})
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        ProcessPoolExecutor(
            N_AT_ONCE, multiprocessing.get_context("fork"), initializer=_make_lane, initargs=(root, Path(folder))
        ) as lanes,
    ):
        by_file = [list(group) for _, group in groupby(tests, lambda test: test.partition("::")[0])]
        for code, log in lanes.map(partial(_run_tests, timeout_s=10 * timeout_s), by_file):
            if code != 0:
                print(f"{log}\nThese tests fail without any mutant; correct that first.")
                return 1
        for mutant, (verdict, why) in zip(to_kill, lanes.map(partial(_try, timeout_s=timeout_s), to_kill), strict=True):
            print(f"{verdict:10} {mutant} · {why}", flush=True)
            verdicts[verdict] += 1
    for mutant in mutants:
        if mutant.equivalent:
            print(f"{EQUIVALENT:10} {mutant} · {mutant.equivalent}")
    counted = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items() if n)
    print(f"{len(mutants)} mutants: {counted}; {len(tests)} tests, {time.monotonic() - started_s:.0f} s")
    return int(verdicts[SURVIVED] + verdicts[BROKEN] > 0)


def _make_lane(root: Path, folder: Path) -> None:
    """Give this process a copy of the checkout to itself."""
    lane = folder / str(os.getpid())
    lane.mkdir()
    for source in filter(Path.exists, (root / name for name in COPIED)):
        if source.is_dir():
            shutil.copytree(source, lane / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, lane)
    os.chdir(lane)


def _try(mutant: Mutant, timeout_s: float) -> tuple[str, str]:
    """The verdict on one mutant, and what led to it."""
    path = Path(mutant.file)
    sound = path.read_text()
    path.write_text(sound.replace(mutant.old, mutant.new))
    try:
        code, log = _run_tests([mutant.test], timeout_s)
    finally:
        path.write_text(sound)
    if code is None:
        return KILLED, f"no end within {timeout_s:g} s of {mutant.test}"
    if code == 0:
        return SURVIVED, mutant.test
    failed = [line.partition(" - ")[0].removeprefix("FAILED ") for line in log.splitlines() if line[:7] == "FAILED "]
    return (KILLED, failed[0]) if code == 1 and failed else (BROKEN, f"pytest ended with {code}:\n{log}")


def _run_tests(tests: Sequence[str], timeout_s: float) -> tuple[int | None, str]:
    """pytest's exit code on these tests, None when they had to be killed; and what it said."""
    child = multiprocessing.get_context("fork").Process(target=_pytest, args=(tests,))
    child.start()
    assert child.pid is not None
    try:
        child.join(timeout_s)
        code = child.exitcode
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # and whatever the tests have started
        child.join()
    return code, Path(LOG).read_text()


def _pytest(tests: Sequence[str]) -> None:
    import pytest

    os.setsid()
    here = Path.cwd()
    with Path(LOG).open("w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    sys.path[:0] = [str(here), str(here / "tests")]
    sys.dont_write_bytecode = True  # a mutant's bytecode must not outlive it
    # CI: a missing compiler is a failure, not a skip.
    os.environ |= {"PYTHONPATH": str(here), "PYTHONDONTWRITEBYTECODE": "1", "CI": "true"}
    # No conftest: it needs a browser's driver, and these tests do not.
    code = pytest.main(["-xq", "--tb=short", "--noconftest", "-pno:cacheprovider", f"--rootdir={here}", *tests])
    sys.stdout.flush()
    os._exit(code)


def _preload() -> None:
    """Import what is slow and not mutated."""
    import hypothesis
    import pytest
    import scipy.stats
    import sklearn.ensemble
    import torch
    from simulated_device import NoCompiler, load

    del hypothesis, pytest, scipy, sklearn, torch
    with suppress(NoCompiler):  # the tests that need one say so
        load().present = False


def main() -> int:
    """The command line; its exit code."""
    parser = argparse.ArgumentParser(description="Break the measuring code on purpose: each break must fail a test.")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the mutants with this text in item or name")
    options = parser.parse_args()
    if wrong := problems(MUTANTS, ITEMS, ROOT):
        print(*wrong, sep="\n")
        return 1
    chosen = [mutant for mutant in MUTANTS if options.only in str(mutant)]
    if options.list:
        print(*chosen, sep="\n")
        return 0
    return run(chosen, ROOT, preload=_preload)


if __name__ == "__main__":
    sys.exit(main())
