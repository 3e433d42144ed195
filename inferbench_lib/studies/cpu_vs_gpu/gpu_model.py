"""MODEL: what a GPU that is not there would need and bring: memory by batch, and when its transfers pay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ALLOWANCE_BYTES = 500_000_000
"""For the driver's context, the libraries and their workspaces: some hundred MB on every card, of which the allocator
knows nothing. An allowance, not a figure of a datasheet."""
ALLOWANCE_SHARE = 0.1
"""For what the allocator rounds up and keeps."""
CARDS_BYTES = {"2 GB": 2e9, "4 GB": 4e9, "8 GB": 8e9, "24 GB": 24e9}
IMAGE_BYTES = 4 * 3 * 64 * 64


@dataclass(frozen=True, kw_only=True)
class MemoryNeed:
    """Bytes of one network's inference as fixed + per image · batch, counted from the layers' tensors.

    Weights stay; of the activations a layer's input and output live at once beside the batch itself, and the largest
    pair counts. `with_allowance` adds what no counter sees.
    """

    size: str
    weight_bytes: float
    image_bytes: float

    def counted(self, batch_size: int) -> float:
        """Bytes of weights and activations."""
        return self.weight_bytes + self.image_bytes * batch_size

    def with_allowance(self, batch_size: int) -> float:
        """Bytes on the card."""
        return ALLOWANCE_BYTES + (1 + ALLOWANCE_SHARE) * self.counted(batch_size)

    def largest_batch(self, card_bytes: float) -> int:
        """The most images that a card of this memory holds; 0 where not even one fits."""
        free = (card_bytes - ALLOWANCE_BYTES) / (1 + ALLOWANCE_SHARE) - self.weight_bytes
        return max(0, math.floor(free / self.image_bytes))


def memory_need(size: str, n_parameters: int, operations: Sequence[Mapping[str, Any]]) -> MemoryNeed:
    """From float32 weights and each layer's input and output bytes of an image."""
    pair = max(row["bytes_per_image"] for row in operations)
    return MemoryNeed(size=size, weight_bytes=4.0 * n_parameters, image_bytes=pair + IMAGE_BYTES)


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """From where a GPU is faster than this processor, transfers included: the batch, and the images of a whole job.

    `early` by the model's optimistic end, `late` by its pessimistic one; None where it never is. A job first carries
    the weights over, and so pays from `images` on, which are `n_bytes` of data.
    """

    device: str
    size: str
    early_batch: int | None
    late_batch: int | None
    late_images: int | None
    late_bytes: float | None


def break_even(
    device: str,
    size: str,
    *,
    here_s: Mapping[int, float],
    there_s: Mapping[int, tuple[float, float]],
    weights_s: float,
) -> BreakEven:
    """`here_s`: measured seconds by batch; `there_s`: modelled (low, high) by batch; `weights_s`: their transfer.

    The job's images are counted at the largest batch and the pessimistic ends.
    """
    early = min((batch for batch, s in here_s.items() if there_s[batch][0] < s), default=None)
    late = min((batch for batch, s in here_s.items() if there_s[batch][1] < s), default=None)
    most = max(here_s, default=0)
    saved_s = (here_s[most] - there_s[most][1]) / most if most else 0.0
    images = math.ceil(weights_s / saved_s) if saved_s > 0 else None
    return BreakEven(
        device=device,
        size=size,
        early_batch=early,
        late_batch=late,
        late_images=images,
        late_bytes=None if images is None else float(images * IMAGE_BYTES),
    )
