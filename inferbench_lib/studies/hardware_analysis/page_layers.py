"""A network layer by layer: the time of each beside the least that the hardware allows."""

from __future__ import annotations

import pandas as pd

from inferbench_lib.report.display import Table, View
from inferbench_lib.report.words import capital, digits, interval, joined, plural, seconds, share, size, times
from inferbench_lib.studies.hardware_analysis import figures as drawing
from inferbench_lib.studies.hardware_analysis.bounds import Layer, LayerProfile
from inferbench_lib.studies.hardware_analysis.page_bounds import LIMITS, short, shown_profiles, workload
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy


def layer_times(said: HardwareStudy) -> View:
    """Draw the time of each layer of a network beside the least that the hardware allows."""
    profiles = shown_profiles(said)[:1]
    rows = [
        {
            "label": layer.name,
            "value": 1e3 * layer.seconds.value,
            "low": _milli(layer.seconds.low),
            "high": _milli(layer.seconds.high),
            "roof": 1e3 * layer.roof.seconds,
            "bound": LIMITS[layer.bound],
        }
        for profile in profiles
        for layer in profile.layers
    ]
    columns = ["label", "value", "low", "high", "roof", "bound"]
    frame = pd.DataFrame(rows, columns=columns).astype({"low": float, "high": float})
    frame.attrs = {"x": "milliseconds per layer, run by itself; black: the least that the hardware allows"}
    reading = " ".join(map(_layer_reading, profiles)) or "The layers were not measured in this run."
    return View(name="layer_times", frame=frame, draw=drawing.times_and_roofs,
                alt="Time of each layer beside the least that the hardware allows.", reading=reading,
                size_inches=(7.4, 4.8))  # fmt: skip


def _milli(value: float | None) -> float | None:
    return None if value is None else 1e3 * value


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
    threads = plural(profile.n_threads, "thread")
    return f"{capital(workload(profile.workload))}, batch {profile.batch_size}, {threads}"


def layer_table(said: HardwareStudy) -> Table:
    """Return every layer of every network at its largest batch on most threads; the page's data hold the others."""
    largest = {p.workload: p for p in sorted(said.profiles, key=lambda p: (p.batch_size, p.n_threads))}
    rows = [_layer_row(profile, layer) for profile in largest.values() for layer in profile.layers]
    reading = " ".join(
        f"{_profile_name(p)}: sum {seconds(p.sum_s)}, whole {seconds(p.whole.value)}." for p in said.profiles
    )
    return Table(frame=pd.DataFrame(rows), reading=reading or "The layers were not measured in this run.",
                 notes=said.not_measured)  # fmt: skip


def _layer_row(profile: LayerProfile, layer: Layer) -> dict[str, str]:
    taken, work = layer.seconds, layer.work
    return {
        "network": f"{short(profile.workload)}, b{profile.batch_size},t{profile.n_threads}",
        "layer": layer.name,
        "output": "×".join(map(str, layer.shape)),
        "time": seconds(taken.value),
        "95 %": "–" if taken.low is None else interval(taken.low, taken.high, seconds),
        "of the sum": share(taken.value / profile.sum_s),
        "MFLOP": digits(work.flops / 1e6) if work.flops else "0",
        "bytes": size(work.bytes),
        "GFLOP/s": digits(work.flops / taken.value / 1e9) if work.flops else "–",
        "GB/s": digits(work.bytes / taken.value / 1e9),
        "of attainable": share(layer.share),
        "bound": layer.bound,
    }
