"""Predictions of what would change a time: the limits move, and each layer keeps its share of them.

A layer near a limit takes as much longer or shorter as that limit does. A layer far below every limit is bound by its
own instructions: its time scales with its values and with the threads that share them, whatever their precision. Where
this machine can make the change itself, it is measured too, and the model's error stands beside its prediction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from inferbench_lib.findings import Ratio, Verdict
from inferbench_lib.records import Case, Measurement
from inferbench_lib.stats.comparison import compare
from inferbench_lib.stats.roofline import Roofs, Work
from inferbench_lib.studies.hardware_analysis.bounds import ForestCost, Layer, LayerProfile

TOLERANCE = 0.25
"""How far a prediction may lie from the measurement and still be called right."""
VALUE_BYTES = {"fp32": 4, "bf16": 2}


class Check(StrEnum):
    """Comparison of a prediction with the measurement, in the words of the table."""

    UNCHECKED = "MODEL, not checked here"
    WITHIN = f"within {100 * TOLERANCE:.0f} % of the measurement"
    INCONCLUSIVE = "inconclusive: the measured interval is too wide"
    MISSED = f"not within {100 * TOLERANCE:.0f} % of the measurement"


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """The gain in inputs per second predicted for one change; `measured` where this machine did both sides."""

    workload: str
    before: str
    change: str
    predicted: float
    measured: Ratio | None = None

    @property
    def error(self) -> float | None:
        """Return the predicted over the measured gain, less 1; None where no gain was measured with right outputs."""
        seen = self.measured
        return None if seen is None or math.isnan(seen.value) else self.predicted / seen.value - 1

    @property
    def check(self) -> Check:
        """Return how the prediction compares with the measured gain and its interval."""
        if self.measured is None or self.error is None:
            return Check.UNCHECKED
        if abs(self.error) <= TOLERANCE:
            return Check.WITHIN
        low, high = self.measured.low, self.measured.high
        if low is not None and high is not None and low * (1 - TOLERANCE) <= self.predicted <= high * (1 + TOLERANCE):
            return Check.INCONCLUSIVE
        return Check.MISSED

    @property
    def verdict(self) -> str:
        """Return the check in words, with the reason why a measured gain counts for nothing."""
        if self.measured is not None and self.error is None:
            return f"{Check.UNCHECKED}, {Verdict.INVALID}: {self.measured.reason}"
        return str(self.check)


def predicted_gain(
    profile: LayerProfile, roofs: Roofs, after: Case, *, cores: float = 1.0, memory: float = 1.0
) -> float:
    """Return inputs per second in another case, or on so many times the cores or memory bandwidth, over those now."""
    roofs = replace(roofs, compute=cores, caches=cores, memory=memory)
    n_inputs = after.batch_size / profile.case.batch_size
    after_s = sum(_after_s(layer, roofs, after, n_inputs, cores) for layer in profile.layers)
    return n_inputs * profile.sum_s / after_s


def _after_s(layer: Layer, roofs: Roofs, after: Case, n_inputs: float, cores: float) -> float:
    """Return a layer's seconds after the change: its weights are read once, everything else once per input."""
    old = layer.work
    n_bytes = layer.weight_bytes + (old.bytes - layer.weight_bytes) * n_inputs
    work = Work(
        flops=old.flops * n_inputs,
        bytes=n_bytes * VALUE_BYTES[after.precision] / VALUE_BYTES[old.precision],
        precision=after.precision,
        n_threads=after.n_threads,
    )
    roof_s = roofs.over(work).seconds
    if layer.bound != "instructions":
        return layer.seconds.value * roof_s / layer.roof.seconds
    shared = work.n_threads / old.n_threads * cores
    return max(roof_s, layer.seconds.value * n_inputs / shared)


def network_what_ifs(
    profile: LayerProfile, roofs: Roofs, cells: Mapping[Case, Measurement], usable_cpus: int
) -> list[WhatIf]:
    """Return the changes of one profiled case: those measured here, then those that need another machine."""
    case = next((one for one in cells if replace(one, engine=profile.case.engine) == profile.case), None)
    if case is None:
        return []
    found = [
        _checked(profile.name, case, after, predicted_gain(profile, roofs, after), cells)
        for after in cells
        if _change(case, after) and roofs.knows(after.precision, after.n_threads)
    ]
    if case.n_threads == usable_cpus and case.precision == "fp32":
        hypothetical = {
            "twice the cores": predicted_gain(profile, roofs, case, cores=2.0),
            "twice the memory bandwidth": predicted_gain(profile, roofs, case, memory=2.0),
            "an engine with every layer at its roof, at most": profile.gain_at_roof,
        }
        found += _unchecked(profile.name, case, hypothetical)
    return found


def forest_what_ifs(
    name: str, cost: ForestCost, cells: Mapping[Case, Measurement], roofs: Roofs, usable_cpus: int
) -> list[WhatIf]:
    """Return the gains from more threads, from larger batches, and from what no setting here can do."""
    measured = {case: cell for case, cell in cells.items() if cell.samples_s}
    some_case = next(iter(measured))
    most = max(case.batch_size for case in measured)
    one, sixteen, many, shared = (
        replace(some_case, batch_size=rows, n_threads=n)
        for rows, n in ((1, 1), (16, 1), (most, 1), (most, usable_cpus))
    )
    shared_s, of_16_s = cost.seconds(most, usable_cpus), cost.seconds_of_16(roofs.load_s(cost.forest_bytes) or 0.0)
    found = []
    for before, after, after_s in ((many, shared, shared_s), (one, sixteen, of_16_s)):
        if _change(before, after) and before in measured and after in measured:
            n_inputs = after.batch_size / before.batch_size
            predicted = n_inputs * cost.seconds(before.batch_size, before.n_threads) / after_s
            found.append(_checked(name, before, after, predicted, measured))
    if shared in measured:
        hypothetical = {"twice the cores": shared_s / cost.seconds(most, 2 * usable_cpus)}
        if roofs.loads_s:
            saved_s = (roofs.load_s(cost.tree_bytes) or 0.0) - min(roofs.loads_s.values())
            nearer_s = shared_s - cost.visits * most / usable_cpus * saved_s
            if nearer_s > 0:
                hypothetical["trees small enough for the nearest cache"] = shared_s / nearer_s
        found += _unchecked(name, shared, hypothetical)
    return found


def _checked(workload: str, before: Case, after: Case, predicted: float, cells: Mapping[Case, Measurement]) -> WhatIf:
    """Return a predicted gain beside the measured one."""
    return WhatIf(
        workload=workload,
        before=_text(before),
        change=_change(before, after),
        predicted=predicted,
        measured=compare(cells[before], cells[after]),
    )


def _change(before: Case, after: Case) -> str:
    """Return the one thing that changes, more threads, a larger batch or bf16 for fp32: `threads 1 → 2`; else empty."""
    for name, words in {"n_threads": "threads ", "batch_size": "batch ", "precision": ""}.items():
        old, new = getattr(before, name), getattr(after, name)
        is_step = (old, new) == ("fp32", "bf16") if name == "precision" else old < new
        if is_step and after == replace(before, **{name: new}):
            return f"{words}{old} → {new}"
    return ""


def _unchecked(workload: str, case: Case, gains: Mapping[str, float]) -> list[WhatIf]:
    return [WhatIf(workload=workload, before=_text(case), change=name, predicted=gain) for name, gain in gains.items()]


def _text(case: Case) -> str:
    return f"b{case.batch_size},t{case.n_threads}" + ("" if case.precision == "fp32" else f",{case.precision}")
