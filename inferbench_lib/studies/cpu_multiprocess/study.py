"""Compare each way of spreading the forest over several CPUs with one process, and choose the one to use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from inferbench_lib.findings import Ratio, Refusal, Verdict
from inferbench_lib.records import Figure, Measurement, Run, Verification
from inferbench_lib.stats.comparison import WORTH, compare, unequal_load
from inferbench_lib.stats.entries import Label, entry
from inferbench_lib.studies.cpu_multiprocess.scaling import Spreading, scaling_figures, spreadings
from inferbench_lib.studies.cpu_multiprocess.ways import (
    BASELINE,
    THREADS,
    Way,
    ceilings,
    is_known,
    splits,
    way_figures,
    ways,
)

WAYS, SCALING, NETWORK = "ways", "scaling", "network"
"""The parts of a run, each in rounds of its own: `notes["part"]` of a row."""
MULTI = "shared_pool"
"""The executor behind `multi_s`, `speedup` and `efficiency`: several processes the way that we recommend."""
SIMPLEST_FIRST = (BASELINE, THREADS, "process_pool", "loky", "naive_pool", "shared_pool", "dask")
"""Executors by what they ask of their user: a parameter, another call, processes of our own, a cluster."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The recommended way, and how the others compare with it.

    `simpler` is the way that it was preferred to, with its gain over that. `others` are all other ways, each with its
    gain over the recommended one, the largest first.
    """

    way: Way
    simpler: tuple[Way, Ratio] | None
    others: tuple[tuple[Way, Ratio], ...]

    def judged(self, verdict: Verdict) -> list[tuple[Way, Ratio]]:
        """Return the other ways with this verdict."""
        return [(way, gain) for way, gain in self.others if gain.verdict is verdict]

    @property
    def is_open(self) -> bool:
        """Return whether one process is left because no other way has a verdict."""
        known = {gain.verdict for _, gain in self.others} - {Verdict.TOO_FEW, Verdict.UNSTABLE}
        return self.way.ratio is None and bool(self.others) and not known


@dataclass(frozen=True, kw_only=True)
class MultiprocessStudy:
    """One run read: mappings are by label (`shared_pool`, `threads,t2`), in the order measured.

    `warm` starts before its first call, `cold` starts within each call. `ceilings` holds the speedup of independent
    processes; its usual label is empty. `choice` is refused where nothing can be recommended. `verification` is None
    where every cell failed before its outputs could be checked.
    """

    run: Run
    warm: Mapping[str, Way]
    cold: Mapping[str, Way]
    ceilings: Mapping[str, Ratio]
    verification: Verification | None
    choice: Choice | Refusal
    spreadings: tuple[Spreading, ...]
    network: tuple[Way, ...]

    @property
    def ways(self) -> list[Way]:
        """All ways, warm and cold."""
        return [*self.warm.values(), *self.cold.values()]

    @property
    def missing(self) -> list[Way]:
        """All ways that were asked for and not measured."""
        return [way for way in self.ways if not way.summary.is_measured]

    @property
    def n_processes(self) -> int:
        """Processes (or threads) that each way but the single one was given, by default one for each usable CPU."""
        return int(self.run.params["n_processes"] or self.usable_cpus)

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
    usable = run.machine.usable_cpus
    sizes = {"usable_cpus": usable, "n_processes": run.params["n_processes"] or usable}
    warm_ways, cold_ways = (ways(cells, warm, cold, **sizes) for cells in (warm, cold))
    verification = _verification(run.measurements)
    return MultiprocessStudy(
        run=run,
        warm=warm_ways,
        cold=cold_ways,
        ceilings=ceilings(warm),
        verification=verification,
        choice=choose(warm_ways.values(), verification),
        spreadings=spreadings(parts[SCALING], run.machine.usable_cpus),
        network=splits(parts[NETWORK]),
    )


def _verification(cells: Sequence[Measurement]) -> Verification | None:
    """Return one verdict over every path: the first failure, else all that was checked; None without any."""
    seen = [cell.verification for cell in cells if cell.verification is not None]
    return reduce(Verification.followed_by, seen) if seen else None


def choose(ways: Iterable[Way], verification: Verification | None) -> Choice | Refusal:
    """Return the choice among warm ways.

    Refused where outputs were wrong, one process was not measured, or other programs took CPUs from the ways that need
    several.
    """
    order = sorted(ways, key=_complexity)
    alone = next(iter(order), None)
    failed = next((way.summary.reason for way in order if not way.summary.is_measured), "no way was asked for")
    if verification is None:
        return Refusal(reason=f"not measured: {failed}")
    if not verification.passed:
        return Refusal(reason=f"no verdict: verification FAILED ({verification.detail})")
    order = [way for way in order if way.summary.is_measured]
    if not order or order[0].cell.case.executor != BASELINE:
        why = f" ({alone.summary.reason})" if alone and alone.cell.case.executor == BASELINE else ""
        return Refusal(reason=f"no verdict: one process was not measured{why}, and nothing can be compared without it")
    if load := next(filter(None, (unequal_load(order[0].cell, way.cell) for way in order)), ""):
        return Refusal(reason=f"no verdict: {load}")
    best, simpler = order[0], None
    for way in order[1:]:
        gain = compare(best.cell, way.cell)
        if gain.verdict is Verdict.FASTER and ((gain.low or 0.0) > WORTH or _is_parameter(way, best)):
            best, simpler = way, (best, gain)
    others = [(way, gain) for way in order if way is not best and is_known(gain := compare(best.cell, way.cell))]
    others.sort(key=lambda other: -other[1].value)
    return Choice(way=best, simpler=simpler, others=tuple(others))


def _complexity(way: Way) -> int:
    name = way.cell.case.executor
    return SIMPLEST_FIRST.index(name) if name in SIMPLEST_FIRST else len(SIMPLEST_FIRST)


def _is_parameter(way: Way, simpler: Way) -> bool:
    """Return whether a way is the same call as a simpler one with another number of threads, which costs no code."""
    return way.cell.case.executor == THREADS and simpler.cell.case.executor in (BASELINE, THREADS)


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
    if said.verification:
        found["verification"] = Figure(value=said.verification.word, unit="", verdict=said.verification.detail)
    elif isinstance(said.choice, Refusal):
        found["verification"] = Figure(value=None, verdict=said.choice.reason)
    return found
