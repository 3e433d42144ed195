"""GPUs that are not here: modelled throughput and memory, each marked as MODEL."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from inferbench_lib.findings import Verdict
from inferbench_lib.records import CPU
from inferbench_lib.report import figures
from inferbench_lib.report.display import Table, View
from inferbench_lib.report.words import digits, interval, ratio, share, size, times
from inferbench_lib.studies.cpu_vs_gpu.model import (
    ALLOWANCE_BYTES,
    ALLOWANCE_SHARE,
    CARDS_BYTES,
    GPUS,
    Network,
    Prediction,
)
from inferbench_lib.studies.cpu_vs_gpu.study import DeviceStudy, checks, predictions

PUBLISHED_CARD = "GTX 750 Ti"


class Published(NamedTuple):
    """Published figures of one network: images/s on a CPU and a GPU, the speedup, the memory."""

    cpu: str = "–"
    gpu: str = "–"
    speedup: str = "–"
    memory: str = "–"


PUBLISHED = {
    "small": Published("20–30", "100–150", "4–6×", "about 80 MB"),
    "medium": Published("3–5", "20–30", "5–8×", "about 500 MB"),
    "large": Published("1–2", "8–12", "6–10×", "about 1.5 GB"),
}
"""For an NVIDIA GTX 750 Ti."""


def modelled_gpus(said: DeviceStudy) -> View:
    """Draw the modelled throughput of named GPUs beside this CPU's measured one."""
    if not said.modelled:
        nothing = "No network with known operators was measured, so nothing is modelled."
        return View(name="modelled_gpus", frame=pd.DataFrame(), draw=figures.ranges, alt=nothing, reading=nothing)
    batch_size, network = said.largest_batch, said.modelled[0]
    found = [band for (_, name), band in predictions(said).items() if name == network.name]
    rows = [{"label": f"{p.device}{_fits(p)}", "low": p.low_per_s, "high": p.high_per_s} for p in found]
    frame = pd.DataFrame(rows).sort_values("high")
    best = said.best(network.name, CPU)
    frame.attrs = {
        "x": f"images per second, {network.name} network, batch {batch_size} (MODEL, not measured)",
        "here": (best.rate, "this CPU, measured") if best else None,
    }
    least, most = found[0], max(found, key=lambda p: p.high_per_s)
    reading = (
        f"MODEL, not measured: a {least.device} would reach {_band(least)} images/s with the {network.name} network at "
        f"batch {batch_size}, transfers included, and {most.device} {_band(most)}. {_model_error(said)}"
    )
    return View(name="modelled_gpus", frame=frame, draw=figures.ranges, alt="Bands of modelled throughput (MODEL).",
                reading=reading, size_inches=(7.4, 4.2))  # fmt: skip


def _band(found: Prediction) -> str:
    return interval(found.low_per_s, found.high_per_s)


def _fits(found: Prediction) -> str:
    return "" if found.fits else " (does not fit)"


def _model_error(said: DeviceStudy) -> str:
    found = [(cell, band.factor_outside(cell.summary.median_s.value)) for cell, band in checks(said)]
    if not found:
        return "The model could not be checked on this CPU."
    inside = sum(factor == 1 for _, factor in found)
    cell, factor = max(found, key=lambda one: max(one[1], 1 / one[1]))
    outside = f"; the worst is the {cell.name} network at batch {cell.batch_size}, off by {times(factor)}"
    return (
        f"Checked on this CPU, with its measured peak and bandwidth, the band holds {inside} of {len(found)} measured "
        f"times{'' if inside == len(found) else outside}."
    )


