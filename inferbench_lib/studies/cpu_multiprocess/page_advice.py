"""Word which way to use, what it gains and why, with the code to copy."""

from __future__ import annotations

from inferbench_lib.executors import listed
from inferbench_lib.findings import Advice, Ratio, Refusal, Verdict
from inferbench_lib.report.words import capital, compared, interval, joined, plural, share, times
from inferbench_lib.stats.comparison import WORTH
from inferbench_lib.studies.cpu_multiprocess.page_ways import ALONE, title
from inferbench_lib.studies.cpu_multiprocess.study import Choice, MultiprocessStudy
from inferbench_lib.studies.cpu_multiprocess.ways import THREADS, Way, is_known
from inferbench_lib.work import title_of

PARAMETERS = {"sklearn": "set n_jobs={n_threads}", "torch": "call torch.set_num_threads({n_threads})"}
"""The threads of an engine as its users set them."""

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


def verdict(said: MultiprocessStudy) -> str:
    """Return what to do and what it gains, the simplest way first: at most two sentences."""
    choice = said.choice
    if isinstance(choice, Refusal):
        return f"{capital(choice.reason).removesuffix('.')}."
    speedup = choice.way.ratio
    if choice.is_open:
        first, second = _closest(choice), []
    elif speedup is None:
        first, second = (
            f"stay with {ALONE}: {_why_one_process(choice)}",
            [f"closest: {_closest(choice)}"] if choice.others else [],
        )
    elif choice.simpler and (before := choice.simpler[0].ratio):
        simpler, gain = choice.simpler
        first = f"{_do(simpler)}: {_as_fast(before)}"
        second = [f"{_do(choice.way)} for {_gained(gain, ' more')}: {times(speedup.value)}{_kept(choice.way)}"]
    else:
        first, second = f"{_do(choice.way)}: {_as_fast(speedup)}{_kept(choice.way)}", _others(choice)
    second += [f"not measured: {joined(map(title, said.missing))}"] if said.missing else []
    return " ".join(f"{capital(sentence)}." for sentence in (first, "; ".join(second)) if sentence)


def _why_one_process(choice: Choice) -> str:
    if not choice.others:
        return "no other way was measured"
    if choice.judged(Verdict.FASTER):
        return f"no other way is shown to gain more than {share(WORTH - 1)}"
    return "no other way is shown to be faster"


def _closest(choice: Choice) -> str:
    """Return how the fastest way compares with one process, in words; empty without any."""
    return next((compared(gain, title(way), ALONE) for way, gain in choice.others), "")


def _others(choice: Choice) -> list[str]:
    """Return what a more complicated way gains over the recommended one, and the ties, in words."""
    found = [f"{title(way)} adds {_gained(gain)}" for way, gain in choice.judged(Verdict.FASTER)[:1]]
    tied = choice.judged(Verdict.INDISTINGUISHABLE)
    return [*found, *([f"statistically tied: {joined(title(way) for way, _ in tied)}"] if tied else [])]


def _gained(gain: Ratio, more: str = "") -> str:
    gained = gain.map(lambda value: value - 1)
    return f"{share(gained.value)}{more} ({interval(gained.low, gained.high, share)})"


def _do(way: Way) -> str:
    """Return what to do, by its parameter where one does it: `set n_jobs=2`."""
    case = way.cell.case
    parameter = PARAMETERS.get(case.engine, "") if case.executor == THREADS else ""
    return parameter.format(n_threads=case.n_threads) or f"use {title(way)}"


def _as_fast(speedup: Ratio) -> str:
    return f"{times(speedup.value)} as fast as {ALONE} ({interval(speedup.low, speedup.high)})"


def _kept(way: Way) -> str:
    """Return that the speedup is that of a pool that is kept, and the one of a single call, in words."""
    if not listed()[way.cell.case.executor].has_cold_start:
        return ""
    cold = way.from_cold
    is_judged = cold and (cold.is_difference or cold.verdict is Verdict.INDISTINGUISHABLE)
    return f" while it is kept{f', {times(cold.value)} for one call from a cold start' if cold and is_judged else ''}"


def _of_ceiling(choice: Choice) -> str:
    """Return how close the recommended way comes to independent processes, in words."""
    part = choice.way.of_ceiling
    if not is_known(part):
        return ""
    is_all = part.verdict in (Verdict.FASTER, Verdict.INDISTINGUISHABLE)
    return f"{'as fast as' if is_all else f'{share(part.value)} of what'} this machine allows"


def advise(said: MultiprocessStudy) -> Advice:
    """Recommend the simplest way that no more complicated one is worth leaving."""
    choice, n_rows = said.choice, int(said.run.params["n_samples"])
    workload = title_of(said.run.params.get("workload", "forest"))
    checked = f"outputs checked ({said.verification.word})" if said.verification else "outputs not checked"
    limits = f"this machine, {n_rows:,} rows per call, {checked}"
    if isinstance(choice, Refusal) or choice.is_open:
        why = choice.reason if isinstance(choice, Refusal) else _closest(choice)
        return Advice(recommendation=f"no recommendation for {workload}", evidence=why.removesuffix("."), limits=limits)
    if choice.way.ratio is None:
        recommendation = f"stay with {ALONE} for {workload}"
        found = [_why_one_process(choice), _closest(choice)]
    else:
        recommendation = f"{_do(choice.way)} for {workload}: {_as_fast(choice.way.ratio)}{_kept(choice.way)}"
        found = [f"compared within {plural(choice.way.ratio.n_rounds, 'round')}, with a 95 % interval"]
        if choice.simpler and (before := choice.simpler[0].ratio):
            found.append(f"{times(before.value)} with the simpler way: {_do(choice.simpler[0])}")
        found += [_of_ceiling(choice), *_others(choice)]
    evidence = "; ".join(filter(None, found))
    return Advice(
        recommendation=recommendation, evidence=evidence, limits=limits, code=_code(choice.way), gain=choice.way.ratio
    )


def _code(way: Way) -> str:
    """Return the code that uses the CPUs in this way; empty for an engine without such code."""
    case = way.cell.case
    lines = CODE.get((case.engine, case.executor), "")
    return lines.format(n_processes=case.n_processes, n_threads=case.n_threads)
