"""Read a `calibration` run: how true the timing is here, and which differences it can find."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from inferbench_lib.findings import Interval, Ratio
from inferbench_lib.records import Figure, Measurement, Run
from inferbench_lib.stats.comparison import compare
from inferbench_lib.stats.entries import entry
from inferbench_lib.stats.statistics import median_interval
from inferbench_lib.studies.calibration.false_alarms import IdenticalStudy, compare_identical

SPIN, IDENTICAL, AGREEMENT = "spin", "identical", "agreement"
"""The note `part` of a measurement: what it is for."""
SLOWDOWN = 0.05
ALARM_LIMIT = 0.05
AGREEMENT_LIMIT = 0.03
BIAS_LIMITS = {"5us": 0.02, "50us": 0.005, "500us": 0.005, "5ms": 0.005}
SHORT = {"forest": "forest", "cnn-small": "cnn"}
"""Workloads as the names of figures call them."""
FILE = "calibration.json"
"""In the reports folder: the figures of the latest calibration, flat."""


@dataclass(frozen=True, kw_only=True)
class Bias:
    """Distance of what the loop reads from a known time.

    `relative` is that of the median as a share of the true time; `ratios` are measured over true, of each sample.
    """

    duration_s: float
    calls_per_sample: int
    relative: Interval
    ratios: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class CalibrationStudy:
    """Findings of one run. `biases` are of blocks as large as the timer asks for, `single_biases` of single calls.

    `overhead` is in nanoseconds, by the names of `timing.harness.Overhead`; `agreement` is our seconds over torch's.
    """

    run: Run
    overhead: Mapping[str, float]
    biases: Mapping[str, Bias]
    single_biases: Mapping[str, Bias]
    identical: IdenticalStudy
    agreement: Mapping[str, Ratio]
    failures: tuple[str, ...]


def study(run: Run) -> CalibrationStudy:
    """Return everything that a `calibration` run says, from its raw samples."""
    parts: dict[str, list[Measurement]] = defaultdict(list)
    for cell in run.measurements:
        parts[cell.notes.get("part", "")].append(cell)
    looks = run.tables["overhead"]
    seen = {name: float(min(values) if name == "timer_step_ns" else median(values)) for name, values in looks.items()}
    by_label: dict[str, list[Bias]] = defaultdict(list)
    for cell in sorted(parts[SPIN], key=lambda cell: cell.calls_per_sample):
        by_label[cell.case.engine].append(_bias(cell, seen["spin_edge_ns"] / 1e9))
    return CalibrationStudy(
        run=run,
        overhead=seen,
        biases={label: of[-1] for label, of in by_label.items()},
        single_biases={label: of[0] for label, of in by_label.items()},
        identical=compare_identical(
            parts[IDENTICAL],
            wanted=int(run.params["comparisons"]),
            n_rounds=int(run.params["rounds_a_comparison"]),
        ),
        agreement=_agreement(parts[AGREEMENT]),
        failures=tuple(f"{cell.case}: {cell.outcome}: {cell.reason}" for cell in run.measurements if cell.reason),
    )


def figures(said: CalibrationStudy) -> dict[str, Figure]:
    """Return the entries of `summary.json`, and the flat keys of `reports/calibration.json`."""
    seen, alike = said.overhead, said.identical
    n_alike, n_in_a_row = len(alike.comparisons), len(alike.p_values_in_a_row)
    values: list[tuple[str, float | None, str]] = [
        ("timer_cost_ns", seen["timer_pair_ns"], "ns"),
        ("timer_resolution_ns", seen["timer_step_ns"], "ns"),
        ("clock_ns", seen["clock_ns"], "ns"),
        ("loop_overhead_ns", seen["loop_ns"], "ns"),
        ("between_samples_ns", seen["between_ns"], "ns"),
        ("aa_comparisons", n_alike, ""),
        ("aa_false_alarms", alike.n_alarms, f"of {n_alike}"),
        ("aa_false_alarms_naive", alike.naive_alarms, f"of {n_alike}"),
        ("aa_comparisons_in_a_row", n_in_a_row, ""),
        ("aa_false_alarms_naive_in_a_row", alike.naive_alarms_in_a_row, f"of {n_in_a_row}"),
        ("aa_without_verdict", alike.n_withheld, f"of {n_alike}"),
        ("detectable_ratio", alike.detectable_ratio, "×"),
        ("detectable_ratio_observed", alike.observed_ratio, "×"),
        ("detection_rate_observed[5%]", alike.found(SLOWDOWN), "of comparisons"),
        *((f"detectable_ratio[{SHORT[name]}]", value, "×") for name, value in alike.detectable.items()),
    ]
    found = {name: Figure(value=value, unit=unit) for name, value, unit in values}
    for name, biases in (("bias", said.biases), ("bias_single_call", said.single_biases)):
        found |= {f"{name}[{label}]": entry(bias.relative, "of the true time") for label, bias in biases.items()}
    found["aa_false_alarm_rate"] = entry(alike.alarm_rate, "of comparisons")
    for name, ratio in said.agreement.items():
        found[f"agreement_torch[{SHORT[name]}]"] = entry(ratio, "×", ratio.verdict)
    return found


def _bias(cell: Measurement, edge_s: float) -> Bias:
    truths_s = [said_s + edge_s for said_s in cell.series["said_s"]]
    ratios = tuple(sample_s / true_s for sample_s, true_s in zip(cell.samples_s, truths_s, strict=True))
    rounds = np.split(np.asarray(ratios), np.cumsum(cell.round_sizes)[:-1])
    return Bias(
        duration_s=cell.figures["duration_s"],
        calls_per_sample=cell.calls_per_sample,
        relative=median_interval([round_.tolist() for round_ in rounds]).map(lambda ratio: ratio - 1),
        ratios=ratios,
    )


def _agreement(cells: Sequence[Measurement]) -> dict[str, Ratio]:
    by_timer = {(cell.case.workload, cell.notes["timer"]): cell for cell in cells}
    return {name: compare(by_timer[name, "inferbench"], by_timer[name, "torch"]) for name, _ in by_timer}
