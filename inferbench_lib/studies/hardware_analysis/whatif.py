"""Predictions of what would change a time: the limits move, and each layer keeps its share of them.

A layer near a limit takes as much longer or shorter as that limit does. A layer far below every limit is bound by its
own instructions: its time scales with its values and with the threads that share them, whatever their precision. Where
this machine can make the change itself, it is measured too, and the model's error stands beside its prediction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from inferbench_lib.findings import Ratio, Verdict
from inferbench_lib.records import Case, Measurement
from inferbench_lib.stats.comparison import compare
from inferbench_lib.stats.roofline import Roofs, Work
from inferbench_lib.studies.hardware_analysis.bounds import Layer, LayerProfile
from inferbench_lib.studies.hardware_analysis.forest import ForestCost

WITHIN = 0.25
"""How far a prediction may lie from the measurement and still be called right."""
VALUE_BYTES = {"fp32": 4, "bf16": 2}


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of threads, batch size or precision here, or of another machine's cores or memory bandwidth."""

    n_threads: int | None = None
    batch_size: int | None = None
    precision: str | None = None
    cores: float = 1.0
    memory: float = 1.0


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """The gain in inputs per second predicted for one change; `measured` where this machine did both sides."""

    workload: str
    before: str
    change: str
    predicted: float
    measured: Ratio | None = None

    @property
    def is_checked(self) -> bool:
        """Return whether both sides were measured with right outputs."""
        return self.measured is not None and not math.isnan(self.measured.value)

    @property
    def error(self) -> float | None:
        """Return the predicted over the measured gain, less 1."""
        return self.predicted / self.measured.value - 1 if self.measured and self.is_checked else None

    @property
    def is_within(self) -> bool:
        """Return whether the prediction is within `WITHIN` of the measurement."""
        return self.error is not None and abs(self.error) <= WITHIN

    @property
    def is_inconclusive(self) -> bool:
        """Return whether the prediction misses the measured value, but not all of the measured interval."""
        seen = self.measured
        if self.is_within or seen is None or not self.is_checked or seen.low is None or seen.high is None:
            return False
        return seen.low * (1 - WITHIN) <= self.predicted <= seen.high * (1 + WITHIN)

    @property
    def is_missed(self) -> bool:
        """Return whether the prediction was checked and is wrong."""
        return self.is_checked and not self.is_within and not self.is_inconclusive

    @property
    def verdict(self) -> str:
        """Return MODEL where nothing was measured, else how close the prediction came."""
        if self.error is None:
            why = f", {Verdict.INVALID}: {self.measured.reason}" if self.measured else ""
            return f"MODEL, not checked here{why}"
        if self.is_inconclusive:
            return "inconclusive: the measured interval is too wide"
        return f"{'within' if self.is_within else 'not within'} {100 * WITHIN:.0f} % of the measurement"


def worst(what_ifs: Sequence[WhatIf]) -> WhatIf | None:
    """Return the missed prediction that lies furthest off, None where none is missed."""
    missed = (one for one in what_ifs if one.is_missed)
    return max(missed, key=lambda one: abs(math.log1p(one.error or 0.0)), default=None)


def predicted_gain(profile: LayerProfile, roofs: Roofs, change: Change) -> float:
    """Return inputs per second after the change over those before."""
    after = replace(roofs, compute=change.cores, caches=change.cores, memory=change.memory)
    n_inputs = (change.batch_size or profile.batch_size) / profile.batch_size
    new_s = sum(_after_s(layer, n_inputs, after, change) for layer in profile.layers)
    return n_inputs * profile.sum_s / new_s


def gain_at_the_roof(profile: LayerProfile) -> float:
    """Return the most that any other engine could gain: every layer at its roof."""
    return profile.sum_s / profile.roof_s


def _after_s(layer: Layer, n_inputs: float, after: Roofs, change: Change) -> float:
    work = _changed(layer, n_inputs, change)
    roof_s = after.over(work).seconds
    if layer.bound != "instructions":
        return layer.seconds.value * roof_s / layer.roof.seconds
    shared = work.n_threads / layer.work.n_threads * change.cores
    return max(roof_s, layer.seconds.value * n_inputs / shared)


