"""Read a `hardware_analysis` run: the measured limits, where the workloads stand against them, what would change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from inferbench_lib.findings import Interval, Ratio, Refusal
from inferbench_lib.records import Case, Figure, Measurement, Run
from inferbench_lib.stats.comparison import compare, is_worth_it
from inferbench_lib.stats.entries import entry, labels
from inferbench_lib.stats.intervals import signed_rank_interval
from inferbench_lib.stats.roofline import Roofs, measured_roofs
from inferbench_lib.stats.scaling import AmdahlFit, PowerFit, fit_amdahl, fit_power, measured_throughputs
from inferbench_lib.studies.hardware_analysis.bounds import (
    Bindable,
    ForestCost,
    LayerProfile,
    Row,
    WholePoint,
    forest_cost,
    layer_profiles,
    place_forest,
    place_network,
)
from inferbench_lib.studies.hardware_analysis.threads import ThreadCost, thread_costs, thread_figures
from inferbench_lib.studies.hardware_analysis.whatif import WhatIf, forest_what_ifs, network_what_ifs


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The growth of time with one input: its rows by size, the seconds of a call at each, and the fitted power."""

    input: str
    workload: str
    rows: tuple[Row, ...]
    seconds: tuple[Interval, ...]
    fit: PowerFit


@dataclass(frozen=True, kw_only=True)
class LowerPrecision:
    """The measured gain of a lower precision over fp32; `difference` is the largest from the reference's outputs."""

    name: str
    case: Case
    gain: Ratio
    difference: float | None

    @property
    def is_worth_it(self) -> bool:
        """Return whether it is recommended."""
        return is_worth_it(self.gain)


@dataclass(frozen=True, kw_only=True)
class HardwareStudy:
    """The findings of one run.

    `limits` is its table of measured limits, rates in GFLOP/s and GB/s.
    `speedups` (by processes) and `amdahl` are empty in new runs, where `cpu_multiprocess` measures them.
    `not_measured` says which layers, visits or input sizes could not be measured.
    """

    run: Run
    limits: Row
    roofs: Roofs
    peak: Row
    profiles: tuple[LayerProfile, ...]
    networks: tuple[WholePoint, ...]
    forest_costs: dict[str, ForestCost]
    forests: tuple[WholePoint, ...]
    what_ifs: tuple[WhatIf, ...]
    precisions: tuple[LowerPrecision, ...]
    growths: tuple[Growth, ...]
    not_measured: tuple[str, ...]
    speedups: dict[int, Ratio]
    amdahl: AmdahlFit | Refusal
    thread_costs: tuple[ThreadCost, ...] = ()

    @property
    def firsts(self) -> tuple[Bindable, ...]:
        """Return each workload where its limit is shown: on the most threads, then in the largest batch.

        A network is shown by its layers where these were measured.
        """
        places = (*(self.profiles or self.networks), *self.forests)
        firsts = {one.name: one for one in places}  # in the order of the workloads
        firsts |= {one.name: one for one in sorted(places, key=lambda one: (one.case.n_threads, one.case.batch_size))}
        return tuple(firsts.values())


def study(run: Run) -> HardwareStudy:
    """Return everything that a `hardware_analysis` run says, from its raw samples."""
    limits, usable = run.tables["limits"], run.machine.usable_cpus
    roofs = measured_roofs(limits)
    alone = {cell.case: cell for cell in run.measurements if cell.case.executor == "single"}
    labelled = labels(alone, "workload", apart_from=("batch_size", "n_threads", "precision"))
    names = {case: label.key for case, label in labelled.items()}
    costs: dict[str, ForestCost] = {}
    forests: list[WholePoint] = []
    what_ifs: list[WhatIf] = []
    for name in dict.fromkeys(names[case] for case in alone if case.workload == "forest"):
        own = {case: cell for case, cell in alone.items() if names[case] == name}
        if (visits := run.tables.get("visits")) and (cost := forest_cost(own, visits)):
            costs[name] = cost
            forests += place_forest(name, own, cost, roofs)
            what_ifs += forest_what_ifs(name, cost, own, roofs, usable)
    profiles = layer_profiles(run.tables.get("layers", ()), roofs)
    for profile in profiles:
        what_ifs += network_what_ifs(profile, roofs, alone, usable)
    networks = [
        place_network(names[case], cell, operators, limits)
        for case, cell in alone.items()
        if (operators := run.tables["operations"].get(case.workload.removeprefix("cnn-")))
        and (case.precision, case.n_threads) == ("fp32", usable)
    ]
    pools = {cell.case.n_processes: cell for cell in run.measurements if cell.case.executor == "shared_pool"}
    throughputs = measured_throughputs({n: cell for n, cell in pools.items() if n <= usable})
    return HardwareStudy(
        run=run,
        limits=limits,
        roofs=roofs,
        peak=max((row for row in limits["gemm"] if row["dtype"] == "fp32"), key=lambda row: row["limit"]["value"]),
        profiles=profiles,
        networks=tuple(point for point in networks if point),
        forest_costs=costs,
        forests=tuple(forests),
        what_ifs=tuple(what_ifs),
        precisions=lower_precisions(alone),
        growths=growths(run.tables.get("growth", ())),
        not_measured=tuple(run.tables.get("not_profiled", ())),
        speedups={n: compare(pools[1], cell) for n, cell in sorted(pools.items()) if 1 in pools},
        amdahl=fit_amdahl(throughputs) if throughputs else Refusal(reason="no process count was measured"),
        thread_costs=thread_costs(run.tables.get("default_threads", ()), usable),
    )


