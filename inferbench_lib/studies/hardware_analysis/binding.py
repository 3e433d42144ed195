"""The limit that binds each workload in each configuration, as a value with its evidence; and what would change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferbench_lib.records import Case, Measurement
from inferbench_lib.stats.comparison import compare
from inferbench_lib.studies.hardware_analysis.forest_limits import Configuration, ForestCost, ForestPlace
from inferbench_lib.studies.hardware_analysis.layers import LayerProfile
from inferbench_lib.studies.hardware_analysis.roofs import Bound, Roofs
from inferbench_lib.studies.hardware_analysis.whatif import Change, WhatIf, gain_at_the_roof, predicted_gain


@dataclass(frozen=True, kw_only=True)
class Binding:
    """What binds one workload at one batch size: `bound` takes `time_share` of its time.

    `roof_share` is how near that time comes to its roof (the roof's time over the measured one). `costliest` names
    the layers of that bound, the longest first, with their share of the time.
    """

    workload: str
    batch_size: int
    n_threads: int
    bound: Bound
    time_share: float
    roof_share: float
    costliest: tuple[tuple[str, float], ...] = ()


def bind_network(profile: LayerProfile) -> Binding:
    """The limit under which most of a network's time is spent, over its layers."""
    bound, seconds = next(iter(profile.time_by_bound().items()))
    layers = [layer for layer in profile.layers if layer.bound == bound]
    longest = sorted(layers, key=lambda layer: -layer.seconds.value)
    return Binding(
        workload=profile.workload,
        batch_size=profile.batch_size,
        n_threads=profile.n_threads,
        bound=bound,
        time_share=seconds / profile.sum_s,
        roof_share=sum(layer.roof.seconds for layer in layers) / seconds,
        costliest=tuple((layer.name, layer.seconds.value / profile.sum_s) for layer in longest),
    )


def bind_forest(place: ForestPlace) -> Binding:
    """The ceiling that a configuration of the forest comes nearest to."""
    return Binding(
        workload="forest",
        batch_size=place.rows,
        n_threads=place.n_threads,
        bound=place.bound,
        time_share=1.0,
        roof_share=place.share,
    )


def network_what_ifs(
    profile: LayerProfile, roofs: Roofs, cells: Mapping[Case, Measurement], case: Case, usable_cpus: int
) -> list[WhatIf]:
    """What would change one profiled configuration: what was measured too, then what only another machine could do."""
    found = []
    for change, after in _checkable(case, cells):
        precision, n_threads = after.precision, after.n_threads
        if roofs.knows(precision, n_threads):
            gain = predicted_gain(profile, roofs, change)
            measured = compare(cells[case], cells[after])
            found.append(
                WhatIf(workload=profile.workload, before=_text(case), change=_spoken(case, after), predicted=gain,
                       measured=measured)
            )  # fmt: skip
    if case.n_threads == usable_cpus and case.precision == "fp32":
        hypothetical = {
            "twice the cores": predicted_gain(profile, roofs, Change(cores=2.0)),
            "twice the memory bandwidth": predicted_gain(profile, roofs, Change(memory=2.0)),
            "an engine with every layer at its roof, at most": gain_at_the_roof(profile),
        }
        found += [
            WhatIf(workload=profile.workload, before=_text(case), change=change, predicted=gain)
            for change, gain in hypothetical.items()
        ]
    return found


def _checkable(case: Case, cells: Mapping[Case, Measurement]) -> list[tuple[Change, Case]]:
    """Changes of one thing only, upwards in threads and batch and from fp32 to bf16, whose other side was measured."""
    found = []
    for other in cells:
        differs = [
            name for name in ("n_threads", "batch_size", "precision") if getattr(case, name) != getattr(other, name)
        ]
        if other.workload != case.workload or len(differs) != 1:
            continue
        change = Change(**{differs[0]: getattr(other, differs[0])})
        upwards = (
            (change.n_threads or case.n_threads) >= case.n_threads
            and (change.batch_size or case.batch_size) >= case.batch_size
            and (case.precision, other.precision) != ("bf16", "fp32")
        )
        if upwards:
            found.append((change, other))
    return found


def forest_what_ifs(
    cost: ForestCost, cells: Mapping[Configuration, Measurement], roofs: Roofs, usable_cpus: int
) -> list[WhatIf]:
    """More threads, larger batches, and what no setting here can do."""
    measured = {key: cell for key, cell in cells.items() if cell.samples_s}
    most = max(rows for rows, _ in measured)
    found = []
    of_16 = cost.seconds_of_16(roofs.load_s(cost.forest_bytes) or 0.0)
    for before, after, after_s in (
        ((most, 1), (most, usable_cpus), cost.seconds(most, usable_cpus)),
        ((1, 1), (16, 1), of_16),
    ):
        if before != after and before in measured and after in measured:
            gain = after[0] / before[0] * cost.seconds(*before) / after_s
            found.append(
                WhatIf(
                    workload="forest",
                    before=_text(measured[before].case),
                    change=_spoken(measured[before].case, measured[after].case),
                    predicted=gain,
                    measured=compare(measured[before], measured[after]),
                )
            )
    if (most, usable_cpus) in measured:
        before_s = cost.seconds(most, usable_cpus)
        text = _text(measured[most, usable_cpus].case)
        hypothetical = {"twice the cores": before_s / cost.seconds(most, 2 * usable_cpus)}
        if roofs.loads_s:
            saved_s = (roofs.load_s(cost.tree_bytes) or 0.0) - min(roofs.loads_s.values())
            nearer_s = before_s - cost.visits * most / usable_cpus * saved_s
            if nearer_s > 0:
                hypothetical["trees small enough for the nearest cache"] = before_s / nearer_s
        found += [
            WhatIf(workload="forest", before=text, change=change, predicted=gain)
            for change, gain in hypothetical.items()
        ]
    return found


def _text(case: Case) -> str:
    return f"b{case.batch_size},t{case.n_threads}" + ("" if case.precision == "fp32" else f",{case.precision}")


def _spoken(before: Case, after: Case) -> str:
    """The one thing that changes: `threads 1 → 2`."""
    if before.n_threads != after.n_threads:
        return f"threads {before.n_threads} → {after.n_threads}"
    if before.batch_size != after.batch_size:
        return f"batch {before.batch_size} → {after.batch_size}"
    return f"{before.precision} → {after.precision}"


def first_bindings(bindings: Sequence[Binding]) -> dict[str, Binding]:
    """For each workload the configuration that a reader asks about first: the most threads, then the largest batch."""
    names = dict.fromkeys(one.workload for one in bindings)
    return {
        name: max((b for b in bindings if b.workload == name), key=lambda b: (b.n_threads, b.batch_size))
        for name in names
    }
