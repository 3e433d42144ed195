"""A convolutional network in three sizes, with seeded weights and images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inferbench_lib.records import Verification
from inferbench_lib.work.cache import cached
from inferbench_lib.work.outputs import close

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDE = 64
CLASSES = 10
WIDTH_AND_HIDDEN: Mapping[str, tuple[int, int]] = {"small": (64, 512), "medium": (128, 1472), "large": (256, 2960)}
"""Filters of the first convolution (doubled by each later one) and units of the hidden layer.

The small network is the reference one, 8,765,066 parameters; the others scale it to about 50 and 200 million.
"""
RELATIVE_TOLERANCE = 1e-3
"""Of the largest logit, against float64. Float32 stays below 1e-5; TF32 keeps 10 bits of mantissa (2^-11 = 5e-4)."""


@dataclass(frozen=True, kw_only=True)
class Cnn:
    """Three 3×3 convolutions with ReLU and 2×2 max pooling, two fully connected layers, dropout; 64×64 RGB in.

    Another `side` (a multiple of 8) keeps the layers; the first fully connected one grows with the image.
    """

    size: str = "small"
    seed: int = 0
    n_images: int = 32
    side: int = SIDE

    @property
    def name(self) -> str:
        """The workload's name in tables."""
        return f"cnn-{self.size}"

    def build(self) -> nn.Sequential:
        """The network in evaluation mode, float32, on the processor; the same weights for the same seed."""
        import torch
        from torch import nn

        width, hidden = WIDTH_AND_HIDDEN[self.size]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            layers: list[nn.Module] = []
            for n_in, n_out in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
                layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            flat = 4 * width * (self.side // 8) ** 2
            head = [nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, CLASSES)]
            return nn.Sequential(*layers, *head).eval()

    def images(self) -> Tensor:
        """`(n_images, 3, side, side)` float32 images; each has its own contrast, so that no two have like logits."""
        import torch

        generator = torch.Generator().manual_seed(self.seed)
        contrast = torch.linspace(0.5, 2.0, self.n_images).reshape(-1, 1, 1, 1)
        return torch.randn(self.n_images, 3, self.side, self.side, generator=generator) * contrast

    def reference(self) -> np.ndarray:
        """`(n_images, 10)` logits of `images()`, computed in float64 and kept."""
        key = asdict(self) | {"torch": version("torch")}
        logits: np.ndarray = np.load(cached(f"{self.name}-logits", ".npy", key, self._write_reference))
        return logits

    def agree(self, output: np.ndarray, reference: np.ndarray) -> Verification:
        """Logits must be close to the float64 ones."""
        return close(output, reference, RELATIVE_TOLERANCE)

    def _write_reference(self, path: Path) -> None:
        import torch

        model = self.build().double()
        with torch.inference_mode():
            logits = [model(image[None].double()) for image in self.images()]
        np.save(path, torch.cat(logits).numpy())


def named_layers(model: nn.Sequential) -> list[tuple[str, nn.Module]]:
    """The layers that move data, in order, named by kind and number; a flattening view and idle dropout do not."""
    kinds = {"Conv2d": "conv", "ReLU": "relu", "MaxPool2d": "pool", "Linear": "linear"}
    seen: Counter[str] = Counter()
    named = []
    for layer in model:
        if kind := kinds.get(type(layer).__name__):
            seen[kind] += 1
            named.append((f"{kind}{seen[kind]}", layer))
    return named


def layer_counts(model: nn.Sequential, images: Tensor) -> list[dict[str, Any]]:
    """What each layer does with these images: `name`, `flops`, `bytes`, `weight_bytes`, `output_bytes`, `shape`.

    FLOPs by torch's FlopCounterMode; bytes are the sizes of the tensors that the layer must touch once: its input, its
    weights, its output. Elementwise layers and pooling count no FLOPs there.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    names = {layer: name for name, layer in named_layers(model)}
    rows, batch = [], images
    with torch.inference_mode():
        for layer in model:
            with FlopCounterMode(display=False) as counter:
                output = layer(batch)
            if layer in names:
                weights = sum(tensor.nbytes for tensor in layer.parameters())
                rows.append(
                    {
                        "name": names[layer],
                        "flops": counter.get_total_flops(),
                        "bytes": batch.nbytes + weights + output.nbytes,
                        "weight_bytes": weights,
                        "output_bytes": output.nbytes,
                        "shape": tuple(output.shape[1:]),
                    }
                )
            batch = output
    return rows


def n_parameters(size: str) -> int:
    """The number of weights and biases, from the layers' shapes."""
    width, hidden = WIDTH_AND_HIDDEN[size]
    channels = (3, width, 2 * width, 4 * width)
    convolutions = sum(9 * n_in * n_out + n_out for n_in, n_out in pairwise(channels))
    flat = 4 * width * (SIDE // 8) ** 2
    return convolutions + flat * hidden + hidden + hidden * CLASSES + CLASSES


def operators(size: str) -> list[dict[str, Any]]:
    """Return FLOPs and bytes of each layer of one forward pass: `flops_per_image`, `bytes_fixed`, `bytes_per_image`.

    Bytes are the least traffic in float32: weights once per batch, inputs and outputs once per image.
    """
    import torch

    with torch.device("meta"):
        counts = layer_counts(Cnn(size=size).build(), torch.empty(1, 3, SIDE, SIDE))
    return [
        {
            "name": row["name"],
            "flops_per_image": row["flops"],
            "bytes_fixed": row["weight_bytes"],
            "bytes_per_image": row["bytes"] - row["weight_bytes"],
        }
        for row in counts
    ]
