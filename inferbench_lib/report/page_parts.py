"""Describe a run for its page: the machine, the measuring method, and how far the figures can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from inferbench_lib.findings import Cause, Trust, TrustLevel
from inferbench_lib.records import Case, Measurement, Run
from inferbench_lib.report.display import Table
from inferbench_lib.report.words import capital, interval, joined, plural, seconds, share, size
from inferbench_lib.stats.intervals import values_needed
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.stats.trust import trust as level_of
from inferbench_lib.stats.trust import worst

DISTURBANCES = {
    "other_load": "other programs used CPU time",
    "steal": "the host took CPU time",
    "swap": "memory was swapped",
    "cgroup_throttled": "the CPU quota throttled",
    "cpu_thermal": "the CPU throttled at its temperature limit",
    "gpu_clock": "the GPU clock dropped",
    "gpu_throttled": "the GPU throttled",
    "gpu_lost": "the GPU was lost",
    "not_watched": "other load was not watched",
}


def system(run: Run) -> Table:
    """Return the machine and the software as a table."""
    return Table(frame=pd.DataFrame(system_rows(run), columns=["what", "value"]))


def system_rows(run: Run) -> list[tuple[str, str]]:
    """Return the machine as rows of name and value; a value that it does not tell is "unknown"."""
    seen = run.machine
    rows = {
        "CPU": seen.cpu_model,
        "Physical cores": seen.physical_cores,
        "Logical cores": seen.logical_cores,
        "Usable CPUs": seen.usable_reason or seen.usable_cpus,
        "Memory": seen.memory_bytes and size(seen.memory_bytes),
        "Caches": joined(f"{name} {size(n_bytes)}" for name, n_bytes in seen.caches.items()),
        "Frequency governor": seen.governor,
        "Virtualisation": seen.virtualisation,
        "Accelerator": ", ".join(seen.accelerators) or seen.accelerator_reason or "none",
        "Operating system": seen.operating_system,
        "Python": seen.python,
        "Microarchitecture": seen.microarchitecture,
        "Instruction sets": ", ".join(seen.instruction_sets),
        "Threads per core": seen.threads_per_core,
        **{f"Cores: {name}": plural(count, "logical CPU") for name, count in seen.core_kinds.items()},
        "CPUs per cache": joined(f"{name} {plural(n, 'CPU')}" for name, n in seen.cache_shared_by.items()),
        "NUMA nodes": seen.numa_nodes,
        "Maximum clock": seen.frequency_hz and f"{seen.frequency_hz / 1e9:.2f} GHz",
        "Memory limit": size(seen.memory_limit_bytes) if seen.memory_limit_bytes else "none",
        "Huge pages": seen.huge_pages,
        "Steal since boot": None if seen.steal_share is None else share(seen.steal_share),
        **seen.versions,
        **{f"environment: {name}": value for name, value in seen.environment.items()},
        "Revision": f"{seen.git_revision[:12]}{' with uncommitted changes' if seen.git_dirty else ''}",
    }
    return [(name, "unknown" if value in (None, "") else str(value)) for name, value in rows.items()]


def method(run: Run) -> str:
    """Return a paragraph on how this run was measured."""
    schedule = next(iter(run.tables.get("schedules", {}).values()), None)
    if schedule is None:
        return "Nothing was timed in rounds."
    n_rounds, n_cells = len(schedule["orders"]), len(schedule["orders"][0])
    control = sorted(value for values in schedule["control_s"] for value in values)
    spread = f"took {interval(control[0], control[-1], seconds)}" if control else "failed"
    return (
        f"Each of {plural(n_rounds, 'round')} ran {plural(n_cells, 'cell')} in random order "
        f"(seed {run.params['seed']}). "
        f"{_processes(run)}, which sleeps between its turns. "
        f"Measuring ended because {schedule['stopped_because']}. "
        f"A fixed control workload ran after every turn and {spread}. "
        "The 95 % intervals are signed-rank intervals over rounds; speedups are compared within rounds. "
        "A verdict needs the whole interval to be more than 1 % from no difference. "
        "Every output was compared with the reference outside the timed region."
    )


SHARED = {"batch_size": "batch size", "n_threads": "threads", "precision": "precision"}
"""Fields of a case in which the cells of one process may differ."""


def _processes(run: Run) -> str:
    """Return which variants share a process, and after how many rounds it starts anew."""
    by_process: dict[int | None, list[Case]] = {}
    for cell in run.measurements:
        by_process.setdefault(cell.worker_pid, []).append(cell.case)
    groups = [cases for pid, cases in by_process.items() if pid is not None]
    differing = [
        words
        for field, words in SHARED.items()
        if any(len({getattr(case, field) for case in cases}) > 1 for cases in groups)
    ]
    text = "Each variant has a process of its own"
    if differing:
        text = f"Variants that differ only in {joined(differing)} may share a process"
    n_rounds = run.params.get("rounds_per_process")
    return f"{text}, started anew after {plural(n_rounds, 'round')}" if n_rounds else text


def trust(runs: Sequence[Run]) -> str:
    """Return the trust level with its reason, how many outputs were verified, and the rounds; "" without a cell."""
    cells = [cell for run in runs for cell in run.measurements]
    return f"{trust_level(runs)} {_results(cells)}{_verified(cells)} {_rounds(cells)}" if cells else ""


def trust_level(runs: Sequence[Run]) -> str:
    """Return the trust level of the least trustworthy run, with its reason; "" without a run."""
    judged = [(level_of(run), run.notebook) for run in runs if run.measurements]
    if not judged:
        return ""
    level = worst(one for one, _ in judged)
    if level.level is TrustLevel.QUIET:
        return f"{capital(level.level)}: {_reason(level)}."
    where = f" in {next(name for one, name in judged if one is level)}" if len(judged) > 1 else ""
    return f"{capital(level.level)}{where}: {_reason(level)}. Run again on a quieter machine."


def _reason(of: Trust) -> str:
    value, limit = share(of.value), share(of.limit)
    match of.cause:
        case Cause.INTERVALS if of.level is TrustLevel.QUIET:
            return f"three of four cells are known to ±{value} or better"
        case Cause.INTERVALS:
            return f"a quarter of the cells are known only to ±{value} or worse (limit ±{limit})"
        case Cause.NO_INTERVAL:
            return f"{value} of the cells have no interval, which needs {values_needed()} rounds"
        case Cause.UNSTABLE:
            return f"{value} of the cells are unstable (limit {limit})"
        case Cause.CONTROL:
            return f"the machine's speed changed by {value} during the run (limit {limit})"
        case Cause.UNWATCHED:
            return "the control workload did not run in every round, so a change of the machine's speed was not seen"
        case Cause.DISTURBED:
            flag = of.flag
            what = DISTURBANCES.get(flag.name, flag.text.removesuffix(".")) if flag else "something"
            return f"{what} in {value} of the cells (limit {limit})"
        case Cause.NOTHING:
            return "nothing was measured"


def _results(cells: Sequence[Measurement]) -> str:
    n_failed = sum(not summarize(cell).is_measured for cell in cells)
    return f"{n_failed} of {plural(len(cells), 'cell')} have no result. " if n_failed else ""


def _verified(cells: Sequence[Measurement]) -> str:
    checked = [cell.verification.passed for cell in cells if cell.verification is not None]
    n_cells = plural(len(checked), "verified cell")
    if not all(checked):
        return f"{checked.count(False)} of {n_cells} have WRONG outputs; their figures are withheld."
    return f"The outputs of all {n_cells} match the reference." if checked else "No outputs were verified."


def _rounds(cells: Sequence[Measurement]) -> str:
    counts = [len(cell.round_sizes) for cell in cells if cell.round_sizes]
    if not counts:
        return "Nothing was timed."
    least, most = min(counts), max(counts)
    spread = f"{least}{f'–{most}' if most > least else ''} {'round' if most == 1 else 'rounds'}"
    needed = values_needed()
    return f"Intervals are over {spread}." if least >= needed else f"Measured in {spread}; an interval needs {needed}."
