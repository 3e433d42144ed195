"""Say which device to take."""

from __future__ import annotations

from inferbench_lib.records import Advice, Verdict
from inferbench_lib.report.words import compared, joined, plural, ratio
from inferbench_lib.studies.cpu_vs_gpu.devices import DeviceStudy


def advise(said: DeviceStudy) -> Advice:
    """Recommend a device for each network."""
    run = said.run
    found = {name: r for name in said.sizes() if (r := said.speedup(name)) is not None}
    usable = {name: r for name, r in found.items() if r.verdict is not Verdict.INVALID}
    if said.accelerator is None or not usable:
        reason = str(run.tables["accelerator_reason"]).removeprefix("no accelerator: ")
        reasons = dict.fromkeys(r.reason for r in found.values())
        return Advice(
            recommendation="keep the networks on the processor, since no GPU "
            + ("was measured" if said.accelerator is None else "gave a figure to compare"),
            evidence=f"the reason: {joined(reasons) or reason or 'no batch ran on both devices'}",
            limits="this machine as it is now",
        )
    found = usable
    gains = [name for name, r in found.items() if r.verdict is Verdict.FASTER]
    where = said.accelerator if gains else "the processor"
    return Advice(
        recommendation=f"run {joined(f'the {name} network' for name in gains or found)} on {where}: "
        + joined(ratio(found[name]) for name in gains or found)
        + " the speed of the processor",
        evidence="; ".join(
            compared(r, f"the {name} network", "the processor") for name, r in found.items() if name not in gains
        )
        or f"each compared within {plural(min(r.n_rounds for r in found.values()), 'round')}, with a 95 % interval",
        limits="this pair of devices, each at its best batch",
    )
