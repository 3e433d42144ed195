"""The page of `cpu_vs_gpu`: the same networks on the CPU and on the accelerator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from inferbench_lib.findings import Ratio, Verdict
from inferbench_lib.records import CPU, Outcome
from inferbench_lib.report import figures
from inferbench_lib.report.display import Answer, Card, Table, View
from inferbench_lib.report.words import (
    digits,
    gathered,
    interval,
    joined,
    marked,
    ratio,
    seconds,
    share,
    size,
)
from inferbench_lib.stats.entries import columns
from inferbench_lib.studies.cpu_vs_gpu.cells import DeviceCell, end_to_end
from inferbench_lib.studies.cpu_vs_gpu.page_advice import advise as advise
from inferbench_lib.studies.cpu_vs_gpu.page_advice import code_on_cpu, verdict
from inferbench_lib.studies.cpu_vs_gpu.page_break_even import break_even_table as break_even_table
from inferbench_lib.studies.cpu_vs_gpu.page_model import (
    gpu_table as gpu_table,
)
from inferbench_lib.studies.cpu_vs_gpu.page_model import (
    memory_table as memory_table,
)
from inferbench_lib.studies.cpu_vs_gpu.page_model import (
    modelled_gpus,
)
from inferbench_lib.studies.cpu_vs_gpu.page_model import (
    reference_table as reference_table,
)
from inferbench_lib.studies.cpu_vs_gpu.study import DeviceStudy
from inferbench_lib.studies.cpu_vs_gpu.study import study as study


def answer(said: DeviceStudy) -> Answer:
    """Return which device is faster and by how much, or why there was nothing to compare with."""
    cards = []
    for name in said.names:
        for device in (said.accelerator, CPU):  # the front page shows the first
            chosen = said.on_cpu_alone(name) if said.accelerator is None else None
            if device and (best := chosen[0] if chosen else said.best(name, device)):
                spread = interval(best.throughput.low, best.throughput.high)
                label = f"{name} network on {device}, batch {best.batch_size}"
                cards.append(Card(value=f"{digits(best.rate)} images/s", label=label, interval=spread))
    flags = gathered((flag for cell in said.cells for flag in cell.measurement.flags), len(said.cells))
    ended = [
        f"{cell.name} network on {cell.device}, batch {cell.batch_size}: {cell.summary.outcome} ({cell.summary.reason})"
        for cell in said.cells
        if cell.summary.outcome is not Outcome.OK
    ]
    advice = advise(said)
    return Answer(
        verdict=marked(said.run, verdict(said)),
        cards=tuple(cards),
        flags=(*flags, *ended),
        code=advice.code if advice else code_on_cpu(said),
    )


def _known_speedup(said: DeviceStudy, cell: DeviceCell) -> Ratio | None:
    found = said.speedups.get(cell.case)
    return found if found and found.verdict is not Verdict.INVALID else None


def inference_comparison(said: DeviceStudy) -> View:
    """Draw each network's time per image, best throughput, and throughput and speedup by batch size."""
    rows: list[dict[str, Any]] = []
    series = dict.fromkeys((cell.name, cell.device) for cell in said.cells if cell.rate > 0)
    for cell in (cell for of in series for cell in said.measured(*of)):
        label = cell.name if said.accelerator is None else f"{cell.name}, {cell.device}"
        at = {"label": label, "size": cell.name, "device": cell.device, "x": cell.batch_size}
        rate = columns(cell.throughput)
        rows.append({**at, "panel": "rate", **rate})
        if said.accelerator is None:
            first = said.measured(cell.name, cell.device)[0]
            rows.append({**at, "panel": "speedup", "value": cell.rate / first.rate})
        elif found := _known_speedup(said, cell):
            rows.append({**at, "panel": "speedup", **columns(found)})
        if said.best(cell.name, cell.device) is cell:
            rows.append({**at, "panel": "best", **rate})
            n_images = cell.measurement.inputs_per_call
            calls_s = end_to_end(cell.measurement).samples_s
            rows += [{**at, "panel": "box", "value": 1e3 * s / n_images} for s in calls_s]
    frame = pd.DataFrame(rows)
    is_alone = said.accelerator is None
    over = "throughput over that of the smallest batch" if is_alone else "speedup over the CPU, end to end"
    frame.attrs = {"speedup": f"{over} (×)"}
    return View(
        name="inference_comparison",
        frame=frame,
        draw=_four_panels,
        alt="Four panels: time per image, throughput at the best batch and by batch size, speedup.",
        reading=" ".join(_growth(said, *of) for of in series) or "No network was measured.",
        size_inches=(10.4, 7.4),
        grid=(2, 2),
        mark=said.run.mark,
    )


