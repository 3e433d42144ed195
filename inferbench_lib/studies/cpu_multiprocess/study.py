"""What a `cpu_multiprocess` run says: each way of spreading the forest over processes, against one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferbench_lib.records import (
    Breakdown,
    Figure,
    Interval,
    Measurement,
    Ratio,
    Run,
    Summary,
    Verification,
)
from inferbench_lib.stats.comparison import compare, efficiency
from inferbench_lib.stats.entries import entry
from inferbench_lib.stats.refusal import Refusal
from inferbench_lib.stats.scaling import break_even
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.studies.cpu_multiprocess.accounts import (
    BASELINE,
    CEILING,
    accounts,
    by_other_clocks,
    standing_by,
    startups,
)
from inferbench_lib.studies.cpu_multiprocess.breakdown import USEFUL
from inferbench_lib.studies.cpu_multiprocess.scaling import Spreading, spreading

WAYS, SCALING, NETWORK = "ways", "scaling", "network"
"""The parts of a run, each in rounds of its own: `notes["part"]` of a row."""
THREADS = "threads"
MULTI = "shared_pool"
"""The executor behind `multi_s`, `speedup` and `efficiency`: several processes the way that we recommend."""


@dataclass(frozen=True, kw_only=True)
class MultiprocessStudy:
    """One run read: mappings are by executor, in the order measured; `ratios` are speedups over one process.

    `shares` are speeds over the ceiling's, `against_threads` over scikit-learn's own threads. What is `cold` starts
    within each call. `standing_by` counts workers kept back for want of CPUs; `unaccounted` names the ways without a
    breakdown because their workers had other clocks. `memory` is what a way needs above its idle processes, over the
    bytes of the data; `network` holds speedups of the network by (processes, threads) over one of each.
    """

    run: Run
    cells: Mapping[str, Measurement]
    summaries: Mapping[str, Summary]
    ratios: Mapping[str, Ratio]
    efficiencies: Mapping[str, Interval]
    breakdowns: Mapping[str, Breakdown]
    standing_by: Mapping[str, int]
    unaccounted: tuple[str, ...]
    verification: Verification
    ceiling: Ratio | None
    shares: Mapping[str, Ratio]
    against_threads: Mapping[str, Ratio]
    cold: Mapping[str, Measurement]
    cold_summaries: Mapping[str, Summary]
    cold_ratios: Mapping[str, Ratio]
    cold_breakdowns: Mapping[str, Breakdown]
    memory: Mapping[str, float]
    break_even: Mapping[str, Interval | Refusal]
    spreading: Spreading
    network_cells: Mapping[tuple[int, int], Measurement]
    network: Mapping[tuple[int, int], Ratio]

    @property
    def n_processes(self) -> int:
        """Processes (or threads) that each way but the single one was given."""
        return int(self.run.params["n_processes"])


def study(run: Run) -> MultiprocessStudy:
    """Everything that a `cpu_multiprocess` run says, from its raw samples."""
    parts: dict[str, list[Measurement]] = {WAYS: [], SCALING: [], NETWORK: []}
    for cell in run.measurements:
        parts[cell.notes.get("part", WAYS)].append(cell)
    everything = {cell.case.executor: cell for cell in parts[WAYS] if not cell.case.cold}
    cold = {cell.case.executor: cell for cell in parts[WAYS] if cell.case.cold}
    cells = {name: cell for name, cell in everything.items() if name != CEILING}
    others = {name: cell for name, cell in cells.items() if name != BASELINE}
    network = {(cell.case.n_processes, cell.case.n_threads): cell for cell in parts[NETWORK]}

    def against(name: str, candidates: Mapping[str, Measurement]) -> dict[str, Ratio]:
        """How many times faster than `name`; nothing where that was not measured."""
        found = everything.get(name)
        return {} if found is None else {other: compare(found, cell) for other, cell in candidates.items()}

    ratios = against(BASELINE, others)
    alone = everything.get(BASELINE)
    n_processes = int(run.params["n_processes"])
    return MultiprocessStudy(
        run=run,
        cells=cells,
        summaries={name: summarize(cell) for name, cell in cells.items()},
        ratios=ratios,
        efficiencies={name: efficiency(ratio, n_processes) for name, ratio in ratios.items()},
        breakdowns=accounts(everything, everything),
        standing_by={name: number for name, cell in others.items() if (number := standing_by(cell))},
        unaccounted=by_other_clocks(others),
        verification=_verification(run.measurements),
        ceiling=compare(alone, everything[CEILING]) if alone and CEILING in everything else None,
        shares=against(CEILING, others),
        against_threads=against(THREADS, {name: cell for name, cell in others.items() if name != THREADS}),
        cold=cold,
        cold_summaries={name: summarize(cell) for name, cell in cold.items()},
        cold_ratios=against(BASELINE, cold),
        cold_breakdowns=accounts(cold, everything),
        memory={name: share for name, cell in cells.items() if (share := _memory_over_data(cell)) is not None},
        break_even={
            name: break_even(*found, n_rows=int(run.params["n_samples"]))
            for name, cell in others.items()
            if name != THREADS and alone and (found := startups(cell, cold.get(name), alone))
        },
        spreading=spreading(parts[SCALING], run.machine.usable_cpus),
        network_cells=network,
        network={
            spread: compare(network[1, 1], cell)
            for spread, cell in network.items()
            if (1, 1) in network and spread != (1, 1)
        },
    )


def figures(said: MultiprocessStudy) -> dict[str, Figure]:
    """The entries of `summary.json`."""
    found: dict[str, Figure] = {}
    for name, key in ((BASELINE, "single_s"), (MULTI, "multi_s")):
        if name in said.summaries:
            summary = said.summaries[name]
            found[key] = entry(summary.median_s, "s", summary.outcome, is_known=summary.is_measured)
    for name, ratio in said.ratios.items():
        found[f"speedup[{name}]"] = entry(ratio, "×", ratio.verdict)
        found[f"efficiency[{name}]"] = entry(said.efficiencies[name], "", ratio.verdict)
        if name == MULTI:
            found["speedup"], found["efficiency"] = found[f"speedup[{name}]"], found[f"efficiency[{name}]"]
    if said.ceiling is not None:
        found["ceiling_speedup"] = entry(said.ceiling, "×", said.ceiling.verdict)
    found |= {f"share_of_ceiling[{name}]": entry(share, "", share.verdict) for name, share in said.shares.items()}
    found |= {f"cold_speedup[{name}]": entry(ratio, "×", ratio.verdict) for name, ratio in said.cold_ratios.items()}
    for name, breakdown in said.breakdowns.items():
        found |= {
            f"lost_s[{name},{part.name.replace(' ', '_')}]": Figure(value=part.seconds, unit="s")
            for part in breakdown.parts
            if part.name != USEFUL and part.seconds
        }
        found[f"unexplained_share[{name}]"] = Figure(value=breakdown.unexplained_share, unit="of the time")
    found |= {f"memory_over_data[{name}]": Figure(value=share, unit="×") for name, share in said.memory.items()}
    found |= {f"break_even_rows[{name}]": _rows_entry(rows) for name, rows in said.break_even.items()}
    found["verification"] = Figure(value=said.verification.word, unit="", verdict=said.verification.detail)
    return found


def _rows_entry(rows: Interval | Refusal) -> Figure:
    if isinstance(rows, Refusal):
        return Figure(value=None, unit="rows", verdict=f"withheld: {rows.reason}")
    return entry(rows, "rows", rows.reason)


def _memory_over_data(cell: Measurement) -> float | None:
    """What the processes took above what they had before the data came, over the bytes of the data."""
    idle, data = cell.figures.get("idle_bytes"), cell.figures.get("data_bytes")
    if cell.peak_memory_bytes is None or idle is None or not data or not summarize(cell).is_measured:
        return None
    return (cell.peak_memory_bytes - idle) / data


def _verification(cells: Sequence[Measurement]) -> Verification:
    """One verdict over every path: the first failure, else all that was checked."""
    seen = [cell.verification for cell in cells if cell.verification is not None]
    for one in seen:
        if not one.passed:
            return one
    return Verification(
        passed=bool(seen),
        n_checked=sum(one.n_checked for one in seen),
        detail="" if seen else "nothing was verified: every cell failed",
    )
