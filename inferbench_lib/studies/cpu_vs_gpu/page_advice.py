"""The verdict and the recommendation of `cpu_vs_gpu` in words, with the code to copy."""

from __future__ import annotations

from inferbench_lib.findings import Advice, Ratio, Verdict
from inferbench_lib.records import CPU
from inferbench_lib.report.words import capital, compared, digits, joined, plural, ratio, times
from inferbench_lib.studies.batch_loop import batch_loop, loops
from inferbench_lib.studies.cpu_vs_gpu.study import Absence, DeviceStudy

ABSENT = {
    Absence.NOT_ASKED: "No GPU was asked for",
    Absence.NOT_FOUND: "No GPU was found",
    Absence.NOT_MEASURED: "The GPU was not measured: {reason}",
}


def verdict(said: DeviceStudy) -> str:
    """Return which device to use and what it gains; where none was compared, the batches to use on the CPU."""
    advice = advise(said)
    sentences = [] if said.absence is None else [ABSENT[said.absence].format(reason=said.reason)]
    sentences += [capital(advice.recommendation)] if advice else []
    sentences += [f"By device time alone: {alone}"] if (alone := _by_device_time(said)) else []
    sentences += _not_compared(said) if said.absence is None else []
    return f"{'. '.join(sentences if advice else [*sentences, *_on_cpu(said)])}."


def _by_device_time(said: DeviceStudy) -> str:
    """Return the accelerator's speedup without transfers, for each network that was compared."""
    known = (one for name in said.is_worth_moving if (one := said.device_speedup(name)) and one.is_judged)
    return joined(times(one.value) for one in known)


def _not_compared(said: DeviceStudy) -> list[str]:
    """Return why networks have no verdict on the accelerator, in words."""
    clauses = []
    for name in said.names:
        found = said.speedup(name)
        if found is None or found.verdict is Verdict.INVALID:
            clauses.append(f"the {name} network: no comparison ({found.reason if found else 'not measured'})")
        elif name not in said.is_worth_moving:
            clauses.append(f"the {name} network: {compared(found, str(said.accelerator), 'the CPU')}")
    return [capital("; ".join(clauses))] if clauses else []


def _on_cpu(said: DeviceStudy) -> list[str]:
    """Return the batches to use on the CPU with their gain, and what it reaches where none is recommended."""
    use: dict[str, Ratio] = {}
    single, reached, smallest = [], [], ""
    for name in said.names:
        if chosen := said.on_cpu_alone(name):
            cell, gain = chosen
            words = f"{cell.batch_size} for the {name} network"
            if gain:
                use[words], smallest = gain, f"batch {said.measured(name, CPU)[0].batch_size}"
            else:
                single.append(words)
        elif best := said.best(name, CPU):
            reached.append(f"{digits(best.rate)} images/s with the {name} network (batch {best.batch_size})")
    sentences = []
    if use:
        gains = joined(map(ratio, use.values()))
        sentences.append(
            f"For throughput on the CPU, use batches of {joined(use)}: {gains} the throughput of {smallest}"
        )
    if single:
        sentences.append(f"On the CPU use batches of {joined(single)}: larger ones gain nothing")
    if reached:
        sentences.append(f"The CPU reaches {joined(reached)}")
    return sentences or ["The CPU has no result"]


def code_on_cpu(said: DeviceStudy) -> str:
    """Return the loop over the batches to use on the CPU; empty where none is recommended."""
    chosen = {name: found[0] for name in said.names if (found := said.on_cpu_alone(name))}
    return loops({f"the {name} network": batch_loop(cell.case, cell.batch_size) for name, cell in chosen.items()})


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
    best = {name: cell for name in worth if (cell := said.best(name, gpu))}
    batches = joined(f"{cell.batch_size} ({name})" for name, cell in best.items())
    on_gpu = {f"the {name} network": batch_loop(best[name].case, best[name].batch_size) for name in moved}
    return Advice(
        recommendation="; ".join(parts),
        evidence=f"compared within {plural(min(of.n_rounds for of in found.values()), 'round')}, with a 95 % interval"
        + (f"; by device time alone {alone}" if (alone := _by_device_time(said)) else ""),
        limits=f"this pair of devices, in batches of {batches}",
        code=loops(on_gpu) if moved else code_on_cpu(said),
        gain=max((found[name] for name in moved), key=lambda gain: gain.value, default=None),
    )
