"""What a `hardware_analysis` run says: the measured limits, and where the workloads stand against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from inferbench_lib.records import Figure, Flag, Measurement, Ratio, Run
from inferbench_lib.stats.comparison import compare
from inferbench_lib.stats.entries import entry
from inferbench_lib.stats.refusal import Refusal
from inferbench_lib.stats.scaling import AmdahlFit, UslFit, fit_amdahl, fit_usl
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.studies.hardware_analysis.roofline import RooflinePoint, place
from inferbench_lib.studies.hardware_analysis.standing import Standing, standing, standing_figures

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One network at one batch size under the roof."""

    workload: str
    batch_size: int
    seconds: float
    point: RooflinePoint


@dataclass(frozen=True, kw_only=True)
class HardwareStudy:
    """One run read. Rates are in GFLOP/s and GB/s as measured; `speedups` is by number of processes."""

    run: Run
    gemm: Sequence[Row]
    bandwidth: Sequence[Row]
    process_start: Sequence[Row]
    transfer: Sequence[Row]
    calls: Mapping[str, Row]
    flags: tuple[Flag, ...]
    peak: Row
    memory: Row
    placed: tuple[Placed, ...]
    speedups: Mapping[int, Ratio]
    amdahl: AmdahlFit | Refusal
    usl: UslFit | Refusal
    standing: Standing

    @property
    def usable_cpus(self) -> int:
        """CPUs that this process may use."""
        return self.run.machine.usable_cpus


def study(run: Run) -> HardwareStudy:
    """Everything that a `hardware_analysis` run says, from its raw samples."""
    limits = run.tables["limits"]
    peaks = [row for row in limits["gemm"] if row["dtype"] == "fp32"]
    peak = max(peaks, key=lambda row: row["limit"]["value"])
    memory = limits["memory"]
    scaling = {cell.case.n_processes: cell for cell in run.measurements if cell.case.executor == "shared_pool"}
    within = {n: cell for n, cell in scaling.items() if n <= run.machine.usable_cpus}
    throughputs = _throughputs(within)
    return HardwareStudy(
        run=run,
        gemm=limits["gemm"],
        bandwidth=limits["bandwidth"],
        process_start=limits["process_start"],
        transfer=limits["transfer"],
        calls=limits["calls"],
        flags=tuple(Flag(**flag) for flag in limits["flags"]),
        peak=peak,
        memory=memory,
        placed=_placed(run, peak["limit"]["value"] * 1e9, memory["limit"]["value"] * 1e9),
        speedups={n: compare(scaling[1], cell) for n, cell in sorted(scaling.items()) if 1 in scaling},
        amdahl=fit_amdahl(throughputs) if throughputs else Refusal(reason="no process count was measured"),
        usl=fit_usl(throughputs) if throughputs else Refusal(reason="no process count was measured"),
        standing=standing(run),
    )


def figures(said: HardwareStudy) -> dict[str, Figure]:
    """The entries of `summary.json`."""
    found = {"usable_cpus": Figure(value=said.usable_cpus, unit="CPUs", verdict=said.run.machine.usable_reason)}
    found["memory_gb_s"] = _limit(said.memory["limit"], said.memory["level"])
    for row in said.gemm:
        found[f"gemm_gflops[{row['dtype']},t{row['n_threads']}]"] = _limit(row["limit"], row["library"])
    for row in said.process_start:
        name = f"{row['method']},{row['imports']}" if row["imports"] else row["method"]
        found[f"process_start_s[{name}]"] = _limit(row["limit"], "")
    for cell in said.placed:
        share = Figure(value=cell.point.share, unit="of attainable", verdict=f"bound by {cell.point.bound}")
        found[f"roofline_share[{cell.workload},b{cell.batch_size}]"] = share
    for n, ratio in said.speedups.items():
        found[f"scaling_speedup[{n}]"] = entry(ratio, "×", ratio.verdict)
    if isinstance(said.amdahl, AmdahlFit):
        found["serial_fraction"] = entry(said.amdahl.serial_fraction, "of the work")
    else:
        found["serial_fraction"] = Figure(value=None, unit="of the work", verdict=f"withheld: {said.amdahl.reason}")
    return found | standing_figures(said.standing)


def _limit(limit: Row, verdict: str) -> Figure:
    return Figure(value=limit["value"], low=limit["low"], high=limit["high"], unit=limit["unit"], verdict=verdict)


def _placed(run: Run, peak_flops_per_s: float, bytes_per_s: float) -> tuple[Placed, ...]:
    """Every measured network under the roof; FLOPs and bytes are the sums over its layers."""
    found = []
    for cell in run.measurements:
        rows = run.tables["operations"].get(cell.case.workload.removeprefix("cnn-"))
        summary = summarize(cell)
        usual = cell.case.precision == "fp32" and cell.case.n_threads == run.machine.usable_cpus
        if rows is None or not usual or not summary.is_measured:
            continue
        batch_size = cell.case.batch_size
        seconds = summary.median_s.value
        point = place(
            flops=sum(row["flops_per_image"] for row in rows) * batch_size,
            bytes_moved=sum(row["bytes_fixed"] + row["bytes_per_image"] * batch_size for row in rows),
            seconds=seconds,
            peak_flops_per_s=peak_flops_per_s,
            bytes_per_s=bytes_per_s,
            overhead_s=len(rows) * run.tables["limits"]["calls"]["torch operator"]["value"],
        )
        found.append(Placed(workload=cell.case.workload, batch_size=batch_size, seconds=seconds, point=point))
    return tuple(found)


def _throughputs(cells: Mapping[int, Measurement]) -> dict[int, list[float]]:
    """Rows per second by round of the measured cells that took every round."""
    cells = {n: cell for n, cell in cells.items() if summarize(cell).is_measured}
    n_rounds = max((len(cell.round_sizes) for cell in cells.values()), default=0)
    return {
        n: [cell.inputs_per_call / median(samples) for samples in cell.rounds()]
        for n, cell in sorted(cells.items())
        if n_rounds and len(cell.round_sizes) == n_rounds
    }
