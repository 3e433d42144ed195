"""Compare engines and precisions with the workload's own library as it comes, at each batch size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from inferbench_lib.findings import Interval, Ratio, Refusal, Verdict
from inferbench_lib.records import CPU, Case, Figure, Measurement, Run
from inferbench_lib.stats.accuracy import accuracy
from inferbench_lib.stats.comparison import WORTH, compare, input_s, is_worth_it, unusable
from inferbench_lib.stats.entries import entry
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.studies.model_engines.crossover import Crossover, crossover

FAULTS = "minor_faults"
STARTS = ("conversion_s", "import_s", "load_s", "runner_s", "first_call_s")
"""The entries of a price that are paid once."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One engine in one precision at one batch size, with its fastest number of threads; `gain` over the baseline."""

    measurement: Measurement
    gain: Ratio
    throughput_per_s: Interval
    latency_s: Interval
    is_baseline: bool

    @property
    def case(self) -> Case:
        """The case that was measured."""
        return self.measurement.case

    @property
    def key(self) -> str:
        """The cell within the names of figures."""
        case = self.case
        device = () if case.device == CPU else (case.device,)
        return ",".join((case.workload, case.engine, case.precision, f"b{case.batch_size}", *device))

    @property
    def agreement(self) -> float | None:
        """The share of inputs with the reference's class, ties counted as equal; None where it was not measured."""
        figures = self.measurement.figures
        n = figures.get("n_inputs")
        return None if not n else 1 - figures["n_disagreements"] / n

    @property
    def accuracy(self) -> Interval | None:
        """The share of different inputs whose class is true; None where no truth is known."""
        figures = self.measurement.figures
        n = figures.get("n_judged")
        return None if not n else accuracy(int(figures["n_correct"]), int(n))

    @property
    def page_faults(self) -> float | None:
        """The mean number of page faults per call; None where the system does not tell."""
        seen = self.measurement.series.get(FAULTS, ())
        return sum(seen) / len(seen) if seen else None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The engine to use at one batch size, or why none is recommended; `baseline` is the library as it comes."""

    workload: str
    device: str
    batch_size: int
    baseline: Cell
    best: Cell | Refusal

    @property
    def recommended(self) -> Cell | None:
        """The best cell where it is measurably faster than the baseline, else None."""
        return self.best if isinstance(self.best, Cell) and self.best.gain.verdict is Verdict.FASTER else None


@dataclass(frozen=True, kw_only=True)
class EnginesStudy:
    """One run read: its cells, its choices by workload and batch size, and where one engine overtakes another."""

    run: Run
    cells: tuple[Cell, ...]
    choices: tuple[Choice, ...]
    crossovers: Mapping[str, Crossover]

    @cached_property
    def workloads(self) -> tuple[str, ...]:
        """The workloads in the order measured."""
        return tuple(dict.fromkeys(cell.case.workload for cell in self.cells))

    def gemm_share(self, cell: Cell) -> float | None:
        """Return the share of the matrix multiplication peak that a network reaches on as many threads, in fp32."""
        case, tables = cell.case, self.run.tables
        peak = tables.get("gemm_gflops", {}).get(str(case.n_threads))
        flops = tables.get("flops", {}).get(case.workload)
        if not peak or not flops or case.precision != "fp32" or case.device != CPU or unusable(cell.measurement):
            return None
        return float(flops * cell.throughput_per_s.value / (peak * 1e9))


def pays_off_after(price: Mapping[str, Any], usual: Mapping[str, Any], cell: Cell, baseline: Cell) -> int | None:
    """Return the calls after which an engine has made up for its conversion and start; None where it never does.

    Both prices hold the seconds of conversion, import, load, runner and first call; what an engine does not need is
    missing. With a `reason` in place of them the price is not known, and None is returned.
    """
    if "reason" in price or "reason" in usual:
        return None
    dearer_s = sum((price.get(name) or 0.0) - (usual.get(name) or 0.0) for name in STARTS)
    saved_s = baseline.latency_s.value - cell.latency_s.value
    return None if saved_s <= 0 or not cell.gain.is_difference else max(0, math.ceil(dearer_s / saved_s))


def study(run: Run) -> EnginesStudy:
    """Compute everything that a `model_engines` run says from its raw samples."""
    groups: dict[tuple[str, str, int], list[Measurement]] = {}
    for row in run.measurements:
        groups.setdefault((row.case.workload, row.case.device, row.case.batch_size), []).append(row)
    cells: list[Cell] = []
    choices: list[Choice] = []
    for (workload, device, batch_size), rows in sorted(groups.items(), key=lambda item: _order(run, item[0])):
        usual = run.tables["baselines"][workload]
        baseline = next((row for row in rows if _is_baseline(row.case, usual, device)), None)
        if baseline is None:
            continue
        found = [_cell(row, baseline) for row in _fastest(rows, baseline)]
        cells += found
        first = next(cell for cell in found if cell.is_baseline)
        best = _best(found, run)
        choices.append(Choice(workload=workload, device=device, batch_size=batch_size, baseline=first, best=best))
    crossed = {
        workload: crossover(workload, run.measurements) for workload in dict.fromkeys(c.workload for c in choices)
    }
    return EnginesStudy(
        run=run,
        cells=tuple(cells),
        choices=tuple(choices),
        crossovers={workload: found for workload, found in crossed.items() if found is not None},
    )


def _order(run: Run, of: tuple[str, str, int]) -> tuple[int, bool, int]:
    return [*run.tables["baselines"]].index(of[0]), of[1] != CPU, of[2]


def _is_baseline(case: Case, usual: Mapping[str, object], device: str) -> bool:
    is_usual = case.engine == usual["engine"] and case.precision == "fp32"
    return is_usual and (device != CPU or case.n_threads == usual["threads"])


def _fastest(rows: list[Measurement], baseline: Measurement) -> list[Measurement]:
    """Return the baseline, and of each engine in each precision the row with the fastest number of threads."""
    found: dict[tuple[str, str, bool], Measurement] = {}
    for row in rows:
        key = (row.case.engine, row.case.precision, row is baseline)
        other = found.get(key)
        if other is None or (not unusable(row) and (unusable(other) or input_s(row) < input_s(other))):
            found[key] = row
    return list(found.values())


def _cell(row: Measurement, baseline: Measurement) -> Cell:
    summary = summarize(row)
    return Cell(
        measurement=row,
        gain=compare(baseline, row),
        throughput_per_s=summary.throughput_per_s,
        latency_s=summary.median_s,
        is_baseline=row is baseline,
    )


def _best(cells: list[Cell], run: Run) -> Cell | Refusal:
    """Return the simplest cell within the limits that the fastest does not beat by more than `WORTH`.

    The baseline is the simplest. Other cells follow in the order measured, fp32 and fewer threads first.
    """
    limit_s, least = run.params.get("max_latency_s"), float(run.params.get("min_agreement", 0.0))
    measured = [cell for cell in cells if not unusable(cell.measurement)]
    agreeing = [cell for cell in measured if cell.agreement is not None and cell.agreement >= least]
    allowed = [cell for cell in agreeing if limit_s is None or cell.latency_s.value <= limit_s]
    if allowed:
        ranked = sorted(allowed, key=lambda cell: not cell.is_baseline)
        fastest = min(ranked, key=lambda cell: input_s(cell.measurement))
        best = next(cell for cell in ranked if cell is fastest or _is_enough(cell, fastest))
        if best.is_baseline or is_worth_it(best.gain):
            return best
        return Refusal(reason=f"no verdict, {best.gain.reason or best.gain.verdict}")
    if agreeing:
        return Refusal(reason="no engine is within the limit on latency")
    return Refusal(reason="no engine agreed with the reference" if measured else "nothing was measured")


def _is_enough(cell: Cell, fastest: Cell) -> bool:
    """Return whether the fastest is shown not to be worth leaving a cell for."""
    lost = compare(cell.measurement, fastest.measurement)
    is_known = lost.verdict in (Verdict.FASTER, Verdict.INDISTINGUISHABLE, Verdict.SLOWER)
    return is_known and lost.value <= WORTH and not is_worth_it(lost)


def figures(said: EnginesStudy) -> dict[str, Figure]:
    """Return the entries of `summary.json`."""
    found: dict[str, Figure] = {}
    for cell in (cell for cell in said.cells if not unusable(cell.measurement)):
        if not cell.is_baseline:
            found[f"gain[{cell.key}]"] = entry(cell.gain, "×", str(cell.gain.verdict))
        name = f"{cell.key},default" if cell.is_baseline else cell.key
        found[f"throughput[{name}]"] = entry(cell.throughput_per_s, "inputs/s")
        found[f"latency_s[{name}]"] = entry(cell.latency_s, "s")
        if cell.agreement is not None:
            found[f"agreement[{name}]"] = Figure(value=cell.agreement, unit="of inputs")
        if (right := cell.accuracy) is not None:
            found[f"accuracy[{name}]"] = entry(right, "of inputs")
        if (share := said.gemm_share(cell)) is not None:
            found[f"gemm_share[{name}]"] = Figure(value=share, unit="of the GEMM peak")
        if cell.page_faults is not None:
            found[f"page_faults_per_call[{name}]"] = Figure(value=cell.page_faults, unit="page faults")
    for workload, crossed in said.crossovers.items():
        rows = crossed.batch_size
        found[f"crossover_rows[{workload}]"] = Figure(
            value=rows.value, low=rows.low, high=rows.high, unit="inputs per call",
            verdict=f"{crossed.before} before, {crossed.after} after",
        )  # fmt: skip
    return found
