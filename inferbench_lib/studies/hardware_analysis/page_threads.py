"""The threads that each library takes by default as a table, and as advice where other threads are faster."""

from __future__ import annotations

import pandas as pd

from inferbench_lib.findings import Advice, Verdict
from inferbench_lib.report.display import Table
from inferbench_lib.report.words import interval_of, joined, measured, plural, ratio, share, times
from inferbench_lib.stats.comparison import WORTH
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy
from inferbench_lib.studies.hardware_analysis.threads import ThreadCost

NAMES = {
    "torch": "torch, intra-op",
    "torch_interop": "torch, inter-op",
    "numpy": "BLAS (numpy)",
    "openmp": "OpenMP (scikit-learn's boosted trees)",
    "openvino": "OpenVINO",
    "scikit-learn": "scikit-learn's forest (n_jobs)",
    "joblib": "joblib with loky (n_jobs=-1)",
}
FIXES = {
    "torch": "torch.set_num_threads({n})",
    "torch_interop": "torch.set_num_interop_threads({n})",
    "numpy": 'threadpoolctl.threadpool_limits({n}, user_api="blas")',
    "openmp": "OMP_NUM_THREADS={n}",
    "onnxruntime": "session_options.intra_op_num_threads = {n}",
    "openvino": 'core.compile_model(model, "CPU", {{"INFERENCE_NUM_THREADS": {n}}})',
    "scikit-learn": "model.n_jobs = {n}",
    "joblib": "LOKY_MAX_CPU_COUNT={n}",
}
"""The line of code, or the environment variable before the process starts, that sets each library's threads."""


def thread_table(said: HardwareStudy) -> Table:
    """Return the default threads of each library beside the usable CPUs, their cost, and how to set others."""
    rows = [
        {
            "library": _name(one),
            "threads by default": "–"
            if one.default is None
            else f"{one.default}{' (too many)' if one.is_over else ''}",
            "usable CPUs": str(one.usable),
            "time by default": _time(one, one.default),
            "time on 1 thread": _time(one, 1),
            "cost of the default": _cost(one),
            "what to set": one.reason if one.default is None else _fix(one),
        }
        for one in said.thread_costs
    ]
    notes = tuple(f"{_name(one)}: {one.reason}." for one in said.thread_costs if one.reason and one.default is not None)
    return Table(frame=pd.DataFrame(rows), reading=_reading(said.thread_costs), notes=notes)


def _name(one: ThreadCost) -> str:
    return NAMES.get(one.library, one.library)


def _fix(one: ThreadCost) -> str:
    return FIXES[one.library].format(n=one.to_set)


def _time(one: ThreadCost, n_threads: int | None) -> str:
    taken = one.seconds.get(n_threads or 0)
    return measured(taken) if taken else "–"


def _cost(one: ThreadCost) -> str:
    """Return the default's time over the best, with its interval, or why there is no verdict."""
    cost = one.cost
    if cost is None:
        return "–"
    if not one.is_settled:
        return f"{cost.verdict}: {cost.reason}"
    return "none" if one.default == one.best else ratio(cost)


def _reading(costs: tuple[ThreadCost, ...]) -> str:
    if not costs:
        return "The threads that libraries take by default were not measured in this run."
    costly, over = [one for one in costs if one.is_costly], [one for one in costs if one.is_over]
    text = f"No default was shown to cost more than {share(WORTH - 1)}."
    if costly:
        spoken = (f"{_name(one)} {ratio(one.cost)}" for one in costly if one.cost)
        text = f"The default takes longer than the best of 1 thread and all usable CPUs: {joined(spoken)}."
    if over:
        text += f" More threads than usable CPUs by default: {joined(f'{_name(one)} ({one.default})' for one in over)}."
    return " ".join([text, *filter(None, map(_by_rows, costs))])


def _by_rows(one: ThreadCost) -> str:
    """Say up to which batch size threads slow a forest down, and from which on they gain."""
    slower = [rows for rows, gain in one.gains.items() if gain.verdict is Verdict.SLOWER]
    faster = [rows for rows, gain in one.gains.items() if gain.verdict is Verdict.FASTER]
    found = []
    if slower:
        least = min(slower)
        lost = one.gains[least].map(lambda value: 1 / value)
        found.append(
            f"up to {plural(max(slower), 'row')} they slow it down ({times(lost.value)} the time at "
            f"{plural(least, 'row')}, {interval_of(lost).removesuffix('×')})"
        )
    if faster:
        found.append(f"they gain at {joined(plural(rows, 'row') for rows in faster)}")
    return f"{plural(one.usable, 'thread')} for the forest: {'; '.join(found)}." if found else ""


def thread_advice(said: HardwareStudy) -> tuple[Advice, ...]:
    """Recommend other threads for each library whose default is shown to cost enough."""
    return tuple(
        Advice(
            recommendation=f"set {_name(one)} to {plural(one.best, 'thread')}: {ratio(one.cost)} as fast as by default",
            evidence=f"its default here is {plural(one.default or 0, 'thread')}, for "
            f"{plural(one.usable, 'usable CPU')}; compared within {plural(one.cost.n_rounds, 'round')}",
            limits=f"work like the one timed, {plural(one.n_inputs, 'row')} per call; {_by_rows(one).removesuffix('.')}"
            if one.gains
            else "work like the one timed; measure your own with both",
            code=_fix(one),
        )
        for one in said.thread_costs
        if one.is_costly and one.cost
    )
