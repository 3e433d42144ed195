"""The page of `cpu_vs_gpu`: what the processor and the accelerator do with the same network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from inferbench_lib.records import Outcome, Verdict
from inferbench_lib.report import figures
from inferbench_lib.report.display import Answer, Card, Table, View
from inferbench_lib.report.words import compared, digits, gathered, joined, marked, ratio, seconds, size, times
from inferbench_lib.studies.cpu_vs_gpu.advice import advise
from inferbench_lib.studies.cpu_vs_gpu.devices import CPU, DeviceCell, DeviceStudy, study
from inferbench_lib.studies.cpu_vs_gpu.page_model import (
    PUBLISHED_CARD,
    REFERENCE,
    break_even_table,
    gpu_table,
    memory_by_batch,
    memory_table,
    modelled_gpus,
    published_sentences,
    spoken_band,
)

__all__ = [
    "VIEWS",
    "advise",
    "answer",
    "break_even_table",
    "gpu_table",
    "memory_by_batch",
    "memory_table",
    "modelled_gpus",
    "reference_table",
    "study",
    "table",
]


def answer(said: DeviceStudy) -> Answer:
    """Which device, by how much; or plainly that there was nothing to compare with."""
    cards = []
    for name in said.sizes():
        for device in (said.accelerator, CPU):  # the front page shows the first
            best = said.best(name, device) if device else None
            if best:
                rate = best.summary.throughput_per_s
                cards.append(
                    Card(
                        value=f"{digits(rate.value)} images/s",
                        label=f"{name} network on {device}, batch {best.batch_size}",
                        interval=f"{digits(rate.low)} to {digits(rate.high)}"
                        if rate.low and rate.high
                        else "no interval",
                    )
                )
    flags = gathered((flag for cell in said.cells for flag in cell.measurement.flags), len(said.cells))
    ended = [_ended(cell) for cell in said.cells if cell.summary.outcome is not Outcome.OK]
    return Answer(verdict=marked(said.run, _verdict(said)), cards=tuple(cards), flags=(*flags, *ended))


def _verdict(said: DeviceStudy) -> str:
    best = [(name, cell) for name in said.sizes() if (cell := said.best(name, CPU))]
    spoken = joined(
        f"{digits(cell.summary.throughput_per_s.value)} images/s with the {name} network (batch {cell.batch_size})"
        for name, cell in best
    )
    if said.accelerator is None:
        reason = said.reason.removeprefix("no accelerator: ")
        return f"The GPU was not measured: {reason}. The processor reaches {spoken or 'nothing that was measured'}."
    clauses = []
    for name in said.sizes():
        found = said.speedup(name)
        if found is None or found.verdict is Verdict.INVALID:
            clauses.append(f"{name}: no comparison ({found.reason if found else 'not measured'})")
        else:
            clauses.append(f"{name}: {compared(found, said.accelerator, 'the processor')}")
    return f"{'; '.join(clauses)}. The processor reaches {spoken or 'nothing that was measured'}."


def _ended(cell: DeviceCell) -> str:
    return (
        f"{cell.size} network on {cell.device}, batch {cell.batch_size}: {cell.summary.outcome} ({cell.summary.reason})"
    )


def inference_comparison(said: DeviceStudy) -> View:
    """How fast is each network, call by call and batch by batch?"""
    measured = [cell for cell in said.cells if cell.summary.is_measured]
    rows: list[dict[str, Any]] = []
    for cell in measured:
        label = cell.size if said.accelerator is None else f"{cell.size}, {cell.device}"
        first = _measured(said, cell.size, cell.device)[0].summary.throughput_per_s
        rate, centre = cell.summary.throughput_per_s, cell.summary.median_s
        at = {"label": label, "size": cell.size, "device": cell.device, "x": cell.batch_size}
        rows.append({**at, "panel": "rate", "y": rate.value, "low": rate.low, "high": rate.high})
        rows.append({**at, "panel": "latency", "y": centre.value, "low": centre.low, "high": centre.high})
        if said.accelerator is None:
            rows.append({**at, "panel": "speedup", "y": rate.value / first.value, "low": None, "high": None})
        elif (cell.size, cell.batch_size) in said.speedups and cell.device != CPU:
            found = said.speedups[cell.size, cell.batch_size]
            if found.verdict is not Verdict.INVALID:
                rows.append({**at, "panel": "speedup", "y": found.value, "low": found.low, "high": found.high})
        if said.best(cell.size, cell.device) is cell:
            rows.append({**at, "panel": "best", "y": rate.value, "low": rate.low, "high": rate.high})
            rows += [
                {**at, "panel": "box", "y": 1e3 * s / cell.measurement.inputs_per_call}
                for s in cell.measurement.samples_s
            ]
    columns = ["label", "size", "device", "panel", "x", "y", "low", "high"]
    frame = pd.DataFrame(rows, columns=columns).astype({"low": float, "high": float})
    frame.attrs = {
        "speedup": "throughput over that of the smallest batch (×)"
        if said.accelerator is None
        else "speedup over the processor (×)"
    }
    reading = " ".join(
        _growth(said, name, device) for name, device in dict.fromkeys((c.size, c.device) for c in measured)
    )
    reading = reading or "No network was measured."
    return View(
        name="inference_comparison",
        frame=frame,
        draw=_four_panels,
        alt=f"Four panels: time of an image, throughput at the best batch and by batch size, speedup. {reading}",
        reading=reading,
        size_inches=(10.4, 7.4),
        grid=(2, 2),
        mark=said.run.mark,
    )


def _four_panels(frame: pd.DataFrame, axes: Sequence[Any]) -> None:
    box, best, rate, speedup = (frame[frame["panel"] == panel].copy() for panel in ("box", "best", "rate", "speedup"))
    boxed = box.rename(columns={"y": "value"}).assign(label=box["label"].str.replace(", ", "\n"))
    boxed.attrs = {"y": "milliseconds per image", "title": "Inference time at the best batch, every call"}
    figures.boxes(boxed, axes[:1])
    barred = best.rename(columns={"y": "value", "device": "group"}).assign(label=best["size"])
    barred.attrs = {"y": "images per second", "title": "Throughput at the best batch", "say": digits}
    figures.bars(barred, axes[1:2])
    rate.attrs = {"x": "batch size", "y": "images per second", "title": "Throughput by batch size"}
    figures.lines(rate, axes[2:3])
    speedup.attrs = {"x": "batch size", "y": frame.attrs["speedup"], "title": "Speedup by batch size"}
    figures.lines(speedup, axes[3:4], log_y=False)


def _growth(said: DeviceStudy, name: str, device: str) -> str:
    cells = _measured(said, name, device)
    first, best = cells[0], max(cells, key=lambda cell: cell.summary.throughput_per_s.value)
    gain = best.summary.throughput_per_s.value / first.summary.throughput_per_s.value
    return (
        f"The {name} network on {device}: {seconds(first.summary.median_s.value)} for a batch of {first.batch_size}, "
        f"best at batch {best.batch_size} with {digits(best.summary.throughput_per_s.value)} images/s, "
        f"{times(gain)} the throughput of batch {first.batch_size}."
    )


def _measured(said: DeviceStudy, name: str, device: str) -> list[DeviceCell]:
    return [cell for cell in said.of(name, device) if cell.summary.is_measured]


VIEWS = (inference_comparison, modelled_gpus, memory_by_batch)


def table(said: DeviceStudy) -> Table:
    """Every cell as a row, with what only an accelerator has where there is one."""
    return Table(frame=pd.DataFrame([_row(said, cell) for cell in said.cells]), reading=_protocol(said))


def _row(said: DeviceStudy, cell: DeviceCell) -> dict[str, str]:
    measured, summary = cell.measurement, cell.summary
    ok = summary.is_measured
    row = {
        "network": cell.size,
        "device": cell.device,
        "batch": str(cell.batch_size),
        "first call": seconds(measured.cold_s) if measured.cold_s is not None else "–",
        "median": seconds(summary.median_s.value) if ok else "–",
        "mean ± sd": f"{seconds(summary.mean_s)} ± {seconds(summary.std_s)}" if ok and summary.n_samples > 1 else "–",
        "images/s": digits(summary.throughput_per_s.value) if ok else "–",
        "verified": measured.verification.word if measured.verification else "–",
        "outcome": str(summary.outcome),
    }
    if said.accelerator:
        peak = measured.figures.get("peak_allocated_bytes")
        row["peak memory"] = size(peak) if peak else "–"
        row["end to end"] = "–" if cell.end_to_end_s is None else seconds(cell.end_to_end_s)
        found = said.speedups.get((cell.size, cell.batch_size))
        row["speedup"] = ratio(found) if found and cell.device != CPU and found.verdict is not Verdict.INVALID else "–"
    return row


def _protocol(said: DeviceStudy) -> str:
    counts = joined(
        f"{max((c.summary.n_samples for c in said.of(name, CPU)), default=0)} for the {name} network"
        for name in said.sizes()
    )
    return f"Measured iterations of each cell: {counts}, after the warm-up; the first call is a figure of its own."


def reference_table(said: DeviceStudy) -> Table:
    """The published figures of a GTX 750 Ti beside what was measured here."""
    rows = []
    for name in said.sizes():
        best, published = said.best(name, CPU), REFERENCE[name]
        found = said.speedup(name)
        on_device = said.best(name, said.accelerator) if said.accelerator else None
        rows.append(
            {
                "network": f"{name} ({said.parameters[name]:,} parameters)",
                "CPU here (images/s)": digits(best.summary.throughput_per_s.value) if best else "–",
                "CPU published": published[0],
                "GPU here (images/s)": digits(on_device.summary.throughput_per_s.value)
                if on_device
                else "not measured",
                f"{PUBLISHED_CARD} published": published[1],
                f"{PUBLISHED_CARD} MODEL": spoken_band(said, name),
                "speedup here": ratio(found) if found and found.verdict is not Verdict.INVALID else "not measured",
                "speedup published": published[2],
                "memory published": published[3],
            }
        )
    return Table(
        frame=pd.DataFrame(rows),
        reading="The published figures are of another machine and another processor. "
        + " ".join(published_sentences(said)),
    )


PICTURE = inference_comparison
HEADLINES = {
    "best_throughput[small,cpu]": "small network on the CPU",
    "speedup[small]": "small network, GPU over CPU",
}
KEY_FIGURES = {
    r"best_throughput\[(\w+),(.+)\]": r"\1 network on \2",
    r"speedup\[(\w+)\]": r"\1 network, GPU over CPU",
}
