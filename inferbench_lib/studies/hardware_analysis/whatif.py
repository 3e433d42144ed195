"""What would change a time, and by how much: a model that moves the roofs and keeps each layer's share of them.

A layer near a roof takes as much longer or shorter as its roof does. A layer far below every roof is bound by its own
instructions: its time goes with its values and with the threads that share them, whatever their precision. A change
that this machine can make is also measured, and the model's error stands beside its prediction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from inferbench_lib.records import Ratio, Verdict
from inferbench_lib.studies.hardware_analysis.layers import Layer, LayerProfile
from inferbench_lib.studies.hardware_analysis.roofs import Roofs, Work

WITHIN = 0.25
"""How far a prediction may lie from the measurement and still be called right."""
VALUE_BYTES = {"fp32": 4, "bf16": 2}


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is changed: threads, batch size or precision here; or another machine's cores or memory bandwidth."""

    n_threads: int | None = None
    batch_size: int | None = None
    precision: str | None = None
    cores: float = 1.0
    memory: float = 1.0


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """One change and the gain in inputs per second that is predicted; `measured` where this machine did both sides."""

    workload: str
    before: str
    change: str
    predicted: float
    measured: Ratio | None = None

    @property
    def is_checked(self) -> bool:
        """Whether both sides were measured with right outputs."""
        return self.measured is not None and not math.isnan(self.measured.value)

    @property
    def error(self) -> float | None:
        """Predicted over measured gain, less 1."""
        return self.predicted / self.measured.value - 1 if self.measured and self.is_checked else None

    @property
    def is_within(self) -> bool:
        """Whether the prediction came within `WITHIN` of the measurement."""
        return self.error is not None and abs(self.error) <= WITHIN

    @property
    def is_undecided(self) -> bool:
        """Whether it misses the measured value, but lies within `WITHIN` of another value of the measured interval."""
        seen = self.measured
        if self.is_within or seen is None or not self.is_checked or seen.low is None or seen.high is None:
            return False
        return seen.low * (1 - WITHIN) <= self.predicted <= seen.high * (1 + WITHIN)

    @property
    def verdict(self) -> str:
        """MODEL where nothing was measured, else how the prediction did."""
        if self.error is None:
            why = f", {Verdict.INVALID}: {self.measured.reason}" if self.measured else ""
            return f"MODEL, not checked here{why}"
        if self.is_undecided:
            return f"undecided: within {100 * WITHIN:.0f} % of an end of the measured interval only"
        return f"{'within' if self.is_within else 'not within'} {100 * WITHIN:.0f} % of the measurement"


def predicted_gain(profile: LayerProfile, roofs: Roofs, change: Change) -> float:
    """Inputs per second after the change over those before, from the layers' times and the roofs before and after."""
    after = replace(roofs, compute=change.cores, caches=change.cores, memory=change.memory)
    n_inputs = (change.batch_size or profile.batch_size) / profile.batch_size
    new_s = sum(_after_s(layer, n_inputs, after, change) for layer in profile.layers)
    return n_inputs * profile.sum_s / new_s


def gain_at_the_roof(profile: LayerProfile) -> float:
    """The most that any other engine could bring: every layer at its roof."""
    return profile.sum_s / profile.roof_s


def _after_s(layer: Layer, n_inputs: float, after: Roofs, change: Change) -> float:
    work = changed(layer, n_inputs, change)
    roof_s = after.over(work).seconds
    if layer.bound != "instructions":
        return layer.seconds.value * roof_s / layer.roof.seconds
    shared = work.n_threads / layer.work.n_threads * change.cores
    return max(roof_s, layer.seconds.value * n_inputs / shared)


def changed(layer: Layer, n_inputs: float, change: Change) -> Work:
    """The layer's work after the change: weights once, everything else once an input, each value so many bytes."""
    old = layer.work
    precision = change.precision or old.precision
    n_bytes = layer.weight_bytes + (old.bytes - layer.weight_bytes) * n_inputs
    return Work(
        flops=old.flops * n_inputs,
        bytes=n_bytes * VALUE_BYTES[precision] / VALUE_BYTES[old.precision],
        precision=precision,
        n_threads=change.n_threads or old.n_threads,
    )


def worst(what_ifs: Sequence[WhatIf]) -> WhatIf | None:
    """The prediction that misses and lies furthest off."""
    missed = (w for w in what_ifs if w.is_checked and not w.is_within and not w.is_undecided)
    return max(missed, key=lambda w: abs(math.log1p(w.error or 0.0)), default=None)
