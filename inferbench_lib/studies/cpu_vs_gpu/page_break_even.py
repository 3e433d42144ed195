"""From which batch, and from how many images, a GPU that is not here would be faster than this CPU: a MODEL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from inferbench_lib.report.display import Table
from inferbench_lib.report.words import plural, size
from inferbench_lib.studies.cpu_vs_gpu.model import IMAGE_BYTES, BreakEven
from inferbench_lib.studies.cpu_vs_gpu.study import DeviceStudy, break_evens

NOTHING = "MODEL: no network was measured on this CPU, so there is no break-even."


def break_even_table(said: DeviceStudy) -> Table:
    """Return from which batch size, and from how much data, each GPU would be faster than this CPU.

    The batch sizes that most pairs of GPU and network share are a sentence; a row is a pair with others.
    """
    found = break_evens(said)
    if not found:
        return Table(frame=pd.DataFrame(), reading=NOTHING)
    (shared, n_sharing), *_ = Counter(map(_batches, found)).most_common()
    rows = [
        {
            "GPU": one.device,
            "network": one.network,
            "break-even batch, optimistic": _or_never(one.early_batch),
            "pessimistic": _or_never(one.late_batch),
            "images until copying the weights pays off": _or_never(one.late_images),
            "data": "–" if one.late_images is None else size(one.late_images * IMAGE_BYTES),
        }
        for one in found
        if _batches(one) != shared
    ]
    pairs = f"all {len(found)}" if n_sharing == len(found) else f"{n_sharing} of {len(found)}"
    reading = (
        f"MODEL: transfers included, {pairs} pairs of GPU and network {_would(*shared)}.{_paid(found)} "
        "Starting the driver and the program is not counted."
    )
    return Table(frame=pd.DataFrame(rows), reading=reading)


def _batches(one: BreakEven) -> tuple[int | None, int | None]:
    return one.early_batch, one.late_batch


def _or_never(value: int | None) -> str:
    return "never" if value is None else f"{value:,}"


def _would(early: int | None, late: int | None) -> str:
    """Return from which batch on pairs would be faster, by the optimistic and the pessimistic end, in words."""
    if early is None:
        return "would not be faster than this CPU at any measured batch"
    if late == early:
        return f"would be faster than this CPU from batch {early:,} on, at the pessimistic end too"
    end = "never" if late is None else f"from batch {late:,} on"
    return f"would be faster than this CPU from batch {early:,} on, at the pessimistic end {end}"


def _paid(found: Sequence[BreakEven]) -> str:
    """Return after how many images the weights are paid for, at the pessimistic end; empty where they never are."""
    images = sorted({one.late_images for one in found if one.late_images is not None})
    if not images:
        return ""
    ends = f"{images[0]:,}–" if len(images) > 1 else ""
    return f" Copying the weights to the GPU pays off after {ends}{plural(images[-1], 'image')}."