def gpu_table(said: DeviceStudy) -> Table:
    """Return the datasheet figures of each GPU, with their sources below, and the model's throughput."""
    bands = predictions(said)
    rows = [
        {
            "GPU": gpu.name,
            "fp32 TFLOP/s": digits(gpu.fp32_flops_per_s / 1e12),
            "memory GB/s": digits(gpu.memory_bytes_per_s / 1e9),
            "memory GiB": digits(gpu.memory_bytes / 2**30),
            "PCIe GB/s": digits(gpu.pcie_bytes_per_s / 1e9),
            **{
                f"{network.name}, images/s (MODEL)": f"{_band(band)}{_fits(band)}"
                for network in said.modelled
                if (band := bands[gpu.name, network.name])
            },
        }
        for gpu in GPUS.values()
    ]
    reading = f"MODEL at batch {said.largest_batch}, fp32 without tensor cores, transfers of the images included."
    sources = "; ".join(f"{gpu.name}: {gpu.source}" for gpu in GPUS.values())
    return Table(frame=pd.DataFrame(rows), reading=f"{reading} Sources: {sources}.")


def memory_table(said: DeviceStudy) -> Table:
    """Return the memory of each network, and the largest batch that cards of 2 to 24 GB would hold."""
    rows = [
        {
            "network": network.name,
            "weights": size(network.weight_bytes),
            "activations per image": size(network.image_bytes),
            "at batch 16": size(network.counted_bytes(16)),
            "with the allowance": size(network.card_bytes(16)),
            f"published, {PUBLISHED_CARD}": PUBLISHED.get(network.name, Published()).memory,
            **{f"largest batch in {card}": f"{network.largest_batch(room):,}" for card, room in CARDS_BYTES.items()},
        }
        for network in said.modelled
    ]
    reading = (
        "MODEL: weights and activations are counted from the layers' tensors; not measured on any card. "
        f"The allowance is {size(ALLOWANCE_BYTES)} for driver and libraries, plus {share(ALLOWANCE_SHARE)} for the "
        "allocator."
    )
    return Table(frame=pd.DataFrame(rows), reading=reading)


def reference_table(said: DeviceStudy) -> Table:
    """Return the published figures of a GTX 750 Ti beside those measured here."""
    rows, sentences = [], ["The published figures come from another CPU and GPU."]
    bands = predictions(said)
    for network in said.modelled:
        name, published = network.name, PUBLISHED.get(network.name, Published())
        card = bands[PUBLISHED_CARD, name]
        best, on_device, found = said.best(name, CPU), said.best(name, said.accelerator), said.speedup(name)
        if name in PUBLISHED:
            sentences.append(_published_sentence(network, card, published.gpu))
        rows.append(
            {
                "network": f"{name} ({network.n_parameters:,} parameters)",
                "CPU here (images/s)": digits(best.rate) if best else "–",
                "CPU published": published.cpu,
                "GPU here (images/s)": digits(on_device.rate) if on_device else "not measured",
                f"{PUBLISHED_CARD} published": published.gpu,
                f"{PUBLISHED_CARD} MODEL": _band(card),
                "speedup here": ratio(found) if found and found.verdict is not Verdict.INVALID else "not measured",
                "speedup published": published.speedup,
                "memory published": published.memory,
            }
        )
    return Table(frame=pd.DataFrame(rows), reading=" ".join(sentences))


def _published_sentence(network: Network, card: Prediction, published: str) -> str:
    """Return whether the card's modelled band holds the published images/s, else by how much not."""
    low, high = (float(end) for end in published.split("–"))
    text = f"MODEL, {network.name}: {_band(card)} images/s; the published {published} are"
    if card.low_per_s <= low and high <= card.high_per_s:
        return f"{text} inside."
    below, above = card.low_per_s / high, low / card.high_per_s
    way = (
        f"below it by {times(below)}"
        if below > 1
        else f"above it by {times(above)}"
        if above > 1
        else "partly outside it"
    )
    used, most = share(network.flops_per_image * high / GPUS[PUBLISHED_CARD].fp32_flops_per_s), published.split("–")[1]
    return (
        f"{text} {way}. {most} images/s use {used} of that card's fp32 peak, so most of the published time was "
        "not arithmetic, but something this model leaves out."
    )
