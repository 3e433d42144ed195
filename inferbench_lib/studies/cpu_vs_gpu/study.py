"""Read a `cpu_vs_gpu` run: the networks on the CPU and the accelerator, and the model of GPUs that are not here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from inferbench_lib.findings import Ratio, Verdict
from inferbench_lib.records import CPU, LARGEST_BATCH, Case, Figure, Run
from inferbench_lib.stats.comparison import WORTH, compare, simplest
from inferbench_lib.stats.entries import entry, labels
from inferbench_lib.stats.processes import scatter
from inferbench_lib.studies.cpu_vs_gpu.cells import DeviceCell, device_cell, end_to_end, short
from inferbench_lib.studies.cpu_vs_gpu.model import (
    CARDS_BYTES,
    GPUS,
    BreakEven,
    Gpu,
    Network,
    Prediction,
    break_even,
    predict,
)


class Absence(StrEnum):
    """Why there is no accelerator in a run."""

    NOT_ASKED = "not asked for"
    NOT_FOUND = "not found"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, kw_only=True)
class DeviceStudy:
    """The findings of one run, by the accelerator's case.

    `speedups` are end to end on the accelerator, transfers included, over the CPU's wall time; `device_speedups` take
    the accelerator's device time instead. `reason` says why there is no accelerator.
    """

    run: Run
    cells: tuple[DeviceCell, ...]
    speedups: Mapping[Case, Ratio]
    device_speedups: Mapping[Case, Ratio]
    networks: Mapping[str, Network]
    reason: str

    @property
    def accelerator(self) -> str | None:
        """Return the accelerator that was measured, None without one."""
        return next((cell.device for cell in self.cells if cell.device != CPU), None)

    @property
    def absence(self) -> Absence | None:
        """Return why no accelerator was measured, None where one was."""
        if self.accelerator is not None:
            return None
        asked = self.run.params.get("device", "auto")
        if asked == CPU:
            return Absence.NOT_ASKED
        is_found = self.run.machine.accelerators or asked != "auto"
        return Absence.NOT_MEASURED if is_found else Absence.NOT_FOUND

    @property
    def names(self) -> list[str]:
        """Return the networks in the order measured."""
        return list(dict.fromkeys(cell.name for cell in self.cells))

    def measured(self, name: str, device: str | None) -> list[DeviceCell]:
        """Return the cells of one network on one device whose times may be shown, by batch size."""
        of = [cell for cell in self.cells if (cell.name, cell.device) == (name, device) and cell.rate > 0]
        return sorted(of, key=lambda cell: cell.batch_size)

    def best(self, name: str, device: str | None) -> DeviceCell | None:
        """Return the cell with the highest throughput, None where none was measured."""
        return max(self.measured(name, device), key=lambda cell: cell.rate, default=None)

    def speedup(self, name: str) -> Ratio | None:
        """Return the accelerator's speedup end to end at its best batch size, None without an accelerator."""
        best = self.best(name, self.accelerator)
        return self.speedups.get(best.case) if best else None

    def device_speedup(self, name: str) -> Ratio | None:
        """Return the same by device time alone."""
        best = self.best(name, self.accelerator)
        return self.device_speedups.get(best.case) if best else None

    @property
    def is_worth_moving(self) -> dict[str, bool]:
        """Return whether each network is worth moving to the accelerator, of those with a verdict."""
        found = {name: ratio for name in self.names if (ratio := self.speedup(name)) is not None}
        decided = (Verdict.FASTER, Verdict.SLOWER, Verdict.INDISTINGUISHABLE)
        return {
            name: ratio.low is not None and ratio.low > WORTH
            for name, ratio in found.items()
            if ratio.verdict in decided
        }

    def on_cpu_alone(self, name: str) -> tuple[DeviceCell, Ratio | None] | None:
        """Return a network's smallest batch on the CPU that is statistically tied with the fastest.

        Beside it stands its gain over the smallest batch that was measured; None where it is that batch. There is
        nothing to choose where fewer than two batch sizes were measured, or the gain has no verdict: None.
        """
        cells = {cell.batch_size: cell for cell in self.measured(name, CPU)}
        if len(cells) < 2:
            return None
        chosen = simplest([cell.measurement for cell in cells.values()], most=WORTH)
        first = next(iter(cells.values())).measurement
        gain = None if chosen is first else compare(first, chosen)
        return None if gain and gain.verdict is not Verdict.FASTER else (cells[chosen.case.batch_size], gain)

    @property
    def modelled(self) -> list[Network]:
        """Return the networks that were run and whose operators are known, each once whatever its engines."""
        ran = {short(cell.case.workload) for cell in self.cells}
        return [network for name, network in self.networks.items() if name in ran]

    @property
    def largest_batch(self) -> int:
        """Return the largest batch size of this run, at which the model is shown."""
        return max((cell.batch_size for cell in self.cells), default=1)

    def on_cpu(self, network: Network) -> list[DeviceCell]:
        """Return the measured cells of a modelled network on the CPU, by any engine."""
        on_cpu = [cell for cell in self.cells if cell.device == CPU and cell.summary.is_measured]
        return [cell for cell in on_cpu if short(cell.case.workload) == network.name]


