"""A network layer by layer: the time of each beside its roof, and the table of all of them."""

from __future__ import annotations

import pandas as pd

from inferbench_lib.report.display import Table, View
from inferbench_lib.report.words import capital, digits, interval, joined, plural, seconds, share, size, times
from inferbench_lib.studies.hardware_analysis import figures as hardware_figures
from inferbench_lib.studies.hardware_analysis.layers import Layer, LayerProfile
from inferbench_lib.studies.hardware_analysis.page_standing import LIMITS, shown_profiles, workload
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy


def layer_times(said: HardwareStudy) -> View:
    """Where does the time of a network go, and how much of it does the machine's limit explain?"""
    profiles = shown_profiles(said)[:1]
    rows = [
        {
            "label": layer.name,
            "value": 1e3 * layer.seconds.value,
            "low": _scaled(layer.seconds.low),
            "high": _scaled(layer.seconds.high),
            "roof": 1e3 * layer.roof.seconds,
            "bound": LIMITS[layer.bound].partition(",")[0],
        }
        for profile in profiles
        for layer in profile.layers
    ]
    columns = ["label", "value", "low", "high", "roof", "bound"]
    frame = pd.DataFrame(rows, columns=columns).astype({"low": float, "high": float})
    frame.attrs = {"x": "milliseconds, the layer by itself; black: the least that the machine's limits allow"}
    reading = " ".join(_layer_reading(profile) for profile in profiles) or "The layers were not measured in this run."
    return View(name="layer_times", frame=frame, draw=hardware_figures.times_and_roofs,
                alt=f"Time of each layer beside its roof. {reading}", reading=reading,
                size_inches=(7.4, 4.8))  # fmt: skip


def _scaled(value: float | None) -> float | None:
    return None if value is None else 1e3 * value


def _layer_reading(profile: LayerProfile) -> str:
    longest = max(profile.layers, key=lambda layer: layer.seconds.value)
    lost = max(profile.layers, key=lambda layer: layer.seconds.value - layer.roof.seconds)
    too_low = (
        f" Above their roofs: {joined(profile.above_roof)}; those roofs were measured too low, while the machine was "
        "busier; measure again."
        if profile.above_roof
        else ""
    )
    return (
        f"{capital(workload(profile.workload))}, batch {profile.batch_size}, {plural(profile.n_threads, 'thread')}: "
        f"{longest.name} takes the longest, {seconds(longest.seconds.value)}, {share(longest.share)} of the "
        f"attainable. The most is lost in {lost.name}: {seconds(max(0.0, lost.seconds.value - lost.roof.seconds))} "
        f"above its roof. The layers, each by itself, add up to {seconds(profile.sum_s)}; the whole network took "
        f"{seconds(profile.whole.value)} in the same rounds ({times(profile.sum_s / profile.whole.value)}). With every "
        f"layer at its roof it would take {seconds(profile.roof_s)}.{too_low}"
    )


def layer_table(said: HardwareStudy) -> Table:
    """Every layer of every network at its largest batch on most threads: time, FLOPs, bytes, share, what binds.

    The other configurations are in the page's data; here they would bury these.
    """
    largest = {p.workload: p for p in sorted(said.standing.profiles, key=lambda p: (p.batch_size, p.n_threads))}
    rows = [_row(profile, layer) for profile in largest.values() for layer in profile.layers]
    reading = " ".join(
        f"{capital(workload(p.workload))}, batch {p.batch_size}, {plural(p.n_threads, 'thread')}: sum "
        f"{seconds(p.sum_s)}, whole {seconds(p.whole.value)}."
        for p in said.standing.profiles
    )
    return Table(frame=pd.DataFrame(rows), reading=reading or "The layers were not measured in this run.",
                 notes=said.standing.not_measured)  # fmt: skip


def _row(profile: LayerProfile, layer: Layer) -> dict[str, str]:
    return {
        "network": f"{profile.workload.removeprefix('cnn-')}, b{profile.batch_size},t{profile.n_threads}",
        "layer": layer.name,
        "output": "×".join(map(str, layer.shape)),
        "time": seconds(layer.seconds.value),
        "95 %": "–" if layer.seconds.low is None else interval(layer.seconds.low, layer.seconds.high, seconds),
        "of the sum": share(layer.seconds.value / profile.sum_s),
        "MFLOP": digits(layer.work.flops / 1e6) if layer.work.flops else "0",
        "bytes": size(layer.work.bytes),
        "GFLOP/s": digits(layer.work.flops / layer.seconds.value / 1e9) if layer.work.flops else "–",
        "GB/s": digits(layer.work.bytes / layer.seconds.value / 1e9),
        "of attainable": share(layer.share),
        "bound": layer.bound,
    }
