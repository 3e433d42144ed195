"""Figures and tables of a network's layers and a forest's rows, beside the least that the hardware allows."""

from __future__ import annotations

import pandas as pd

from inferbench_lib.report.display import Table, View
from inferbench_lib.report.words import capital, digits, joined, plural, seconds, share, size, times
from inferbench_lib.stats.entries import columns
from inferbench_lib.stats.roofline import Bound
from inferbench_lib.studies.hardware_analysis import figures as drawing
from inferbench_lib.studies.hardware_analysis.bounds import Layer, LayerProfile
from inferbench_lib.studies.hardware_analysis.page_bounds import WORDS, short, shown_profiles, spread, workload
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy


def layer_times(said: HardwareStudy) -> View:
    """Draw the time of each layer of a network beside the least that the hardware allows."""
    profiles = shown_profiles(said)[:1]
    frame = pd.DataFrame(
        {
            "label": layer.name,
            **columns(layer.seconds, 1e-3),
            "roof": 1e3 * layer.roof.seconds,
            "bound": WORDS[layer.bound].limit,
        }
        for profile in profiles
        for layer in profile.layers
    )
    frame.attrs = {"x": "milliseconds per layer, run by itself; black: the least that the hardware allows"}
    reading = " ".join(map(_layer_reading, profiles)) or "The layers were not measured in this run."
    return View(name="layer_times", frame=frame, draw=drawing.times_and_roofs,
                alt="Time of each layer beside the least that the hardware allows.", reading=reading,
                size_inches=(7.4, 4.8))  # fmt: skip


def _layer_reading(profile: LayerProfile) -> str:
    longest = max(profile.layers, key=lambda layer: layer.seconds.value)
    lost = max(profile.layers, key=lambda layer: layer.seconds.value - layer.roof.seconds)
    lost_s = max(0.0, lost.seconds.value - lost.roof.seconds)
    too_low = f" The limits of {joined(profile.above_roof)} were measured too low, on a busier machine: measure again."
    return (
        f"{_profile_name(profile)}: {longest.name} takes the longest, {seconds(longest.seconds.value)}. The most time "
        f"is lost in {lost.name}: {seconds(lost_s)} above the hardware's limit. The layers, each by itself, add up to "
        f"{times(profile.sum_s / profile.whole.value)} the time of the whole network. At their limits they would take "
        f"{seconds(profile.roof_s)} instead of {seconds(profile.sum_s)}." + (too_low if profile.above_roof else "")
    )


def _profile_name(profile: LayerProfile) -> str:
    case = profile.case
    return f"{capital(workload(profile.name))}, batch {case.batch_size}, {plural(case.n_threads, 'thread')}"


def layer_table(said: HardwareStudy) -> Table:
    """Return every layer of every network at its largest batch on most threads; the page's data hold the others."""
    largest = {p.name: p for p in sorted(said.profiles, key=lambda p: (p.case.batch_size, p.case.n_threads))}
    rows = [_layer_row(profile, layer) for profile in largest.values() for layer in profile.layers]
    reading = " ".join(
        f"{_profile_name(p)}: sum {seconds(p.sum_s)}, whole {seconds(p.whole.value)}." for p in said.profiles
    )
    return Table(frame=pd.DataFrame(rows), reading=reading or "The layers were not measured in this run.",
                 notes=said.not_measured)  # fmt: skip


def _layer_row(profile: LayerProfile, layer: Layer) -> dict[str, str]:
    taken_s, work, case = layer.seconds.value, layer.work, profile.case
    return {
        "network": f"{short(profile.name)}, b{case.batch_size},t{case.n_threads}",
        "layer": layer.name,
        "output": "×".join(map(str, layer.shape)),
        "time": seconds(taken_s),
        "95 %": spread(layer.seconds),
        "of the sum": share(taken_s / profile.sum_s),
        "MFLOP": digits(work.flops / 1e6),
        "bytes": size(work.bytes),
        "GFLOP/s": digits(work.flops / taken_s / 1e9) if work.flops else "–",
        "GB/s": digits(work.bytes / taken_s / 1e9),
        "of attainable": share(layer.share),
        "bound": layer.bound,
    }


def forest_table(said: HardwareStudy) -> Table:
    """Return every configuration of the forest with each limit's share of its time."""
    kinds: tuple[Bound, ...] = ("compute", "cache", "bandwidth", "latency", "launch")
    rows = [
        {
            "rows": f"{point.case.batch_size:,}",
            "threads": str(point.case.n_threads),
            "time": seconds(point.seconds),
            "node visits": f"{point.work.flops:,.0f}",
            "bytes touched": size(point.work.bytes),
            "nodes in": point.roof.level,
            **{WORDS[kind].limit: share(floors_s[kind] / point.seconds) for kind in kinds if kind in floors_s},
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