def lower_precisions(cells: Mapping[Case, Measurement]) -> tuple[LowerPrecision, ...]:
    """Return the gain of each cell in a lower precision over the same one in fp32."""
    twins = {case: replace(case, precision="fp32") for case in cells if case.precision != "fp32"}
    names = labels(twins.values(), "workload", apart_from=("batch_size", "n_threads"))
    return tuple(
        LowerPrecision(
            name=names[twin].key,
            case=case,
            gain=compare(cells[twin], cells[case]),
            difference=seen.max_abs_difference if (seen := cells[case].verification) else None,
        )
        for case, twin in twins.items()
        if twin in cells
    )


def growths(rows: Sequence[Row]) -> tuple[Growth, ...]:
    """Return one fit for each kind of input with at least three sizes."""
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        kinds.setdefault((row["input"], row["workload"]), []).append(row)
    return tuple(
        Growth(
            input=name,
            workload=workload,
            rows=tuple(sizes),
            seconds=tuple(signed_rank_interval(row["seconds"]) for row in sizes),
            fit=fit_power({row["value"]: row["seconds"] for row in sizes}),
        )
        for (name, workload), of_kind in kinds.items()
        if len(sizes := sorted(of_kind, key=lambda row: row["value"])) >= 3
    )


def figures(said: HardwareStudy) -> dict[str, Figure]:
    """Return the entries of `summary.json`."""
    machine, memory = said.run.machine, said.limits["memory"]
    found = {"usable_cpus": Figure(value=machine.usable_cpus, unit="CPUs", verdict=machine.usable_reason)}
    found["memory_gb_s"] = _limit(memory["limit"], memory["level"])
    for row in said.limits["gemm"]:
        found[f"gemm_gflops[{row['dtype']},t{row['n_threads']}]"] = _limit(row["limit"], row["library"])
    for row in said.limits["process_start"]:
        name = f"{row['method']},{row['imports']}" if row["imports"] else row["method"]
        found[f"process_start_s[{name}]"] = _limit(row["limit"], "")
    for point in said.networks:
        found[f"roofline_share[{point.name},b{point.case.batch_size}]"] = _share(point.roof_share, point.roof.bound)
    for point in said.forests:
        name = f"{point.name},b{point.case.batch_size},t{point.case.n_threads}"
        found[f"roofline_share[{name}]"] = _share(point.roof_share, point.bound)
    for one in said.firsts:
        shares = f"{100 * one.time_share:.0f} % of the time, {100 * one.roof_share:.0f} % of the roof"
        verdict = f"b{one.case.batch_size},t{one.case.n_threads}: {shares}"
        found[f"bound[{one.name}]"] = Figure(value=one.bound, verdict=verdict)
    inputs = [growth.input for growth in said.growths]
    for growth in said.growths:
        name = growth.input if inputs.count(growth.input) == 1 else f"{growth.input},{growth.workload}"
        found[f"growth_exponent[{name}]"] = entry(growth.fit.exponent, "", growth.workload)
    for change in said.what_ifs:
        name = f"{change.workload},{change.before},{change.change.replace(' → ', '->').replace(' ', '_')}"
        found[f"whatif_predicted[{name}]"] = Figure(value=change.predicted, unit="×", verdict=change.verdict)
        if change.measured:
            found[f"whatif_measured[{name}]"] = entry(change.measured, "×", change.measured.verdict)
    found |= {f"scaling_speedup[{n}]": entry(ratio, "×", ratio.verdict) for n, ratio in said.speedups.items()}
    if said.speedups:
        found["serial_fraction"] = (
            entry(said.amdahl.serial_fraction, "of the work")
            if isinstance(said.amdahl, AmdahlFit)
            else Figure(value=None, unit="of the work", verdict=f"withheld: {said.amdahl.reason}")
        )
    return found | thread_figures(said.thread_costs)


def _limit(limit: Row, verdict: str) -> Figure:
    ends = {name: limit[name] for name in ("value", "low", "high", "unit")}
    return Figure(**ends, verdict=verdict, kind="range")


def _share(value: float, bound: str) -> Figure:
    return Figure(value=value, unit="of attainable", verdict=f"bound by {bound}")