def _four_panels(frame: pd.DataFrame, axes: Sequence[Any]) -> None:
    box, best, rate, speedup = (frame[frame["panel"] == panel].copy() for panel in ("box", "best", "rate", "speedup"))
    boxed = box.assign(label=box["label"].str.replace(", ", "\n"))
    boxed.attrs = {"y": "milliseconds per image", "title": "Time at the best batch, every call with its transfers"}
    figures.boxes(boxed, axes[:1])
    barred = best.rename(columns={"device": "group"}).assign(label=best["size"])
    barred.attrs = {"y": "images per second", "title": "Throughput at the best batch", "say": digits}
    figures.bars(barred, axes[1:2])
    for panel, name, y, ax in ((rate, "Throughput", "images per second", axes[2]),
                               (speedup, "Speedup", frame.attrs["speedup"], axes[3])):  # fmt: skip
        lines = panel.rename(columns={"value": "y"})
        lines.attrs = {"x": "batch size", "y": y, "title": f"{name} by batch size"}
        figures.lines(lines, [ax], log_y=panel is rate)


def _growth(said: DeviceStudy, name: str, device: str) -> str:
    cells = said.measured(name, device)
    first, best = cells[0], max(cells, key=lambda cell: cell.rate)
    return (
        f"The {name} network on {device}: highest throughput at batch {best.batch_size}, {digits(best.rate)} images/s; "
        f"batch {first.batch_size} reaches {digits(first.rate)}."
    )


VIEWS = (inference_comparison, modelled_gpus)


def table(said: DeviceStudy) -> Table:
    """Return every cell as a row, with the accelerator's own figures where there is one."""
    counts = joined(
        f"{max((c.summary.n_samples for c in said.measured(name, CPU)), default=0)} for the {name} network"
        for name in said.names
    )
    reading = f"Measured iterations of each cell: {counts}, after the warm-up; the first call is a figure of its own."
    if said.accelerator:
        reading += (
            " On a GPU the median is device time. End to end is wall time with both copies, from pageable memory, and "
            "its speedup is over the CPU's wall time. Images/s are of calls that do not wait for each other. "
            "Launch-bound calls took longer to enqueue than to compute."
        )
    rows = [_row(cell) | (_device_row(said, cell) if said.accelerator else {}) for cell in said.cells]
    return Table(frame=pd.DataFrame(rows), reading=reading)


def _row(cell: DeviceCell) -> dict[str, str]:
    measured, summary, ok = cell.measurement, cell.summary, cell.summary.is_measured
    return {
        "network": cell.name,
        "device": cell.device,
        "batch": str(cell.batch_size),
        "first call": _or_dash(measured.cold_s, seconds),
        "median": seconds(summary.median_s.value) if ok else "–",
        "mean ± sd": f"{seconds(summary.mean_s)} ± {seconds(summary.std_s)}" if ok and summary.n_samples > 1 else "–",
        "images/s": digits(cell.rate) if ok and cell.rate > 0 else "–",
        "verified": measured.verification.word if measured.verification else "–",
        "outcome": str(summary.outcome),
    }


def _device_row(said: DeviceStudy, cell: DeviceCell) -> dict[str, str]:
    """Return the figures that only an accelerator has; copies from pageable and from pinned host memory."""
    seen, found, alone = cell.measurement.figures, _known_speedup(said, cell), said.device_speedups.get(cell.case)
    times_s = {
        "copy in, pageable": "host_to_device_s",
        "pinned": "host_to_device_pinned_s",
        "copy out, pageable": "device_to_host_s",
        "out, pinned": "device_to_host_pinned_s",
    }
    whole_s = cell.end_to_end.median_s.value if cell.device != CPU and cell.end_to_end.is_measured else None
    return {
        "end to end": _or_dash(whole_s, seconds),
        **{name: _or_dash(cell.typical(series), seconds) for name, series in times_s.items()},
        "launch-bound": _or_dash(seen.get("launch_bound_share"), share),
        "peak memory": _or_dash(seen.get("peak_allocated_bytes"), size),
        "reserved": _or_dash(seen.get("peak_reserved_bytes"), size),
        "speedup, end to end": ratio(found) if found else "–",
        "by device time": ratio(alone) if alone and alone.verdict is not Verdict.INVALID else "–",
    }


def _or_dash(value: float | None, say: Callable[[float], str]) -> str:
    return "–" if value is None else say(value)


PICTURE = inference_comparison
HEADLINES = {
    "best_throughput[small,cpu]": "small network on the CPU",
    "speedup[small]": "small network, GPU over CPU",
}
KEY_FIGURES = {
    r"best_throughput\[(\w+),(.+)\]": r"\1 network on \2",
    r"speedup\[(\w+)\]": r"\1 network, GPU over CPU",
}
