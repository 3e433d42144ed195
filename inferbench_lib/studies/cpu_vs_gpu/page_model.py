"""A GPU that is not there: modelled throughput, memory and break-even. Everything here is a MODEL and says so."""

from __future__ import annotations

import pandas as pd

from inferbench_lib.report import figures
from inferbench_lib.report.display import Table, View
from inferbench_lib.report.words import digits, joined, plural, share, size, times
from inferbench_lib.studies.cpu_vs_gpu.devices import CPU, DeviceStudy
from inferbench_lib.studies.cpu_vs_gpu.gpu_model import ALLOWANCE_BYTES, ALLOWANCE_SHARE, CARDS_BYTES
from inferbench_lib.studies.cpu_vs_gpu.gpus import GPUS
from inferbench_lib.studies.cpu_vs_gpu.predicted import (
    Prediction,
    break_evens,
    checks,
    memory_needs,
    predictions,
)

PUBLISHED_CARD = "GTX 750 Ti"
MEMORY_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
REFERENCE = {
    "small": ("20–30", "100–150", "4–6×", "about 80 MB"),
    "medium": ("3–5", "20–30", "5–8×", "about 500 MB"),
    "large": ("1–2", "8–12", "6–10×", "about 1.5 GB"),
}
"""Published for an NVIDIA GTX 750 Ti: CPU images/s, GPU images/s, speedup, memory."""


def largest_measured_batch(said: DeviceStudy) -> int:
    """The batch at which the model is shown: the largest of this run."""
    return max((cell.batch_size for cell in said.cells), default=16)


def _card(said: DeviceStudy, name: str) -> Prediction:
    found = predictions(said, largest_measured_batch(said))
    return next(p for p in found if (p.device, p.size) == (PUBLISHED_CARD, name))


def spoken_band(said: DeviceStudy, name: str) -> str:
    """The reference card's modelled images per second."""
    card = _card(said, name)
    return f"{digits(card.low_per_s)}–{digits(card.high_per_s)}"


def modelled_gpus(said: DeviceStudy) -> View:
    """What would named GPUs do? A model, not a measurement."""
    batch_size, name = largest_measured_batch(said), said.sizes()[0]
    found = [p for p in predictions(said, batch_size) if p.size == name]
    frame = pd.DataFrame(
        {
            "label": p.device if p.fits else f"{p.device} (does not fit)",
            "low": p.low_per_s,
            "high": p.high_per_s,
        }
        for p in found
    ).sort_values("high")
    best = said.best(name, CPU)
    frame.attrs = {
        "x": f"images per second, {name} network, batch {batch_size} (MODEL, not measured)",
        "here": (best.summary.throughput_per_s.value, "this processor, measured") if best else None,
    }
    least, most = found[0], max(found, key=lambda p: p.high_per_s)
    reading = (
        f"MODEL, not measured: a {least.device} would do {digits(least.low_per_s)} to {digits(least.high_per_s)} "
        f"images/s with the {name} network at batch {batch_size}, transfers included, and {most.device} "
        f"{digits(most.low_per_s)} to {digits(most.high_per_s)}. {_model_error(said)}"
    )
    return View(name="modelled_gpus", frame=frame, draw=figures.ranges, alt=f"Bands of modelled throughput. {reading}",
                reading=reading, size_inches=(7.4, 4.2))  # fmt: skip


def published_sentences(said: DeviceStudy) -> list[str]:
    """For each network whether the band of the reference card holds the published rate, else by how much and why."""
    return [_against_published(said, _card(said, name)) for name in said.sizes()]


def _against_published(said: DeviceStudy, card: Prediction) -> str:
    published = REFERENCE[card.size][1]
    low, high = (float(end) for end in published.split("–"))
    band = f"MODEL, {card.size}: {digits(card.low_per_s)} to {digits(card.high_per_s)} images/s"
    if card.low_per_s <= low and high <= card.high_per_s:
        return f"{band}; the published {published} lie in that band."
    flops = sum(row["flops_per_image"] for row in said.run.tables["operations"][card.size])
    peak = GPUS[card.device].fp32_flops_per_s
    off = card.low_per_s / high if high < card.low_per_s else low / card.high_per_s
    way = "below" if high < card.low_per_s else "above" if low > card.high_per_s else "partly outside"
    return (
        f"{band}; the published {published} lie {way} it{f' by {times(off)}' if off > 1 else ''}: {digits(high)} "
        f"images/s of {digits(flops / 1e6)} MFLOP each are {share(flops * high / peak)} of that card's "
        f"{digits(peak / 1e9)} GFLOP/s, so that most of the published time was not arithmetic but something that this "
        "model leaves out."
    )


def _model_error(said: DeviceStudy) -> str:
    tried = checks(said)
    inside = [check for check in tried if check.is_inside]
    if not tried:
        return "The model could not be checked on this processor."
    worst = max(tried, key=lambda check: max(check.factor, 1 / check.factor))
    outside = (
        ""
        if len(inside) == len(tried)
        else (
            f"; the worst, the {worst.size} network at batch {worst.batch_size}, took {times(worst.factor)} "
            "the nearer end"
        )
    )
    return (
        f"The same model, given this processor's measured peak and bandwidth, holds {len(inside)} of {len(tried)} "
        f"measured times in its band{outside}."
    )


