"""What binds each workload: the sentences of the first screen, the roofline, the forest's configurations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from inferbench_lib.report.display import Card, Table, View
from inferbench_lib.report.words import capital, digits, joined, plural, seconds, share, size
from inferbench_lib.studies.hardware_analysis import figures as hardware_figures
from inferbench_lib.studies.hardware_analysis.binding import Binding, first_bindings
from inferbench_lib.studies.hardware_analysis.forest_limits import ForestPlace
from inferbench_lib.studies.hardware_analysis.layers import ABOVE, LayerProfile
from inferbench_lib.studies.hardware_analysis.roofs import Bound, roofs
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy

NETWORKS = {"cnn-small": "the small network", "cnn-medium": "the medium network", "cnn-large": "the large network"}
LIMITS: dict[Bound, str] = {
    "compute": "arithmetic",
    "bandwidth": "memory bandwidth",
    "cache": "cache bandwidth",
    "latency": "waiting for one load before the next",
    "launch": "the cost of each call",
    "instructions": "the program's own instructions, no limit of the machine",
}
"""What binds, as a sentence says it."""
TOO_LOW = " That limit was measured too low, while the machine was busier: measure again."
CARDS: dict[Bound, str] = {
    "compute": "arithmetic",
    "bandwidth": "memory",
    "cache": "cache",
    "latency": "latency",
    "launch": "calls",
    "instructions": "its program",
}
"""What binds, in a word."""


def workload(name: str) -> str:
    """A workload as a sentence says it."""
    return NETWORKS.get(name, f"the {name}")


def binding_cards(said: HardwareStudy) -> tuple[Card, ...]:
    """For each workload the limit that binds, with its figure."""
    return tuple(
        Card(
            value=CARDS[one.bound],
            label=f"binds {workload(one.workload)}, {_configuration(one)}",
            interval=_card_evidence(one),
        )
        for one in first_bindings(said.standing.bindings).values()
    )


def _card_evidence(one: Binding) -> str:
    if one.workload != "forest":
        return f"{share(one.time_share)} of its time, at {share(one.roof_share)} of the nearest limit"
    return f"{'nearest limit: ' if one.bound == 'instructions' else ''}{share(one.roof_share)} of its time"


def verdicts(said: HardwareStudy) -> list[str]:
    """For each workload which limit binds, in one clause with its figure."""
    firsts = first_bindings(said.standing.bindings).values()
    return [_verdict(said, one) + (TOO_LOW if one.roof_share > ABOVE else "") for one in firsts]


def _verdict(said: HardwareStudy, one: Binding) -> str:
    who = f"{capital(workload(one.workload))} ({_configuration(one)})"
    near = f"{share(one.roof_share)} of what the nearest limit allows"
    if one.workload != "forest":
        names = joined(name for name, _ in one.costliest[:2])
        if one.bound == "instructions":
            return (
                f"{who} is bound by its program, no limit of the machine: {share(one.time_share)} of its time, most "
                f"in {names}, at {near}."
            )
        return (
            f"{who} is bound by {LIMITS[one.bound]}: {share(one.time_share)} of its time, most in {names}, at {near}."
        )
    if one.bound == "launch":
        return f"{who} is bound by {LIMITS['launch']}: {share(one.roof_share)} of its time."
    each = f"{seconds(_visit_s(said, one))} for each node visit"
    if one.bound == "instructions":
        return f"{who} is bound by its program, no limit of the machine: {each}, at {near}."
    return f"{who} is bound by {LIMITS[one.bound]}: {share(one.roof_share)} of the {each}."


def _visit_s(said: HardwareStudy, one: Binding) -> float:
    """Seconds that a thread takes for one visit of a node, calls included."""
    cost, place = said.standing.forest_cost, _place(said, one)
    assert cost is not None
    return place.seconds * place.n_threads / (cost.visits * place.rows)


def binding_sentences(said: HardwareStudy) -> list[str]:
    """For each workload which limit binds, and the figures that say so."""
    return [
        _forest_binds(said, one) if one.workload == "forest" else _network_binds(said, one)
        for one in first_bindings(said.standing.bindings).values()
    ]


def _network_binds(said: HardwareStudy, one: Binding) -> str:
    profile = profile_of(said, one)
    names = joined(f"{name} ({share(part)})" for name, part in one.costliest[:3])
    near = f"{share(one.roof_share)} of what this limit allows"
    if one.bound == "instructions":
        near = f"{share(one.roof_share)} of what the nearest limit allows, so that another engine would help most"
    rest = [
        f"{LIMITS[bound].partition(',')[0]} {share(part / profile.sum_s)}"
        for bound, part in list(profile.time_by_bound().items())[1:3]
        if part >= 0.01 * profile.sum_s
    ]
    return (
        f"{capital(workload(one.workload))} ({_configuration(one)}) is bound by {LIMITS[one.bound]}: "
        f"{share(one.time_share)} of its time goes to {names}, at {near}"
        f"{'; then come ' + joined(rest) if rest else ''}."
    )


def _forest_binds(said: HardwareStudy, one: Binding) -> str:
    cost, place = said.standing.forest_cost, _place(said, one)
    assert cost is not None
    evidence = f"a thread takes {seconds(_visit_s(said, one))} for each of {digits(cost.visits)} node visits a row"
    if one.bound == "latency":
        evidence += f", {share(one.roof_share)} of it for the load alone, from {place.level}, that names the next node"
    elif one.bound == "launch":
        evidence = f"{share(one.roof_share)} of a call of {seconds(place.seconds)} is spent whatever its rows"
    else:
        evidence += f", and the nearest limit explains {share(one.roof_share)} of it"
    return f"The forest ({_configuration(one)}) is bound by {LIMITS[one.bound]}: {evidence}."


def _place(said: HardwareStudy, one: Binding) -> ForestPlace:
    return next(p for p in said.standing.forest if (p.rows, p.n_threads) == (one.batch_size, one.n_threads))


def _other_floors(said: HardwareStudy) -> str:
    """What the forest's other limits would take of its time."""
    for one in first_bindings(said.standing.bindings).values():
        if one.workload == "forest":
            place = _place(said, one)
            others = joined(
                f"{LIMITS[bound].partition(',')[0]} {share(floor / place.seconds)}"
                for bound, floor in place.floors_s.items()
                if bound != one.bound
            )
            return f" At their limits the others would take of the forest's time: {others}."
    return ""


