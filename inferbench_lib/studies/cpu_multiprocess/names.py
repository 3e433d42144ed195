"""Name the ways of using several CPUs in words and in code."""

from __future__ import annotations

from inferbench_lib.executors import listed
from inferbench_lib.studies.cpu_multiprocess.ways import THREADS, Way

NAMES = {name: kind.title for name, kind in listed().items()}
ALONE = NAMES["single"]

_PARTS = "np.array_split(rows, {n_processes})"
CODE = {
    ("sklearn", "single"): "model.n_jobs = 1",
    ("sklearn", "threads"): "model.n_jobs = {n_threads}",
    ("torch", "single"): "torch.set_num_threads(1)",
    ("torch", "threads"): "torch.set_num_threads({n_threads})",
    ("sklearn", "naive_pool"): f"""\
from concurrent.futures import ProcessPoolExecutor

with ProcessPoolExecutor({{n_processes}}) as pool:
    outputs = np.concatenate(list(pool.map(model.predict, {_PARTS})))""",
    ("sklearn", "process_pool"): f"""\
from concurrent.futures import ProcessPoolExecutor

def load(model):
    global predict
    predict = model.predict

def call(part):
    return predict(part)

with ProcessPoolExecutor({{n_processes}}, initializer=load, initargs=(model,)) as pool:  # open it once for all calls
    outputs = np.concatenate(list(pool.map(call, {_PARTS})))""",
    ("sklearn", "loky"): f"""\
from joblib import Parallel, delayed

outputs = np.concatenate(Parallel({{n_processes}})(delayed(model.predict)(part) for part in {_PARTS}))""",
    ("sklearn", "shared_pool"): """\
from inferbench_lib import parallel_predict

outputs = parallel_predict(model, rows, n_processes={n_processes})""",
    ("sklearn", "dask"): f"""\
from dask.distributed import Client

with Client(n_workers={{n_processes}}, threads_per_worker=1) as client:  # or Client("scheduler:8786") for your cluster
    predict = client.scatter(model.predict, broadcast=True)
    parts = client.map(lambda part, predict: predict(part), {_PARTS}, predict=predict)
    outputs = np.concatenate(client.gather(parts))""",
}
"""The code of an executor by engine, around a fitted `model`, its `rows` and numpy as `np`."""


def title(way: Way) -> str:
    """Return the name of the executor, with what else tells it apart: `scikit-learn threads (2 threads)`."""
    executor = way.cell.case.executor
    more = f" ({', '.join(way.label.more)})" if way.label.more else ""
    return f"{NAMES.get(executor, executor)}{more}{', cold' if way.cell.case.cold else ''}"


def setting(way: Way) -> str:
    """Return the parameter that makes a way, `n_jobs=2`; empty where it takes more than one."""
    case = way.cell.case
    return f"n_jobs={case.n_threads}" if (case.executor, case.engine) == (THREADS, "sklearn") else ""


def code(way: Way) -> str:
    """Return the code that uses the CPUs in this way; empty for an engine without such code."""
    case = way.cell.case
    lines = CODE.get((case.engine, case.executor), "")
    return lines.format(n_processes=case.n_processes, n_threads=case.n_threads)