def study(run: Run) -> DeviceStudy:
    """Return everything that a `cpu_vs_gpu` run says, from its raw samples."""
    cells = {cell.case: cell for cell in run.measurements}
    names = labels(cells, "workload", apart_from=("device", "batch_size"))
    on_cpu = {case: replace(case, device=CPU) for case in cells if case.device != CPU}
    pairs = {case: (cells[base], cells[case]) for case, base in on_cpu.items() if base in cells}
    return DeviceStudy(
        run=run,
        cells=tuple(device_cell(short(names[case].key), cell) for case, cell in cells.items()),
        speedups={case: compare(base, end_to_end(cell)) for case, (base, cell) in pairs.items()},
        device_speedups={case: compare(base, cell) for case, (base, cell) in pairs.items()},
        networks={
            short(name): Network(name=short(name), operators=operators)
            for name, operators in run.tables["operations"].items()
        },
        reason=str(run.tables["accelerator_reason"]).removeprefix("no accelerator: "),
    )


def predictions(said: DeviceStudy) -> dict[tuple[str, str], Prediction]:
    """Return the modelled times at the largest batch size, by name of the GPU and of the network."""
    return {
        (name, network.name): predict(network, said.largest_batch, gpu)
        for network in said.modelled
        for name, gpu in GPUS.items()
    }


def checks(said: DeviceStudy) -> list[tuple[DeviceCell, Prediction]]:
    """Return the same model of this CPU, from its measured peak and bandwidth, beside each measured cell."""
    limits = said.run.tables["cpu_limits"]
    here = Gpu(
        name="this CPU",
        fp32_flops_per_s=float(limits["peak_flops_per_s"]),
        memory_bytes_per_s=float(limits["bytes_per_s"]),
        memory_bytes=int(said.run.machine.memory_bytes or 0),
        pcie_bytes_per_s=float("inf"),
        source="measured",
    )
    return [
        (cell, predict(network, cell.batch_size, here)) for network in said.modelled for cell in said.on_cpu(network)
    ]


def break_evens(said: DeviceStudy) -> list[BreakEven]:
    """Return when each named GPU would pay off, for each network measured on this CPU."""
    found = []
    for network in said.modelled:
        # Of several engines the fastest counts.
        slowest_first = sorted(said.on_cpu(network), key=lambda cell: -cell.summary.median_s.value)
        here_s = {cell.batch_size: cell.summary.median_s.value for cell in slowest_first}
        for gpu in GPUS.values() if here_s else ():
            there = [predict(network, batch_size, gpu) for batch_size in here_s]
            found.append(break_even(gpu, network, here_s=here_s, there=there))
    return found


def figures(said: DeviceStudy) -> dict[str, Figure]:
    """Return the entries of `summary.json`."""
    found = {
        f"parameters[{name}]": Figure(value=network.n_parameters, unit="parameters")
        for name, network in said.networks.items()
    }
    for cell in said.cells:
        name, of, known = f"{cell.name},{cell.device},b{cell.batch_size}", cell.summary, cell.summary.is_measured
        found[f"throughput[{name}]"] = entry(cell.throughput, "images/s", of.outcome, is_known=known and cell.rate > 0)
        found[f"latency_s[{name}]"] = entry(of.median_s, "s", of.outcome, is_known=known)
        if cell.device != CPU:
            whole = cell.end_to_end
            found[f"end_to_end_s[{name}]"] = entry(whole.median_s, "s", of.outcome, is_known=whole.is_measured)
        if (largest := cell.measurement.figures.get(LARGEST_BATCH)) is not None:
            found[f"largest_batch[{cell.name},{cell.device}]"] = Figure(value=largest, unit="images")
    for name, device in dict.fromkeys((cell.name, cell.device) for cell in said.cells):
        if best := said.best(name, device):
            found[f"best_throughput[{name},{device}]"] = entry(best.throughput, "images/s", f"batch {best.batch_size}")
    for name in said.names:
        ratio = said.speedup(name)
        found[f"speedup[{name}]"] = (
            Figure(value=None, unit="×", verdict="not measured") if ratio is None else entry(ratio, "×", ratio.verdict)
        )
        if (alone := said.device_speedup(name)) is not None:
            found[f"device_speedup[{name}]"] = entry(alone, "×", alone.verdict)
    return found | _model_figures(said) | scatter(said.run.measurements)


def _model_figures(said: DeviceStudy) -> dict[str, Figure]:
    found = {
        f"model_throughput[{band.device},{band.network}]": Figure(
            value=(band.low_per_s * band.high_per_s) ** 0.5,
            low=band.low_per_s,
            high=band.high_per_s,
            unit="images/s",
            verdict=f"MODEL, batch {said.largest_batch}" + ("" if band.fits else ", does not fit its memory"),
        )
        for band in predictions(said).values()
    }
    for network in said.modelled:
        for card, card_bytes in CARDS_BYTES.items():
            batch = Figure(value=network.largest_batch(card_bytes), unit="images", verdict="MODEL")
            found[f"model_largest_batch[{network.name},{card.replace(' ', '').lower()}]"] = batch
    return found
