"""How far a run's figures can be trusted, in one sentence, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from inferbench_lib.records import Measurement, Outcome, Run
from inferbench_lib.report.words import joined, plural
from inferbench_lib.stats.statistics import summarize

DISTURBANCES = {
    "other_load": "other programs took CPU time",
    "steal": "the host took CPU time",
    "swap": "memory was swapped",
    "cgroup_throttled": "the CPU quota throttled",
    "cpu_thermal": "the processor was too hot",
    "gpu_clock": "the GPU's clock fell",
    "gpu_throttled": "the GPU throttled",
    "gpu_lost": "the GPU was lost",
    "oversubscribed": "more workers than CPUs were asked for",
    "drift": "the control workload drifted",
}
FEWEST_ROUNDS = 6
"""Below this number no 95 % interval over rounds exists."""


def trust(runs: Sequence[Run]) -> str:
    """Stable or not, what disturbed it, how much was verified, and over how many rounds; empty without a cell."""
    cells = [cell for run in runs for cell in run.measurements]
    if not cells:
        return ""
    return f"{_standing(cells)} {_verified(cells)} {_rounds(cells)}"


def _standing(cells: Sequence[Measurement]) -> str:
    outcomes = [summarize(cell).outcome for cell in cells]
    unsteady = sum(
        outcome is Outcome.UNSTABLE or any(flag.invalidates for flag in cell.flags)
        for cell, outcome in zip(cells, outcomes, strict=True)
    )
    ended = sum(outcome not in (Outcome.OK, Outcome.UNSTABLE) for outcome in outcomes)
    seen = Counter(flag.name for cell in cells for flag in {flag.name: flag for flag in cell.flags}.values())
    why = joined(f"{DISTURBANCES.get(name, name)} in {count}" for name, count in seen.most_common())
    beside = f"; {why}" if why else ""
    if not unsteady and not ended:
        return f"Stable: none of {plural(len(cells), 'cell')} drifted or failed{beside}."
    troubles = [f"{unsteady} too unsteady for a verdict"] * bool(unsteady)
    troubles += [f"{ended} without a figure"] * bool(ended)
    return f"Not stable throughout: of {plural(len(cells), 'cell')}, {joined(troubles)}{beside}."


def _verified(cells: Sequence[Measurement]) -> str:
    checked = [cell.verification for cell in cells if cell.verification is not None]
    if not checked:
        return "No outputs were verified."
    wrong = sum(not one.passed for one in checked)
    if wrong:
        return f"Outputs of {wrong} of {plural(len(checked), 'checked cell')} are WRONG and their figures withheld."
    return f"The outputs of all {plural(len(checked), 'checked cell')} equal the reference."


def _rounds(cells: Sequence[Measurement]) -> str:
    counts = sorted({len(cell.round_sizes) for cell in cells if cell.round_sizes})
    if not counts:
        return "Nothing was timed."
    spread = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    noun = "round" if counts == [1] else "rounds"
    if counts[0] >= FEWEST_ROUNDS:
        return f"Every interval is over {spread} {noun}."
    return f"Measured in {spread} {noun}; an interval needs {FEWEST_ROUNDS}, and is withheld below."
