"""Show which way of using several CPUs pays, and where the others lose their time."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from inferbench_lib.findings import Advice, Interval, Ratio, Verdict
from inferbench_lib.records import Outcome
from inferbench_lib.report.display import Answer, Card, Table
from inferbench_lib.report.words import capital, compared, gathered, interval, joined, plural, seconds, share, times
from inferbench_lib.studies.cpu_multiprocess.page_scaling import crossover_map, network_spread, scaling_curve
from inferbench_lib.studies.cpu_multiprocess.page_ways import (
    ALONE,
    cold_start,
    executor_times,
    memory_by_way,
    side_by_side,
    title,
    where_the_time_went,
)
from inferbench_lib.studies.cpu_multiprocess.study import WORTH, Choice, MultiprocessStudy
from inferbench_lib.studies.cpu_multiprocess.study import study as study
from inferbench_lib.studies.cpu_multiprocess.ways import THREADS, Way, is_known
from inferbench_lib.work import title_of

VIEWS = (
    executor_times,
    side_by_side,
    where_the_time_went,
    cold_start,
    scaling_curve,
    crossover_map,
    memory_by_way,
    network_spread,
)
PICTURE = executor_times
EXPLANATION = where_the_time_went
HEADLINES = {"speedup": "shared-memory pool over one process"}
KEY_FIGURES = {
    r"single_s": "Forest, one process",
    r"multi_s": "Forest, shared-memory pool",
    r"speedup": "Speedup of that pool",
    r"efficiency": "Speedup ÷ processes",
    r"verification": "Outputs against the reference",
}
REFERENCE = {
    "way": "reference laptop, 4 processes",
    "median": "6.245 s",
    "95 % interval": "not published",
    "speedup": "0.738×",
    "efficiency": "18 %",
    "verdict": "published",
    "verified": "PASSED",
}
"""Published for a Windows laptop of 8 cores and 16 threads, 15.79 GB, Python 3.12.2. One process took 4.607 s there."""

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


def answer(said: MultiprocessStudy) -> Answer:
    """Return which way to use here, how much it gains, and how sure that is."""
    best = said.choice.way if said.choice else None
    warm = [way for way in said.warm.values() if is_known(way.ratio)]
    warm.sort(key=lambda way: (way is not best, -way.ratio.value if way.ratio else 0.0))
    ratios = {f"speedup of {title(way)}": way.ratio for way in (*warm, *said.cold.values())}
    ceiling = "the ceiling: independent processes, nothing shared"
    ratios |= {f"{ceiling}{key and ', '}{key}": ratio for key, ratio in said.ceilings.items()}
    flags = gathered((flag for way in said.ways for flag in way.cell.flags), len(said.ways))
    ended = [
        f"{capital(title(way))}: {way.summary.outcome} ({way.summary.reason})"
        for way in said.ways
        if way.summary.outcome is not Outcome.OK
    ]
    return Answer(
        verdict=_verdict(said),
        cards=tuple(_card(label, ratio) for label, ratio in ratios.items() if is_known(ratio)),
        flags=(*flags, *ended),
        code=advise(said).code,
    )


def _card(label: str, ratio: Ratio) -> Card:
    unsure = ", unstable" if ratio.verdict is Verdict.UNSTABLE else ""
    return Card(value=times(ratio.value), label=label, interval=f"{interval(ratio.low, ratio.high, times)}{unsure}")


def _verdict(said: MultiprocessStudy) -> str:
    if not said.verification.passed:
        return f"No verdict: verification FAILED ({said.verification.detail})."
    choice = said.choice
    if choice is None:
        return "No verdict: one process was not measured, and nothing can be compared without it."
    if choice.way.ratio is None:
        return f"Stay with {ALONE}: {'. Closest: '.join(_why_one_process(choice))}."
    others = f" {capital(found)}." if (found := _others(choice)) else ""
    fast = f"{_as_fast(choice.way.ratio)}{_of_ceiling(said, choice.way)}"
    return f"Use {_named(choice.way)}: {fast}.{others}"


def _why_one_process(choice: Choice) -> list[str]:
    """Return why one process is recommended, then the way that comes closest to more, in words."""
    if not choice.others:
        return ["no other way was measured"]
    way, gain = choice.others[0]
    is_small = choice.judged(Verdict.FASTER) and f"no other way is shown to gain more than {share(WORTH - 1)}"
    return [is_small or "no other way is faster", compared(gain, title(way), ALONE)]


def _others(choice: Choice) -> str:
    """Return what the recommended way gains over a simpler one, else a more complicated one over it; and the ties."""
    found = []
    if choice.simpler and (before := choice.simpler[0].ratio):
        simpler, gain = choice.simpler
        found.append(f"with {_named(simpler)} it is already {times(before.value)}; {_adds(choice.way, gain)}")
    elif faster := choice.judged(Verdict.FASTER):
        found.append(_adds(*faster[0]))
    if tied := choice.judged(Verdict.INDISTINGUISHABLE):
        found.append(f"statistically tied: {joined(title(way) for way, _ in tied)}")
    return "; ".join(found)


def _adds(way: Way, gain: Ratio) -> str:
    more = gain.map(lambda value: value - 1)
    return f"{title(way)} adds {share(more.value)} ({interval(more.low, more.high, share)})"


def _named(way: Way) -> str:
    """Return the name of a way, with the parameter that makes it where one does: `scikit-learn threads (n_jobs=2)`."""
    case = way.cell.case
    is_parameter = (case.executor, case.engine) == (THREADS, "sklearn")
    return f"{title(way)} (n_jobs={case.n_threads})" if is_parameter else title(way)


def _as_fast(speedup: Ratio) -> str:
    return f"{times(speedup.value)} as fast as {ALONE} ({interval(speedup.low, speedup.high)})"


def _of_ceiling(said: MultiprocessStudy, way: Way) -> str:
    """Return how close a way comes to independent processes, in words."""
    most, part = said.ceilings.get(""), way.of_ceiling
    if not is_known(part) or not is_known(most):
        return ""
    is_all = part.verdict in (Verdict.FASTER, Verdict.INDISTINGUISHABLE)
    reached = "as fast as" if is_all else f"{share(part.value)} of what"
    processes = plural(said.n_processes, "independent process", "independent processes")
    limit = f"{processes} on its {plural(said.usable_cpus, 'CPU')} reach {times(most.value)}"
    return f", {reached} this machine allows ({limit})"


def advise(said: MultiprocessStudy) -> Advice:
    """Recommend the simplest way that no more complicated one is worth leaving."""
    choice, n_rows = said.choice, int(said.run.params["n_samples"])
    workload = title_of(said.run.params.get("workload", "forest"))
    recommendation, evidence = f"stay with {ALONE} for {workload}", "no other way was shown to be faster"
    if choice and choice.way.ratio is None:
        evidence = "; ".join(_why_one_process(choice))
    elif choice and (speedup := choice.way.ratio):
        recommendation = f"use {_named(choice.way)} for {workload}: {_as_fast(speedup)}"
        compared_in = f"compared within {plural(speedup.n_rounds, 'round')}, with a 95 % interval"
        evidence = "; ".join(filter(None, (compared_in, _others(choice))))
    return Advice(
        recommendation=recommendation,
        evidence=evidence,
        limits=f"this machine, {n_rows:,} rows per call, outputs checked ({said.verification.word})",
        code=_code(choice.way) if choice else "",
    )


def table(said: MultiprocessStudy) -> Table:
    """Show every way as a row, with the published row of the reference laptop below."""
    rows = [*map(_row, said.ways), REFERENCE]
    return Table(
        frame=pd.DataFrame(rows).fillna("–"),
        reading=f"Efficiency is speedup divided by {plural(said.n_processes, 'process', 'processes')}. "
        "Start-up is not part of the time: it is paid once, before the first call. A cold way starts within each call, "
        "with no more processes than usable CPUs, so its time includes the start-up. The reference is a published "
        "result of another machine, which called a new multiprocessing.Pool: do not compare its seconds.",
    )


def _row(way: Way) -> dict[str, str]:
    cell, summary = way.cell, way.summary
    startup = "in the time" if cell.case.cold else seconds(sum(cell.startup_s.values())) if cell.startup_s else "–"
    low, high = summary.median_s.low, summary.median_s.high
    return {
        "way": title(way),
        "median": seconds(summary.median_s.value) if summary.is_measured else "–",
        "95 % interval": "withheld" if low is None else interval(low, high, seconds),
        "speedup": _shown(way.ratio, times),
        "efficiency": _shown(way.efficiency, share),
        "of the ceiling": _shown(way.of_ceiling, share),
        "of the threads": _shown(way.of_threads, share),
        "memory": "–" if way.memory is None else f"{times(way.memory)} data",
        "verdict": str(way.ratio.verdict) if way.ratio else "–" if cell.case.cold else "baseline",
        "start-up": startup,
        "verified": cell.verification.word if cell.verification else "–",
        "outcome": str(summary.outcome),
    }


def _shown(value: Interval | None, form: Callable[[float], str]) -> str:
    return form(value.value) if is_known(value) else "–"


def _code(way: Way) -> str:
    """Return the code that uses the CPUs in this way; empty for an engine without such code."""
    case = way.cell.case
    lines = CODE.get((case.engine, case.executor), "")
    return lines.format(n_processes=case.n_processes, n_threads=case.n_threads)
