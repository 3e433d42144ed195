"""Sentences, cards and figures on the limit that binds each workload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from inferbench_lib.report.display import Card, Table, View
from inferbench_lib.report.words import capital, digits, joined, plural, seconds, share, size, times
from inferbench_lib.stats.roofline import Bound, Work
from inferbench_lib.studies.hardware_analysis import figures as drawing
from inferbench_lib.studies.hardware_analysis.bounds import ABOVE, Binding, LayerProfile, first_bindings
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy
from inferbench_lib.studies.hardware_analysis.whatif import gain_at_the_roof

WORKLOADS = {
    "forest": "the forest",
    "cnn-small": "the small network",
    "cnn-medium": "the medium network",
    "cnn-large": "the large network",
}
LIMITS: dict[Bound, str] = {
    "compute": "arithmetic",
    "bandwidth": "memory bandwidth",
    "cache": "cache bandwidth",
    "latency": "memory latency",
    "launch": "call overhead",
    "instructions": "the program itself",
}
BOUND_BY: dict[Bound, str] = {
    "compute": "compute-bound",
    "bandwidth": "memory-bandwidth-bound",
    "cache": "cache-bandwidth-bound",
    "latency": "memory-latency-bound",
    "launch": "overhead-bound",
    "instructions": "software-bound",
}
TOO_LOW = " That limit was measured too low, on a busier machine: measure again."


def workload(name: str) -> str:
    """Return what a sentence calls a workload; a name of its own stays as it is."""
    base, _, more = name.partition(",")
    return f"{WORKLOADS.get(base, base)} ({more})" if more else WORKLOADS.get(base, base)


def short(name: str) -> str:
    """Return what a table or an axis calls a workload."""
    return workload(name).removeprefix("the ")


def binding_cards(said: HardwareStudy) -> tuple[Card, ...]:
    """Return a card for each workload with the limit that binds it."""
    return tuple(
        Card(
            value=BOUND_BY[one.bound],
            label=f"{workload(one.workload)}, {_configuration(one)}",
            interval=f"{share(one.roof_share)} of the nearest limit"
            + (f", in {share(one.time_share)} of its time" if one.costliest else ""),
        )
        for one in first_bindings(said.bindings).values()
    )


def verdict(said: HardwareStudy) -> str:
    """Return which workloads the hardware limits, and for which another engine would help."""
    firsts = first_bindings(said.bindings).values()
    limited = [one for one in firsts if one.bound != "instructions"]
    free = [one for one in firsts if one.bound == "instructions"]
    sentences = []
    if limited:
        of_limit = [" of that limit", *[""] * len(limited)]  # said once
        clauses = [
            f"{workload(one.workload)} is {BOUND_BY[one.bound]} ({share(one.roof_share)}{of})"
            for one, of in zip(limited, of_limit, strict=False)
        ]
        sentences.append(f"{capital(joined(clauses))}.{TOO_LOW if any(map(_is_above, limited)) else ''}")
    if free:
        gains = [
            f"up to {times(gain_at_the_roof(profile))} for {workload(one.workload)}"
            for one in free
            if (profile := _profile_of(said, one))
        ]
        names = joined(f"{workload(one.workload)} ({share(one.roof_share)} of what this CPU allows)" for one in free)
        sentences.append(f"The hardware is not the limit of {names}.")
        sentences.append(f"Another engine would help{': ' + joined(gains) if gains else ''}.")
    return " ".join(sentences) or "Neither layers nor node visits were measured, so no limit can be named."


def _is_above(one: Binding) -> bool:
    return one.roof_share > ABOVE


def _binding_sentence(said: HardwareStudy, one: Binding) -> str:
    """Return which limit binds a workload, and the figures that show it."""
    who = f"{workload(one.workload)} ({_configuration(one)})"
    evidence = _forest_evidence(one) if one.visit_s is not None else _network_evidence(one)
    if one.bound == "instructions":
        text = f"The hardware is not the limit of {who}: {evidence}. Another engine would help."
    else:
        text = f"{capital(who)} is {BOUND_BY[one.bound]}: {evidence}.{TOO_LOW if _is_above(one) else ''}"
    return text + _other_limits(said, one)


def _network_evidence(one: Binding) -> str:
    if not one.costliest:
        return f"it reaches {share(one.roof_share)} of what this CPU allows"
    named = one.costliest[:2]
    time_share = sum(of_time for _, of_time, _ in named)
    reached = sum(of_time * of_roof for _, of_time, of_roof in named) / time_share
    takes, reaches = ("takes", "reaches") if len(named) == 1 else ("take", "reach")
    names = joined(name for name, _, _ in named)
    return f"{names} {takes} {share(time_share)} of the time and {reaches} {share(reached)} of what this CPU allows"


def _forest_evidence(one: Binding) -> str:
    visit = f"each {seconds(one.visit_s or 0.0)} node visit"
    match one.bound:
        case "latency":
            return f"{share(one.roof_share)} of {visit} waits for the load of the next node"
        case "launch":
            return f"{share(one.roof_share)} of each call is a fixed cost, whatever its rows"
        case _:
            limit = "the nearest limit" if one.bound == "instructions" else LIMITS[one.bound]
            return f"{limit} explains {share(one.roof_share)} of {visit}"


def _other_limits(said: HardwareStudy, one: Binding) -> str:
    if profile := _profile_of(said, one):
        rest = [
            f"{LIMITS[bound]} ({share(part / profile.sum_s)} of the time)"
            for bound, part in list(profile.time_by_bound().items())[1:3]
            if part >= 0.01 * profile.sum_s
        ]
        return f" Other layers are limited by {joined(rest)}." if rest else ""
    for point in said.forests:
        if (point.name, point.case.batch_size, point.case.n_threads) == (one.workload, one.batch_size, one.n_threads):
            floors = [f"{LIMITS[b]} {share(floor_s / point.seconds)}" for b, floor_s in point.roof.floors_s.items()]
            return f" Each limit as a share of its time: {joined(floors)}."
    return ""


def _profile_of(said: HardwareStudy, one: Binding) -> LayerProfile | None:
    own = (one.workload, one.batch_size, one.n_threads)
    return next((p for p in said.profiles if (p.workload, p.batch_size, p.n_threads) == own), None)


def shown_profiles(said: HardwareStudy) -> list[LayerProfile]:
    """Return for each network the profile that a reader asks about first."""
    firsts = first_bindings(said.bindings).values()
    return [profile for one in firsts if (profile := _profile_of(said, one))]


def workload_roofline(said: HardwareStudy) -> View:
    """Draw the layers and the forest under the measured limits."""
    rows: list[dict[str, Any]] = []
    for profile in shown_profiles(said):
        group = f"{workload(profile.workload)}, batch {profile.batch_size}"
        rows += [_point(one.name, group, one.work, one.seconds.value) for one in profile.layers if one.work.flops]
    for point in said.forests:
        group = f"{workload(point.name)}, {plural(point.case.n_threads, 'thread')}"
        rows.append(_point(plural(point.case.batch_size, "row"), group, point.work, point.seconds))
    frame = pd.DataFrame(rows, columns=["label", "group", "intensity", "flops_per_s"])
    levels: dict[str, float] = {}
    for (_, n), (rate, level) in sorted(said.roofs.bytes_per_s.items()):
        if n == said.usable_cpus:
            # For memory the rate of the largest working set counts, for a cache the highest of all.
            levels[level] = rate if level == "RAM" else max(rate, levels.get(level, 0.0))
    peak = said.peak["limit"]["value"]
    frame.attrs = {
        "peak": peak * 1e9,
        "peak_says": f"fp32 peak {digits(peak)} GFLOP/s",
        "levels": [(rate, f"{level} {digits(rate / 1e9)} GB/s") for level, rate in levels.items()],
        "x": "arithmetic intensity (FLOP per byte that must be touched; a comparison of the forest counted as one)",
        "y": "GFLOP/s",
    }
    sentences = [_binding_sentence(said, one) for one in first_bindings(said.bindings).values()]
    return View(
        name="workload_roofline",
        frame=frame,
        draw=drawing.roofs,
        alt="Roofline with every layer that computes, and the forest.",
        reading=" ".join(sentences) or "Layers and node visits were not measured in this run.",
        size_inches=(7.4, 5.8),
    )


def _point(label: str, group: str, work: Work, taken_s: float) -> dict[str, Any]:
    return {"label": label, "group": group, "intensity": work.flops / work.bytes, "flops_per_s": work.flops / taken_s}


def forest_table(said: HardwareStudy) -> Table:
    """Return every configuration of the forest with each limit's share of its time."""
    kinds: Sequence[Bound] = ("compute", "cache", "bandwidth", "latency", "launch")
    rows = [
        {
            "rows": f"{point.case.batch_size:,}",
            "threads": str(point.case.n_threads),
            "time": seconds(point.seconds),
            "node visits": f"{point.work.flops:,.0f}",
            "bytes touched": size(point.work.bytes),
            "nodes in": point.roof.level,
            **{LIMITS[kind]: share(floors_s[kind] / point.seconds) for kind in kinds if kind in floors_s},
            "bound": point.bound,
        }
        for point in said.forests
        if (floors_s := point.roof.floors_s)
    ]
    reading = " ".join(
        f"{capital(workload(name))}: a row visits {digits(cost.visits)} nodes of {digits(cost.node_bytes)} bytes; "
        f"a tree takes {size(cost.tree_bytes)}. A call costs {seconds(cost.call_s)} plus {seconds(cost.row_s)} per row "
        f"on one thread, {seconds(cost.visit_s)} per visit."
        for name, cost in said.forest_costs.items()
    )
    return Table(frame=pd.DataFrame(rows).fillna("–"),
                 reading=reading or "The forest's node visits were not measured in this run.")  # fmt: skip


def _configuration(one: Binding) -> str:
    inputs = plural(one.batch_size, "row") if one.visit_s is not None else f"batch {one.batch_size}"
    return f"{inputs} on {plural(one.n_threads, 'thread')}"
