"""An executor is one file: the listing, the parameters, the measurement and the names of the page find it there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import parallel_helpers as helpers
import pytest

from inferbench_lib.errors import ConfigError
from inferbench_lib.executors import listed
from inferbench_lib.executors.sequential import Single

ROOT = Path(__file__).parents[1]
ADDED = '''
"""Run the model in Python threads of this process."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from inferbench_lib.executors.base import Executor, in_memory
from inferbench_lib.processes.scheduling import batches
from inferbench_lib.processes.spans import idle_spans, now
from inferbench_lib.processes.task import compute


class PythonThreads(Executor):
    """One thread per part of the rows; the threads share the model."""

    name = "python_threads"
    title = "Python threads"

    def _start(self):
        self._runner = self._load_runner()

    def map(self, x, batch_size):
        self.ready()
        parts = np.array_split(in_memory(x), self._n_processes)
        began_s, spans = now(), []

        def work(worker):
            rows = parts[worker]
            tasks = batches(len(rows), batch_size)
            return [compute(self._runner, rows[task.start : task.stop], spans, worker) for task in tasks]

        with ThreadPoolExecutor(self._n_processes) as pool:
            outputs = [output for part in pool.map(work, range(self._n_processes)) for output in part]
        self._map_spans = (*spans, *idle_spans(spans, range(self._n_processes), began_s, now()))
        return np.concatenate(outputs)
'''
USED = """
from inferbench_lib import studies
from inferbench_lib.executors import listed
from inferbench_lib.studies.cpu_multiprocess.page_ways import NAMES
run = studies.run(
    "cpu_multiprocess", executors=["single", "python_threads"], cold_executors=[], n_samples=300, n_features=4,
    n_processes=2, batch_size=50, n_trees=3, n_train=100, min_rounds=1, max_rounds=1, measure_memory=False,
)
print([row.case.executor for row in run.measurements], NAMES["python_threads"], len(listed()))
print(sorted(name for name in run.summary if name.startswith("speedup[")))
"""
FRAMEWORKS = {"torch", "sklearn", "dask", "distributed", "joblib", "pandas"}


def run_python(code: str, *paths: Path, cwd: Path) -> str:
    """Run the code in a fresh interpreter that imports from `paths`, and return what it prints."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "INFERBENCH_REPORT": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_executor_says_what_it_is() -> None:
    """The listing has every executor under its name, with a title and with options that its constructor takes."""
    assert {name: kind.title for name, kind in listed().items()} == {
        "ceiling": "independent processes",
        "dask": "Dask",
        "loky": "joblib's loky",
        "naive_pool": "a new ProcessPoolExecutor per call",
        "process_pool": "ProcessPoolExecutor, kept warm",
        "shared_pool": "the shared-memory pool",
        "single": "one process",
        "threads": "scikit-learn threads",
    }
    by_start_method = {name for name, kind in listed().items() if "start_method" in kind.options()}
    assert by_start_method == {"naive_pool", "process_pool", "shared_pool", "ceiling"}
    assert {name for name, kind in listed().items() if kind.has_cold_start} == {
        "process_pool", "shared_pool", "loky", "dask",
    }  # fmt: skip
    assert {"on_worker_death", "n_at_once"} <= listed()["shared_pool"].options()
    assert listed()["dask"].options() == {"scheduler", "timeout_s"}
    assert listed()["single"].options() == set()


def test_the_listing_loads_no_framework(tmp_path: Path) -> None:
    """Parameters are checked against the listing before anything heavy is needed."""
    code = "import sys\nfrom inferbench_lib.executors import listed\nlisted()\nprint(*sys.modules)"
    assert not FRAMEWORKS & set(run_python(code, ROOT, cwd=tmp_path).split())


def test_an_added_file_is_a_new_executor(tmp_path: Path) -> None:
    """In a copy of the library with one more file, the new executor is listed, accepted, measured and named."""
    shutil.copytree(ROOT / "inferbench_lib", tmp_path / "inferbench_lib", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "inferbench_lib/executors/python_threads.py").write_text(ADDED)
    assert run_python(USED, tmp_path, cwd=tmp_path).splitlines()[-2:] == [
        f"['single', 'python_threads'] Python threads {len(listed()) + 1}",
        "['speedup[python_threads]']",
    ]


def test_an_executor_of_one_process_refuses_more() -> None:
    """The number that came and the way out are named."""
    with pytest.raises(ValueError, match=r"^single.n_processes: expected 1, got 2; use a pool for more$"):
        Single(helpers.load_row_sums, n_processes=2)


def test_a_model_that_no_worker_can_load_is_refused_before_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of a notebook cell is a ConfigError in every pool, and no process starts."""
    monkeypatch.setattr(helpers.load_row_sums, "__module__", "__main__")
    monkeypatch.setitem(sys.modules, "__main__", type(sys)("__main__"))
    for name in ("process_pool", "loky", "dask", "shared_pool", "ceiling"):
        with pytest.raises(ConfigError, match="move `load_row_sums` into a module and import it"):
            listed()[name](helpers.load_row_sums, n_processes=2).ready()
