"""The verdict and the recommendation of `cpu_vs_gpu` in words."""

from __future__ import annotations

from inferbench_lib.findings import Advice, Verdict
from inferbench_lib.records import CPU
from inferbench_lib.report.words import compared, digits, joined, plural, ratio, times
from inferbench_lib.studies.cpu_vs_gpu.study import Absence, DeviceStudy

ABSENT = {
    Absence.NOT_ASKED: "No GPU was asked for",
    Absence.NOT_FOUND: "No GPU was found",
    Absence.NOT_MEASURED: "The GPU was not measured: {reason}",
}


def verdict(said: DeviceStudy) -> str:
    """Return the speedup of the GPU for each network, or that there is none and how fast the CPU is."""
    if said.absence is not None:
        spoken = joined(
            f"{digits(cell.rate)} images/s with the {name} network (batch {cell.batch_size})"
            for name in said.names
            if (cell := said.best(name, CPU))
        )
        reached = f"reaches {spoken}" if spoken else "was not measured either"
        return f"{ABSENT[said.absence].format(reason=said.reason)}. The CPU {reached}."
    clauses = []
    for name in said.names:
        found, alone = said.speedup(name), said.device_speedup(name)
        if found is None or found.verdict is Verdict.INVALID:
            clauses.append(f"{name}: no comparison ({found.reason if found else 'not measured'})")
            continue
        clause = f"{name}: {compared(found, str(said.accelerator), 'the CPU')}"
        clauses.append(f"{clause}, {times(alone.value)} by device time" if alone and alone.is_judged else clause)
    return f"{'; '.join(clauses)}. Transfers are included, except in device time."


def advise(said: DeviceStudy) -> Advice | None:
    """Recommend a device for each network that was compared, None where there was nothing to compare."""
    gpu, worth = said.accelerator, said.is_worth_moving
    if gpu is None or not worth:
        return None
    found = {name: one for name in worth if (one := said.speedup(name))}
    moved, kept = [name for name in worth if worth[name]], [name for name in worth if not worth[name]]

    def spoken(names: list[str]) -> tuple[str, str]:
        return joined(f"the {name} network" for name in names), joined(ratio(found[name]) for name in names)

    parts = []
    if moved:
        networks, speedups = spoken(moved)
        parts.append(f"run {networks} on {gpu}: {speedups} as fast as on the CPU, transfers included")
    if kept:
        networks, speedups = spoken(kept)
        parts.append(f"keep {networks} on the CPU: with transfers {gpu} is {speedups} as fast")
    alone = joined(times(one.value) for name in worth if (one := said.device_speedup(name)) and one.is_judged)
    batches = joined(f"{best.batch_size} ({name})" for name in worth if (best := said.best(name, gpu)))
    return Advice(
        recommendation="; ".join(parts),
        evidence=f"compared within {plural(min(of.n_rounds for of in found.values()), 'round')}, with a 95 % interval"
        + (f"; by device time alone {alone}" if alone else ""),
        limits=f"this pair of devices, in batches of {batches}",
        code=f'model = model.to("{gpu}")\noutputs = model(images.to("{gpu}")).cpu()' if moved else "",
    )