def gpu_table(said: DeviceStudy) -> Table:
    """What the model takes from the makers' documents, their sources below, and what it makes of them."""
    batch_size = largest_measured_batch(said)
    bands = {(p.device, p.size): p for p in predictions(said, batch_size)}
    rows = [
        {
            "GPU": gpu.name,
            "fp32 TFLOP/s": digits(gpu.fp32_flops_per_s / 1e12),
            "memory GB/s": digits(gpu.memory_bytes_per_s / 1e9),
            "memory GiB": digits(gpu.memory_bytes / 2**30),
            "PCIe GB/s": digits(gpu.pcie_bytes_per_s / 1e9),
            **{f"{name}, images/s (MODEL)": _band(bands[gpu.name, name]) for name in said.sizes()},
        }
        for gpu in GPUS.values()
    ]
    reading = f"MODEL at batch {batch_size}, fp32 without tensor cores, transfers of the images included."
    sources = "; ".join(f"{gpu.name}: {gpu.source}" for gpu in GPUS.values())
    return Table(frame=pd.DataFrame(rows), reading=f"{reading} Where the figures are from: {sources}.")


def _band(found: Prediction) -> str:
    return f"{digits(found.low_per_s)} to {digits(found.high_per_s)}" + ("" if found.fits else " (does not fit)")


def memory_by_batch(said: DeviceStudy) -> View:
    """How much memory would each network need on a card?"""
    needs = memory_needs(said)
    rows = [
        {"x": batch, "y": need.with_allowance(batch) / 1e9, "low": need.counted(batch) / 1e9,
         "high": need.with_allowance(batch) / 1e9, "label": need.size}
        for need in needs
        for batch in MEMORY_BATCHES
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["x", "y", "low", "high", "label"])
    frame.attrs = {
        "x": "batch size",
        "y": "GB on the card (MODEL; band: what is counted alone)",
        "limit": (2.0, f"2 GB, the memory of a {PUBLISHED_CARD}"),
    }
    spoken = joined(
        f"{need.size} {size(need.counted(16))} ({size(need.with_allowance(16))} with the allowance)" for need in needs
    )
    reading = (
        f"MODEL: weights and activations at batch 16, counted from the layers' tensors: {spoken}. The allowance is "
        f"{size(ALLOWANCE_BYTES)} for the driver's context, libraries and workspaces, and {share(ALLOWANCE_SHARE)} for "
        "what an allocator rounds up."
    )
    return View(name="modelled_memory", frame=frame, draw=figures.lines, alt=f"Modelled memory by batch. {reading}",
                reading=reading, size_inches=(7.4, 4.2))  # fmt: skip


def memory_table(said: DeviceStudy) -> Table:
    """The largest batch that cards of 2 to 24 GB would hold."""
    rows = [
        {
            "network": need.size,
            "weights": size(need.weight_bytes),
            "activations of an image": size(need.image_bytes),
            "at batch 16": size(need.counted(16)),
            "with the allowance": size(need.with_allowance(16)),
            "published, a GTX 750 Ti": REFERENCE[need.size][3],
            **{f"largest batch in {card}": f"{need.largest_batch(room):,}" for card, room in CARDS_BYTES.items()},
        }
        for need in memory_needs(said)
    ]
    return Table(
        frame=pd.DataFrame(rows),
        reading="MODEL: weights and activations are counted, the rest is the allowance; not measured on any card.",
    )


def break_even_table(said: DeviceStudy) -> Table:
    """From which batch, and from how much data, each GPU would be faster than this processor."""
    found = break_evens(said)
    rows = [
        {
            "GPU": one.device,
            "network": one.size,
            "break-even batch, at best": "never" if one.early_batch is None else str(one.early_batch),
            "at worst": "never" if one.late_batch is None else str(one.late_batch),
            "images until the weights' transfer is paid": "never"
            if one.late_images is None
            else f"{one.late_images:,}",
            "data": "–" if one.late_bytes is None else size(one.late_bytes),
        }
        for one in found
    ]
    return Table(frame=pd.DataFrame(rows), reading=_break_even_reading(said))


def _break_even_reading(said: DeviceStudy) -> str:
    found = break_evens(said)
    if not found:
        return "MODEL: without a measured processor there is nothing to break even with."
    batches = sorted({cell.batch_size for cell in said.of(found[0].size, CPU)})
    first = [one for one in found if one.late_batch == batches[0]]
    never = [one for one in found if one.late_batch is None]
    images = [one.late_images for one in found if one.late_images is not None]
    text = (
        f"MODEL: transfers included, {len(first)} of {len(found)} pairs of GPU and network would be faster than this "
        f"processor from batch {batches[0]} on, at the pessimistic end too"
    )
    if never:
        text += f"; {len(never)} would not be faster at any measured batch"
    if images:
        text += f". Carrying the weights over is paid after {min(images)} to {plural(max(images), 'image')}"
    return f"{text}. Starting the driver and the program is not counted."