def _changed(layer: Layer, n_inputs: float, change: Change) -> Work:
    """Return the layer's work after the change: weights once, everything else once per input."""
    old = layer.work
    precision = change.precision or old.precision
    n_bytes = layer.weight_bytes + (old.bytes - layer.weight_bytes) * n_inputs
    return Work(
        flops=old.flops * n_inputs,
        bytes=n_bytes * VALUE_BYTES[precision] / VALUE_BYTES[old.precision],
        precision=precision,
        n_threads=change.n_threads or old.n_threads,
    )


def network_what_ifs(
    profile: LayerProfile, roofs: Roofs, cells: Mapping[Case, Measurement], case: Case, usable_cpus: int
) -> list[WhatIf]:
    """Return the changes of one profiled case: those measured here, then those that need another machine."""
    predictions = [
        (change, _named(case, after), compare(cells[case], cells[after]))
        for change, after in _measured_changes(case, cells)
        if roofs.knows(after.precision, after.n_threads)
    ]
    found = [
        WhatIf(workload=profile.workload, before=_text(case), change=name, measured=measured,
               predicted=predicted_gain(profile, roofs, change))
        for change, name, measured in predictions
    ]  # fmt: skip
    if case.n_threads == usable_cpus and case.precision == "fp32":
        hypothetical = {
            "twice the cores": predicted_gain(profile, roofs, Change(cores=2.0)),
            "twice the memory bandwidth": predicted_gain(profile, roofs, Change(memory=2.0)),
            "an engine with every layer at its roof, at most": gain_at_the_roof(profile),
        }
        found += _unchecked(profile.workload, case, hypothetical)
    return found


def _measured_changes(case: Case, cells: Mapping[Case, Measurement]) -> Iterator[tuple[Change, Case]]:
    """Yield the measured cases that differ in one thing: more threads, a larger batch, or bf16 instead of fp32."""
    for other in cells:
        if other == replace(case, n_threads=other.n_threads) and other.n_threads > case.n_threads:
            yield Change(n_threads=other.n_threads), other
        if other == replace(case, batch_size=other.batch_size) and other.batch_size > case.batch_size:
            yield Change(batch_size=other.batch_size), other
        if other == replace(case, precision="bf16") and case.precision == "fp32":
            yield Change(precision="bf16"), other


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
    found = []
    of_16 = cost.seconds_of_16(roofs.load_s(cost.forest_bytes) or 0.0)
    for before, after, after_s in ((many, shared, cost.seconds(most, usable_cpus)), (one, sixteen, of_16)):
        if before != after and before in measured and after in measured:
            before_s = cost.seconds(before.batch_size, before.n_threads)
            found.append(
                WhatIf(
                    workload=name,
                    before=_text(before),
                    change=_named(before, after),
                    predicted=after.batch_size / before.batch_size * before_s / after_s,
                    measured=compare(measured[before], measured[after]),
                )
            )
    if shared in measured:
        before_s = cost.seconds(most, usable_cpus)
        hypothetical = {"twice the cores": before_s / cost.seconds(most, 2 * usable_cpus)}
        if roofs.loads_s:
            saved_s = (roofs.load_s(cost.tree_bytes) or 0.0) - min(roofs.loads_s.values())
            nearer_s = before_s - cost.visits * most / usable_cpus * saved_s
            if nearer_s > 0:
                hypothetical["trees small enough for the nearest cache"] = before_s / nearer_s
        found += _unchecked(name, shared, hypothetical)
    return found


def _unchecked(workload: str, case: Case, gains: Mapping[str, float]) -> list[WhatIf]:
    return [WhatIf(workload=workload, before=_text(case), change=name, predicted=gain) for name, gain in gains.items()]


def _text(case: Case) -> str:
    return f"b{case.batch_size},t{case.n_threads}" + ("" if case.precision == "fp32" else f",{case.precision}")


def _named(before: Case, after: Case) -> str:
    """Name the one thing that changes: `threads 1 → 2`."""
    if before.n_threads != after.n_threads:
        return f"threads {before.n_threads} → {after.n_threads}"
    if before.batch_size != after.batch_size:
        return f"batch {before.batch_size} → {after.batch_size}"
    return f"{before.precision} → {after.precision}"
