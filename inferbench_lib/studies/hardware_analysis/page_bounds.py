"""Sentences, cards, figures and tables on the limit that binds each workload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from inferbench_lib.findings import Interval
from inferbench_lib.report.display import Card, View
from inferbench_lib.report.words import capital, digits, interval, joined, plural, seconds, share, times
from inferbench_lib.stats.roofline import Bound, Work
from inferbench_lib.studies.hardware_analysis import figures as drawing
from inferbench_lib.studies.hardware_analysis.bounds import ABOVE, Bindable, LayerProfile, WholePoint
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy
from inferbench_lib.work import title_of


class BoundWords(NamedTuple):
    """Words for a bound: the limit, what a workload is by it, and how a forest's time shows it."""

    limit: str
    adjective: str
    of_forest: str = "{limit} explains {reached} of each {visit} node visit"


WORDS: dict[Bound, BoundWords] = {
    "compute": BoundWords("arithmetic", "compute-bound"),
    "bandwidth": BoundWords("memory bandwidth", "memory-bandwidth-bound"),
    "cache": BoundWords("cache bandwidth", "cache-bandwidth-bound"),
    "latency": BoundWords("memory latency", "memory-latency-bound",
                          "{reached} of each {visit} node visit waits for the load of the next node"),
    "launch": BoundWords("call overhead", "overhead-bound",
                         "{reached} of each call is a fixed cost, whatever its rows"),
    "instructions": BoundWords("the program itself", "software-bound",
                               "the nearest limit explains {reached} of each {visit} node visit"),
}  # fmt: skip


def workload(name: str) -> str:
    """Return what a sentence calls a workload; a name of its own stays as it is."""
    base, _, more = name.partition(",")
    return f"{title_of(base)} ({more})" if more else title_of(base)


def short(name: str) -> str:
    """Return what a table or an axis calls a workload."""
    return workload(name).removeprefix("the ")


def spread(of: Interval) -> str:
    """Return the interval of a time as a table's cell."""
    return "–" if of.low is None else interval(of.low, of.high, seconds)


def _configuration(one: Bindable) -> str:
    case = one.case
    inputs = plural(case.batch_size, "row") if case.workload == "forest" else f"batch {case.batch_size}"
    return f"{inputs} on {plural(case.n_threads, 'thread')}"


def named(one: Bindable) -> str:
    """Return a workload with its batch and threads, in a sentence."""
    return f"{workload(one.name)} ({_configuration(one)})"


def binding_cards(said: HardwareStudy) -> tuple[Card, ...]:
    """Return a card for each workload with the limit that binds it."""
    return tuple(
        Card(
            value=WORDS[one.bound].adjective,
            label=f"{workload(one.name)}, {_configuration(one)}",
            interval=f"{share(one.roof_share)} of the nearest limit"
            + (f", in {share(one.time_share)} of its time" if isinstance(one, LayerProfile) else ""),
        )
        for one in said.firsts
    )


def verdict(said: HardwareStudy) -> str:
    """Return which workloads the hardware limits, and for which another engine would help."""
    limited = [one for one in said.firsts if one.bound != "instructions"]
    free = [one for one in said.firsts if one.bound == "instructions"]
    bound = [f"{workload(one.name)} is {WORDS[one.bound].adjective}" for one in limited]
    sentences = []
    if limited:
        sentences.append(f"{capital(joined(_with_shares(bound, limited, 'that limit')))}.")
    if free:
        names = joined(_with_shares([workload(one.name) for one in free], free, "what this CPU allows"))
        gains = joined(
            f"up to {times(one.gain_at_roof)}" + (f" for {workload(one.name)}" if len(free) > 1 else "")
            for one in free
            if isinstance(one, LayerProfile)
        )
        help_by = f"could gain {gains}" if gains else "would help"
        sentences.append(f"The hardware is not the limit of {names}: another engine {help_by}.")
    return " ".join(sentences) or "Neither layers nor node visits were measured, so no limit can be named."


def short_verdict(said: HardwareStudy) -> str:
    """Return the limit of each workload without its share; empty where none is known."""
    bound = [f"{workload(one.name)} is {WORDS[one.bound].adjective}" for one in said.firsts]
    return f"{capital(joined(bound))}." if bound else ""


def _with_shares(texts: Sequence[str], of: Sequence[Bindable], limit: str) -> list[str]:
    """Append to each text its share of the limit, which is named once."""
    said_once = (f" of {limit}", *[""] * len(texts))
    return [f"{text} ({share(one.roof_share)}{said})" for text, one, said in zip(texts, of, said_once, strict=False)]


