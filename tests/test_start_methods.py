"""How workers start: fork only where it is safe, and a fork server that imports once for all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import parallel_helpers as helpers
import pytest

from inferbench_lib.errors import ConfigError
from inferbench_lib.processes.child import start_context

HERE = Path(__file__).parent


def run_with_one_thread(code: str) -> subprocess.CompletedProcess[str]:
    """Run the code in an interpreter whose libraries start no thread of their own."""
    code = f"import parallel_helpers as helpers\nfrom inferbench_lib.executors import listed\n{code}"
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, env=os.environ | limits, capture_output=True, text=True, timeout=60
    )


def test_a_fork_server_imports_once_for_all() -> None:
    """A module that takes 0.2 s to import, the model's own, costs a worker of a fork server next to nothing."""
    done = run_with_one_thread(
        "import slow_to_import\n"
        "for name in ('process_pool', 'shared_pool'):\n"
        "    for start_method in ('spawn', 'forkserver'):\n"
        "        with listed()[name](slow_to_import.load, n_processes=2, start_method=start_method) as pool:\n"
        "            print(min(s.end_s - s.start_s for s in pool.spans() if s.kind == 'import') >= 0.2)"
    )
    assert done.stderr == ""
    assert done.stdout == "True\nFalse\n" * 2


@pytest.mark.skipif(sys.platform != "linux", reason="fork is refused elsewhere")
def test_fork_works_where_it_is_safe() -> None:
    """In a process of one thread workers are forked, and give what the others give."""
    done = run_with_one_thread(
        "for name in ('process_pool', 'naive_pool'):\n"
        "    with listed()[name](helpers.load_row_sums, n_processes=2, start_method='fork') as pool:\n"
        "        print(pool.map(helpers.numbered_rows(4), 1).tolist())"
    )
    assert done.stderr == ""
    assert done.stdout == "[1.0, 3.0, 7.0, 13.0]\n" * 2


@pytest.mark.skipif(sys.platform != "linux", reason="fork is refused elsewhere")
def test_fork_is_refused_where_it_is_not_safe() -> None:
    """A second thread, and nothing is forked: the message says how many there are and what to do."""
    done = run_with_one_thread(
        "import threading\nfrom inferbench_lib.errors import ConfigError\n"
        "release = threading.Event()\nthreading.Thread(target=release.wait).start()\n"
        "for name in ('process_pool', 'naive_pool'):\n"
        "    try:\n"
        "        listed()[name](helpers.load_row_sums, n_processes=2, start_method='fork')\n"
        "    except ConfigError as error:\n"
        "        print(error)\n"
        "release.set()"
    )
    assert done.stderr == ""
    assert done.stdout == 2 * (
        "start_method: expected no other thread in a process that forks, got 1 (OpenMP, OpenBLAS, torch or "
        "Python have started them); use spawn or forkserver, or set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1 "
        "before the first import\n"
    )


def test_an_unknown_start_method_is_refused() -> None:
    """The names that exist are told."""
    with pytest.raises(ConfigError) as caught:
        start_context("teleport", helpers.load_row_sums)
    assert str(caught.value) == "start_method: expected one of fork, forkserver, spawn, got 'teleport'"