def profile_of(said: HardwareStudy, one: Binding) -> LayerProfile:
    """The layer pass that a binding was read from."""
    key = (one.workload, one.batch_size, one.n_threads)
    return next(p for p in said.standing.profiles if (p.workload, p.batch_size, p.n_threads) == key)


def shown_profiles(said: HardwareStudy) -> list[LayerProfile]:
    """The profile of each network that a reader asks about first."""
    firsts = first_bindings(said.standing.bindings).values()
    return [profile_of(said, one) for one in firsts if one.workload != "forest"]


def workload_roofline(said: HardwareStudy) -> View:
    """Where do the layers and the forest stand under the measured roofs?"""
    usable = said.usable_cpus
    rows: list[dict[str, Any]] = []
    for profile in shown_profiles(said):
        rows += [
            _point(f"{layer.name}", f"{workload(profile.workload)}, batch {profile.batch_size}", layer.work.flops,
                   layer.work.bytes, layer.seconds.value)
            for layer in profile.layers if layer.work.flops
        ]  # fmt: skip
    rows += [
        _point(f"{plural(p.rows, 'row')}", f"the forest, {plural(p.n_threads, 'thread')}", p.flops, p.bytes, p.seconds)
        for p in said.standing.forest
    ]
    frame = pd.DataFrame(rows, columns=["label", "group", "intensity", "flops_per_s"])
    known = roofs(said.run.tables["limits"])
    levels: dict[str, float] = {}
    for (_, n), (rate, level) in sorted(known.bytes_per_s.items()):
        if n == usable:
            # The memory's roof is that of the largest set, as everywhere; a cache's, the most that any set reached.
            levels[level] = rate if level == "RAM" else max(rate, levels.get(level, 0.0))
    peak = said.peak["limit"]["value"]
    frame.attrs = {
        "peak": peak * 1e9,
        "peak_says": f"fp32 peak {digits(peak)} GFLOP/s",
        "levels": [(rate, f"{level} {digits(rate / 1e9)} GB/s") for level, rate in levels.items()],
        "x": "arithmetic intensity (FLOP per byte that must be touched; a comparison of the forest counted as one)",
        "y": "GFLOP/s",
    }
    reading = (
        " ".join(binding_sentences(said)) + _other_floors(said)
    ) or "Layers and node visits were not measured in this run."
    return View(name="workload_roofline", frame=frame, draw=hardware_figures.roofs,
                alt=f"Roofline with every layer that computes, and the forest. {reading}", reading=reading,
                size_inches=(7.4, 5.8))  # fmt: skip


def _point(label: str, group: str, flops: float, n_bytes: float, taken_s: float) -> dict[str, Any]:
    return {"label": label, "group": group, "intensity": flops / n_bytes, "flops_per_s": flops / taken_s}


def forest_table(said: HardwareStudy) -> Table:
    """Every configuration of the forest against the machine."""
    cost = said.standing.forest_cost
    kinds: Sequence[Bound] = ("compute", "cache", "bandwidth", "latency", "launch")
    rows = [
        {
            "rows": f"{place.rows:,}",
            "threads": str(place.n_threads),
            "time": seconds(place.seconds),
            "node visits": f"{place.flops:,.0f}",
            "bytes touched": size(place.bytes),
            "nodes lie in": place.level,
            **{f"{kind} would take": share(place.floors_s[kind] / place.seconds) for kind in kinds
               if kind in place.floors_s},
            "bound": place.bound,
        }
        for place in said.standing.forest
    ]  # fmt: skip
    reading = "The forest's node visits were not measured in this run."
    if cost:
        reading = (
            f"A row visits {digits(cost.visits)} nodes of {digits(cost.node_bytes)} bytes; a tree takes "
            f"{size(cost.tree_bytes)}. A call costs {seconds(cost.call_s)} whatever its rows, and "
            f"{seconds(cost.row_s)} a row on one thread, {seconds(cost.visit_s)} a visit."
        )
    return Table(frame=pd.DataFrame(rows).fillna("–"), reading=reading)


def _configuration(one: Binding) -> str:
    what = plural(one.batch_size, "row") if one.workload == "forest" else f"batch {one.batch_size}"
    return f"{what} on {plural(one.n_threads, 'thread')}"
