"""Where the workloads stand against the measured roofs: what binds each, what would change it, how time grows."""

from __future__ import annotations

from dataclasses import dataclass

from inferbench_lib.records import Case, Figure, Run
from inferbench_lib.stats.entries import entry
from inferbench_lib.studies.hardware_analysis.binding import (
    Binding,
    bind_forest,
    bind_network,
    first_bindings,
    forest_what_ifs,
    network_what_ifs,
)
from inferbench_lib.studies.hardware_analysis.data_profile import Growth, growths
from inferbench_lib.studies.hardware_analysis.forest_limits import ForestCost, ForestPlace, forest_cost, place_forest
from inferbench_lib.studies.hardware_analysis.layers import LayerProfile, layer_profiles
from inferbench_lib.studies.hardware_analysis.roofs import roofs
from inferbench_lib.studies.hardware_analysis.whatif import WhatIf


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where the workloads stand against the roofs: layers, the forest, what binds, what would change it, growth.

    Empty for a run in which none of it was measured; `not_measured` says what was tried in vain.
    """

    profiles: tuple[LayerProfile, ...]
    forest_cost: ForestCost | None
    forest: tuple[ForestPlace, ...]
    bindings: tuple[Binding, ...]
    what_ifs: tuple[WhatIf, ...]
    growths: tuple[Growth, ...]
    not_measured: tuple[str, ...]


def standing(run: Run) -> Standing:
    """Everything of it that a run holds, from its tables and the cells beside them."""
    known = roofs(run.tables["limits"])
    alone = {cell.case: cell for cell in run.measurements if cell.case.executor == "single"}
    trees = {(c.batch_size, c.n_threads): cell for c, cell in alone.items() if c.workload == "forest"}
    profiles = layer_profiles(run.tables.get("layers", ()), known)
    visits = run.tables.get("visits")
    cost = forest_cost(trees, visits) if visits else None
    placed = place_forest(trees, cost, known) if cost else ()
    usable = run.machine.usable_cpus
    what_ifs = forest_what_ifs(cost, trees, known, usable) if cost else []
    for profile in profiles:
        for case in (case for case in alone if _is_of(case, profile)):
            what_ifs += network_what_ifs(profile, known, alone, case, usable)
    return Standing(
        profiles=profiles,
        forest_cost=cost,
        forest=placed,
        bindings=(*map(bind_network, profiles), *map(bind_forest, placed)),
        what_ifs=tuple(what_ifs),
        growths=growths(run.tables.get("growth", ())),
        not_measured=tuple(run.tables.get("not_profiled", ())),
    )


def _is_of(case: Case, profile: LayerProfile) -> bool:
    seen = (profile.workload, profile.batch_size, profile.n_threads, profile.precision)
    return (case.workload, case.batch_size, case.n_threads, case.precision) == seen


def standing_figures(said: Standing) -> dict[str, Figure]:
    """Its entries of `summary.json`."""
    found = {}
    for workload, one in first_bindings(said.bindings).items():
        shares = f"{100 * one.time_share:.0f} % of the time, {100 * one.roof_share:.0f} % of the roof"
        at = f"b{one.batch_size},t{one.n_threads}: {shares}"
        found[f"bound[{workload}]"] = Figure(value=one.bound, verdict=at)
    for seat in said.forest:
        share = Figure(value=seat.share, unit="of attainable", verdict=f"bound by {seat.bound}")
        found[f"roofline_share[forest,b{seat.rows},t{seat.n_threads}]"] = share
    for growth in said.growths:
        found[f"growth_exponent[{growth.input}]"] = entry(growth.exponent, "", growth.workload)
    for one_if in said.what_ifs:
        name = f"{one_if.workload},{one_if.before},{one_if.change.replace(' → ', '->').replace(' ', '_')}"
        found[f"whatif_predicted[{name}]"] = Figure(value=one_if.predicted, unit="×", verdict=one_if.verdict)
        if one_if.measured:
            found[f"whatif_measured[{name}]"] = entry(one_if.measured, "×", one_if.measured.verdict)
    return found
