"""What every page ends with: the machine, how it was measured, how to run it again, the raw data."""

from __future__ import annotations

import pandas as pd

from inferbench_lib.records import Run
from inferbench_lib.report.display import Table
from inferbench_lib.report.words import joined, plural, seconds, share, size


def system(run: Run) -> Table:
    """The machine and the software, as rows."""
    rows = [{"what": name, "value": value} for name, value in system_rows(run)]
    return Table(frame=pd.DataFrame(rows))


def system_rows(run: Run) -> list[tuple[str, str]]:
    """The machine as rows of name and value; what it does not tell is unknown."""
    seen = run.machine

    def known(value: object) -> str:
        return "unknown" if value in (None, "") else str(value)

    return [
        ("Processor", seen.cpu_model),
        ("Physical cores", known(seen.physical_cores)),
        ("Logical cores", known(seen.logical_cores)),
        ("Usable CPUs", seen.usable_reason or str(seen.usable_cpus)),
        ("Memory", size(seen.memory_bytes) if seen.memory_bytes else "unknown"),
        ("Caches", joined(f"{name} {size(n_bytes)}" for name, n_bytes in seen.caches.items()) or "unknown"),
        ("Frequency governor", seen.governor),
        ("Virtualisation", seen.virtualisation),
        ("Accelerator", ", ".join(seen.accelerators) or seen.accelerator_reason or "none"),
        ("Operating system", seen.operating_system),
        ("Python", known(seen.python)),
        ("Microarchitecture", seen.microarchitecture),
        ("Instruction sets", ", ".join(seen.instruction_sets) or "unknown"),
        ("Threads per core", known(seen.threads_per_core)),
        *((f"Cores: {name}", plural(count, "logical CPU")) for name, count in seen.core_kinds.items()),
        (
            "Caches shared by",
            joined(f"{name} {plural(n, 'CPU')}" for name, n in seen.cache_shared_by.items()) or "unknown",
        ),
        ("NUMA nodes", known(seen.numa_nodes)),
        ("Highest clock", f"{seen.frequency_hz / 1e9:.2f} GHz" if seen.frequency_hz else "unknown"),
        ("Memory limit", size(seen.memory_limit_bytes) if seen.memory_limit_bytes else "none"),
        ("Huge pages", seen.huge_pages),
        ("Steal since start-up", "unknown" if seen.steal_share is None else share(seen.steal_share)),
        *seen.versions.items(),
        *((f"environment: {name}", value) for name, value in seen.environment.items()),
        ("Revision", f"{seen.git_revision[:12]}{' with uncommitted changes' if seen.git_dirty else ''}"),
    ]


def method(run: Run) -> str:
    """How these figures were taken, in one paragraph that is true of this run."""
    schedule = next(iter(run.tables.get("schedules", {}).values()), None)
    if schedule is None:
        return "Nothing was timed in rounds."
    n_rounds, n_cells = len(schedule["orders"]), len(schedule["orders"][0])
    control = sorted(value for values in schedule["control_s"] for value in values)
    spread = f"{seconds(control[0])} to {seconds(control[-1])}" if control else "its process failed"
    return (
        f"{plural(n_cells, 'cell')} took turns in {plural(n_rounds, 'round')}, in an order drawn anew each round "
        f"(seed {run.params['seed']}), each variant in a process of its own that sleeps between its turns; "
        "it ended because "
        f"{schedule['stopped_because']}. A fixed control workload ran after every turn: {spread}. "
        "Intervals are 95 % signed-rank intervals over rounds, speedups are compared within "
        "rounds, and a verdict is given only where the whole interval lies more than 1 % from no difference. Every "
        "output was compared with the reference outside the timed region."
    )