def too_low(said: HardwareStudy) -> list[str]:
    """Return a warning for each workload that exceeds its limit."""
    return [
        f"{capital(workload(one.name))} is faster than its limit, which was measured on a busier machine. Run again."
        for one in said.firsts
        if one.roof_share > ABOVE
    ]


def workload_roofline(said: HardwareStudy) -> View:
    """Draw the layers and the forest under the measured limits."""
    rows: list[dict[str, Any]] = []
    for profile in shown_profiles(said):
        group = f"{workload(profile.name)}, batch {profile.case.batch_size}"
        rows += [_point(one.name, group, one.work, one.seconds.value) for one in profile.layers if one.work.flops]
    for point in said.forests:
        group = f"{workload(point.name)}, {plural(point.case.n_threads, 'thread')}"
        rows.append(_point(plural(point.case.batch_size, "row"), group, point.work, point.seconds))
    levels: dict[str, float] = {}
    for (_, n), (rate, level) in sorted(said.roofs.bytes_per_s.items()):
        if n == said.run.machine.usable_cpus:
            # For memory the rate of the largest working set counts, for a cache the highest of all.
            levels[level] = rate if level == "RAM" else max(rate, levels.get(level, 0.0))
    peak = said.peak["limit"]["value"]
    frame = pd.DataFrame(rows)
    frame.attrs = {
        "peak": peak * 1e9,
        "peak_says": f"fp32 peak {digits(peak)} GFLOP/s",
        "levels": [(rate, f"{level} {digits(rate / 1e9)} GB/s") for level, rate in levels.items()],
        "x": "arithmetic intensity (FLOP per byte that must be touched; a comparison of the forest counted as one)",
        "y": "GFLOP/s",
    }
    reading = " ".join(map(_binding_sentence, said.firsts)) or "Layers and node visits were not measured in this run."
    return View(name="workload_roofline", frame=frame, draw=drawing.roofs, reading=reading, size_inches=(7.4, 5.8),
                alt="Roofline with every layer that computes, and the forest.")  # fmt: skip


def shown_profiles(said: HardwareStudy) -> list[LayerProfile]:
    """Return for each network the profile that a reader asks about first."""
    return [one for one in said.firsts if isinstance(one, LayerProfile)]


def _point(label: str, group: str, work: Work, taken_s: float) -> dict[str, Any]:
    return {"label": label, "group": group, "intensity": work.flops / work.bytes, "flops_per_s": work.flops / taken_s}


def _binding_sentence(one: Bindable) -> str:
    """Return which limit binds a workload, the figures that show it, and the share of its other limits."""
    evidence, others = _of_layers(one) if isinstance(one, LayerProfile) else _of_whole(one)
    if one.bound == "instructions":
        return f"The hardware is not the limit of {named(one)}: {evidence}. Another engine would help.{others}"
    return f"{capital(named(one))} is {WORDS[one.bound].adjective}: {evidence}.{others}"


def _of_layers(profile: LayerProfile) -> tuple[str, str]:
    longest = profile.bound_layers[:2]
    taken_s = sum(layer.seconds.value for layer in longest)
    reached = share(sum(layer.roof.seconds for layer in longest) / taken_s)
    takes, reaches = ("takes", "reaches") if len(longest) == 1 else ("take", "reach")
    names, of_time = joined(layer.name for layer in longest), share(taken_s / profile.sum_s)
    rest = [
        f"{WORDS[bound].limit} ({share(part / profile.sum_s)} of the time)"
        for bound, part in list(profile.time_by_bound().items())[1:3]
        if part >= 0.01 * profile.sum_s
    ]
    return (
        f"{names} {takes} {of_time} of the time and {reaches} {reached} of what this CPU allows",
        f" Other layers are limited by {joined(rest)}." if rest else "",
    )


def _of_whole(one: WholePoint) -> tuple[str, str]:
    reached, words = share(one.roof_share), WORDS[one.bound]
    if one.case.workload != "forest":
        return f"it reaches {reached} of what this CPU allows", ""
    floors = [f"{WORDS[bound].limit} {share(floor_s / one.seconds)}" for bound, floor_s in one.roof.floors_s.items()]
    visit_s = one.seconds * one.case.n_threads / one.work.flops
    return (
        words.of_forest.format(limit=words.limit, reached=reached, visit=seconds(visit_s)),
        f" Each limit as a share of its time: {joined(floors)}.",
    )
