"""A convolutional network in three sizes, with seeded weights and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from inferbench_lib.records import Verification
from inferbench_lib.work.base import Work, Workload
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
TOLERANCES = {"bf16": 0.05, "int8": 0.25, "int8_dynamic": 0.25}
"""The same for bf16, which keeps 8 bits (2^-8 = 0.4 % per rounding, through five layers), and for int8.

int8 rounds each layer's values to 256 steps; it went up to 0.10 here. Its classes are judged by their agreement.
"""


@dataclass(frozen=True, kw_only=True)
class Cnn(Workload):
    """Three 3×3 convolutions with ReLU and 2×2 max pooling, two fully connected layers, dropout; 64×64 RGB images.

    Another `side` (a multiple of 8) keeps the layers; the first fully connected one grows with the image.
    """

    size: str = "small"
    seed: int = 0
    side: int = SIDE

    unit = "image"
    kind = "network"
    engine = "torch"
    depends_on = ("torch",)
    n_spare = 16

    @property
    def name(self) -> str:  # type: ignore[override]
        """The workload's name in tables and figures."""
        return f"cnn-{self.size}"

    @property
    def title(self) -> str:  # type: ignore[override]
        """The network as a sentence calls it."""
        return f"the {self.size} network"

    def model(self) -> nn.Sequential:
        """Return the network in evaluation mode, float32, on the CPU; the same weights for the same seed."""
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
            network = nn.Sequential(*layers, *head)
            network.eval()
            return network

    def draw(self, n_inputs: int) -> np.ndarray:
        """Return `(n_inputs, 3, side, side)` float32 images; each has its own contrast, so no two have like logits."""
        import torch

        generator = torch.Generator().manual_seed(self.seed)
        contrast = torch.linspace(0.5, 2.0, n_inputs).reshape(-1, 1, 1, 1)
        images: np.ndarray = (torch.randn(n_inputs, 3, self.side, self.side, generator=generator) * contrast).numpy()
        return images

    def answers(self, inputs: np.ndarray) -> np.ndarray:
        """Return `(n_inputs, 10)` logits, computed in float64."""
        import torch

        model = self.model().double()
        with torch.inference_mode():
            logits = [model(torch.from_numpy(image[None].astype(np.float64))) for image in inputs]
        return torch.cat(logits).numpy()

    def agree(self, output: np.ndarray, reference: np.ndarray, precision: str = "fp32") -> Verification:
        """Require logits that are close to the float64 ones."""
        return close(output, reference, TOLERANCES.get(precision, RELATIVE_TOLERANCE))

    def operators(self) -> tuple[Work, ...]:
        """Count FLOPs and least traffic in float32 of each layer, on tensors that hold no data."""
        import torch

        with torch.device("meta"):
            counts = layer_counts(self.model(), torch.empty(1, 3, self.side, self.side))
        return tuple(
            Work(row["name"], row["flops"], row["weight_bytes"], row["bytes"] - row["weight_bytes"]) for row in counts
        )


def named_layers(model: nn.Sequential) -> list[tuple[str, nn.Module]]:
    """Name the layers that move data by kind and number, in order; a flattening view and idle dropout do not."""
    kinds = {"Conv2d": "conv", "ReLU": "relu", "MaxPool2d": "pool", "Linear": "linear"}
    numbers = {kind: count(1) for kind in kinds.values()}
    named = [(kind, layer) for layer in model if (kind := kinds.get(type(layer).__name__))]
    return [(f"{kind}{next(numbers[kind])}", layer) for kind, layer in named]


def layer_counts(model: nn.Sequential, images: Tensor) -> list[dict[str, Any]]:
    """Count what each layer does with these images: `name`, `flops`, `bytes`, `weight_bytes`, `output_bytes`, `shape`.

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
