"""The recommendation of `hardware_analysis` in words: the lower precision that was measured to be faster."""

from __future__ import annotations

from inferbench_lib.findings import Advice
from inferbench_lib.report.display import Card
from inferbench_lib.report.words import digits, interval_of, joined, plural, ratio, times
from inferbench_lib.studies.hardware_analysis.page_bounds import workload
from inferbench_lib.studies.hardware_analysis.study import HardwareStudy, LowerPrecision

CODE = {
    "bf16": """\
model = model.to(torch.bfloat16)
with torch.inference_mode():
    outputs = model(images.to(torch.bfloat16)).float()"""
}
"""Lines that run a network in a precision, by its name."""


def advise(said: HardwareStudy) -> Advice | None:
    """Recommend a lower precision for the networks that gain by it, None where none does."""
    found = [one for one in said.precisions if one.is_worth_it]
    if not found:
        return None
    networks, gains = joined(workload(one.name) for one in found), joined(ratio(one.gain) for one in found)
    precision = found[0].case.precision
    return Advice(
        recommendation=f"run {networks} in {precision}: {gains} as fast as fp32",
        evidence=joined(map(_evidence, found)),
        limits=f"this CPU, inputs given in {precision}; check that your own model is accurate enough in it",
        code=CODE[precision],
        gain=max((one.gain for one in found), key=lambda gain: gain.value),
    )


def _evidence(one: LowerPrecision) -> str:
    known = "" if one.difference is None else f", outputs up to {digits(one.difference)} from the float64 ones"
    return f"{workload(one.name)} compared within {plural(one.gain.n_rounds, 'round')} in {_place(one)}{known}"


def _place(one: LowerPrecision) -> str:
    return f"batch {one.case.batch_size} on {plural(one.case.n_threads, 'thread')}"


def precision_cards(said: HardwareStudy) -> tuple[Card, ...]:
    """Return a card for each network that gains by a lower precision."""
    return tuple(
        Card(
            value=times(one.gain.value),
            label=f"{workload(one.name)} in {one.case.precision} instead of fp32, {_place(one)}",
            interval=interval_of(one.gain),
        )
        for one in said.precisions
        if one.is_worth_it
    )
