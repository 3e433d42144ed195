"""Compare each way of spreading the forest over several CPUs with one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferbench_lib.findings import Ratio
from inferbench_lib.records import Figure, Measurement, Run, Verification
from inferbench_lib.stats.comparison import compare
from inferbench_lib.stats.entries import entry
from inferbench_lib.stats.labels import Label, labels
from inferbench_lib.studies.cpu_multiprocess.choice import Choice, choose
from inferbench_lib.studies.cpu_multiprocess.scaling import Spreading, scaling_figures, spreadings
from inferbench_lib.studies.cpu_multiprocess.ways import BASELINE, Way, ceilings, cold_ways, warm_ways, way_figures

WAYS, SCALING, NETWORK = "ways", "scaling", "network"
"""The parts of a run, each in rounds of its own: `notes["part"]` of a row."""
MULTI = "shared_pool"
"""The executor behind `multi_s`, `speedup` and `efficiency`: several processes the way that we recommend."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The network over one number of processes and of threads each, and its speedup over one of both."""

    cell: Measurement
    label: Label
    ratio: Ratio | None


@dataclass(frozen=True, kw_only=True)
class MultiprocessStudy:
    """One run read: mappings are by label (`shared_pool`, `threads,t2`), in the order measured.

    `warm` starts before its first call, `cold` starts within each call. `ceilings` holds the speedup of independent
    processes; its usual label is empty. There is no `choice` where outputs were wrong or one process was not measured.
    """

    run: Run
    warm: Mapping[str, Way]
    cold: Mapping[str, Way]
    ceilings: Mapping[str, Ratio]
    verification: Verification
    choice: Choice | None
    spreadings: tuple[Spreading, ...]
    network: tuple[Split, ...]

    @property
    def n_processes(self) -> int:
        """Processes (or threads) that each way but the single one was given."""
        return int(self.run.params["n_processes"])

    @property
    def usable_cpus(self) -> int:
        """CPUs that the run was allowed to use."""
        return self.run.machine.usable_cpus


def study(run: Run) -> MultiprocessStudy:
    """Compute everything that a `cpu_multiprocess` run says from its raw samples."""
    parts: dict[str, list[Measurement]] = {WAYS: [], SCALING: [], NETWORK: []}
    for cell in run.measurements:
        parts[cell.notes.get("part", WAYS)].append(cell)
    warm = [cell for cell in parts[WAYS] if not cell.case.cold]
    cold = [cell for cell in parts[WAYS] if cell.case.cold]
    ways = warm_ways(warm, cold, int(run.params["n_samples"]))
    verification = _verification(run.measurements)
    return MultiprocessStudy(
        run=run,
        warm=ways,
        cold=cold_ways(warm, cold),
        ceilings=ceilings(warm),
        verification=verification,
        choice=choose(ways.values()) if verification.passed else None,
        spreadings=spreadings(parts[SCALING], run.machine.usable_cpus),
        network=_network(parts[NETWORK]),
    )


def figures(said: MultiprocessStudy) -> dict[str, Figure]:
    """Return the entries of `summary.json`."""
    found: dict[str, Figure] = {}
    for name, key in ((BASELINE, "single_s"), (MULTI, "multi_s")):
        if name in said.warm:
            summary = said.warm[name].summary
            found[key] = entry(summary.median_s, "s", summary.outcome, is_known=summary.is_measured)
    for way in said.warm.values():
        found |= way_figures(way)
    for name in ("speedup", "efficiency"):
        if f"{name}[{MULTI}]" in found:
            found[name] = found[f"{name}[{MULTI}]"]
    for key, ratio in said.ceilings.items():
        found[Label(key=key).inside("ceiling_speedup")] = entry(ratio, "×", ratio.verdict)
    found |= {f"cold_speedup[{key}]": entry(way.ratio, "×", way.ratio.verdict) for key, way in said.cold.items()
              if way.ratio}  # fmt: skip
    for spreading in said.spreadings:
        found |= scaling_figures(spreading)
    found["verification"] = Figure(value=said.verification.word, unit="", verdict=said.verification.detail)
    return found


def _network(cells: Sequence[Measurement]) -> tuple[Split, ...]:
    named = labels((cell.case for cell in cells), "n_processes", "n_threads")
    one = min(
        (cell for cell in cells if cell.case.n_processes == cell.case.n_threads == 1),
        key=lambda cell: len(named[cell.case].more),
        default=None,
    )
    return tuple(
        Split(cell=cell, label=named[cell.case], ratio=compare(one, cell) if one and cell is not one else None)
        for cell in cells
    )


def _verification(cells: Sequence[Measurement]) -> Verification:
    """Return one verdict over every path: the first failure, else all that was checked."""
    seen = [cell.verification for cell in cells if cell.verification is not None]
    for one in seen:
        if not one.passed:
            return one
    return Verification(
        passed=bool(seen),
        n_checked=sum(one.n_checked for one in seen),
        detail="" if seen else "nothing was verified: every cell failed",
    )
