"""The small network trained on handwritten digits, whose true classes are known, and two smaller networks made of it.

Both have the same layers with fewer filters and units, so that every engine that loads a network loads them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inferbench_lib.work.base import Work, cached
from inferbench_lib.work.cnn import Cnn

if TYPE_CHECKING:
    from torch import Tensor, nn

    Loss = Callable[[Tensor, Tensor], Tensor]

N_HELD_OUT = 497
"""Of the 1,797 images of scikit-learn's `load_digits`. Only so many are different: an interval counts each once."""
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
"""Of Adam (Kingma & Ba 2015), its authors' default."""
STUDENT_LEARNING_RATE = 3e-3
"""So small a network stands larger steps: 0.976 of the held-out images after 10 epochs, 0.89 after 20 with dropout."""


@dataclass(frozen=True, kw_only=True)
class Narrow(Cnn):
    """A network with seeded weights that keeps a share of the filters and units of each layer but the last."""

    kept_share: float = 1.0

    def model(self) -> nn.Sequential:
        """Return the network in evaluation mode, float32, on the CPU."""
        return narrowed(super().model(), self.kept_share)


@dataclass(frozen=True, kw_only=True)
class CnnDigits(Cnn):
    """The small network trained on `n_images` handwritten digits, scaled to `side` pixels, grey in three channels.

    It is trained on first use; the number of torch's threads can change the last bits of the weights.
    """

    kept_share: float = 1.0
    n_images: int = 1300
    n_epochs: int = 4

    name = "cnn-digits"
    title = "the digits network"
    depends_on = ("torch", "scikit-learn")  # type: ignore[assignment]
    n_different = N_HELD_OUT

    def model(self) -> nn.Sequential:
        """Return the trained network in evaluation mode, float32, on the CPU."""
        from safetensors.torch import load_file

        network = self._untrained().model()
        network.load_state_dict(load_file(self.weights_path))
        return network

    @cached_property
    def weights_path(self) -> Path:
        """The trained weights as safetensors; trained on first use."""

        def write(path: Path) -> None:
            import torch
            from safetensors.torch import save_file

            with torch.inference_mode(False):  # tensors made in inference mode could not be trained with
                save_file(self._trained().state_dict(), path)

        return cached(f"{self.name}-weights", ".safetensors", self.key(), write)

    def draw(self, n_inputs: int) -> np.ndarray:
        """Return `(n_inputs, 3, side, side)` held-out images, from the first again after the last."""
        return self._images(np.resize(self._split()[1], n_inputs))

    def other_inputs(self, n_inputs: int) -> np.ndarray:
        """Return images that the network was trained on."""
        return self._images(np.resize(self._split()[0], n_inputs))

    def truth(self, n_inputs: int) -> np.ndarray:
        """Return the digit that each of the drawn images shows."""
        return _digits()[1][np.resize(self._split()[1], n_inputs)]

    def operators(self) -> tuple[Work, ...]:
        """Count FLOPs and least traffic of each layer; nothing is trained for it."""
        return self._untrained().operators()

    def key(self) -> dict[str, Any]:
        """Return all that the files depend on: also the key of the untrained network, with the text of its file."""
        return super().key() | {"untrained": Cnn(size=self.size, seed=self.seed, side=self.side).key()}

    def _untrained(self) -> Narrow:
        return Narrow(**{of.name: getattr(self, of.name) for of in fields(Narrow)})

    def _trained(self) -> nn.Sequential:
        """Train the network on the digits."""
        from torch.nn.functional import cross_entropy

        return fitted(self._untrained().model(), *self._training(), cross_entropy, self.n_epochs, seed=self.seed)

    def _training(self) -> tuple[Tensor, Tensor]:
        """Return the images to train on and the digits that they show."""
        import torch

        return torch.from_numpy(self._images(self._split()[0])), torch.from_numpy(_digits()[1][self._split()[0]])

    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the images to train on and of those held out, whatever `n_images` is."""
        places = np.random.default_rng(self.seed).permutation(len(_digits()[1]))
        return places[:-N_HELD_OUT][: self.n_images], places[-N_HELD_OUT:]

    def _images(self, places: np.ndarray) -> np.ndarray:
        """Return `(n, 3, side, side)` float32 images between 0 and 1, enlarged from 8×8 pixels bilinearly."""
        import torch

        small = torch.from_numpy(_digits()[0][places].astype(np.float32) / 16)[:, None]
        grey = torch.nn.functional.interpolate(small, size=(self.side, self.side), mode="bilinear")
        return np.asarray(grey.expand(-1, 3, -1, -1).contiguous())


@dataclass(frozen=True, kw_only=True)
class CnnDigitsVariant(CnnDigits):
    """A smaller network made of the trained one, trained for `n_own_epochs` more."""

    n_own_epochs: int = 1

    def digits(self) -> CnnDigits:
        """Return the network that this one is made of."""
        given = {of.name: getattr(self, of.name) for of in fields(CnnDigits)}
        return CnnDigits(**given | {"kept_share": 1.0})

    def key(self) -> dict[str, Any]:
        """Return all that the files depend on: also the key of the network that this one is made of."""
        return super().key() | {"digits": self.digits().key()}


@dataclass(frozen=True, kw_only=True)
class CnnDigitsPruned(CnnDigitsVariant):
    """The trained network without the filters and units of the smallest weights, then trained for a little longer."""

    kept_share: float = 0.5

    name = "cnn-digits-pruned"
    title = "the pruned digits network"

    def _trained(self) -> nn.Sequential:
        from torch.nn.functional import cross_entropy

        pruned = narrowed(self.digits().model(), self.kept_share)
        return fitted(pruned, *self._training(), cross_entropy, self.n_own_epochs, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class CnnDigitsStudent(CnnDigitsVariant):
    """A much smaller network that learns the trained one's logits, without dropout (Ba & Caruana 2014)."""

    kept_share: float = 0.125
    n_own_epochs: int = 10

    name = "cnn-digits-student"
    title = "the student of the digits network"

    def _trained(self) -> nn.Sequential:
        import torch
        from torch import nn
        from torch.nn.functional import mse_loss

        images, _ = self._training()
        teacher, student = self.digits().model(), self._untrained().model()
        with torch.no_grad():
            logits = torch.cat([teacher(some) for some in images.split(BATCH_SIZE)])  # type: ignore[no-untyped-call]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            for layer in student:
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    layer.reset_parameters()
        return fitted(
            student, images, logits, mse_loss, self.n_own_epochs,
            seed=self.seed, learning_rate=STUDENT_LEARNING_RATE, dropout=False,
        )  # fmt: skip


def narrowed(network: nn.Sequential, kept_share: float) -> nn.Sequential:
    """Return the network without the filters and units whose weights have the smallest L1 norm; the last layer stays.

    Each layer loses the same share, and the next one the inputs that came from there (Li et al. 2017).
    """
    import torch
    from torch import nn

    weighted = [layer for layer in network if isinstance(layer, nn.Conv2d | nn.Linear)]
    layers: list[nn.Module] = []
    n_before, inputs = weighted[0].weight.shape[1], torch.arange(weighted[0].weight.shape[1])
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            n_outputs, n_inputs = layer.weight.shape[:2]
            each = n_inputs // n_before  # flattened, a filter's output is that many inputs of the next layer
            inputs = (inputs[:, None] * each + torch.arange(each)).flatten()
            n_kept = n_outputs if layer is weighted[-1] else max(1, round(kept_share * n_outputs))
            norms = layer.weight.detach()[:, inputs].abs().flatten(1).sum(1)
            kept = norms.topk(n_kept).indices.sort().values
            smaller: nn.Conv2d | nn.Linear
            with torch.device("meta"):  # draws no weights, which follow
                if isinstance(layer, nn.Conv2d):
                    smaller = nn.Conv2d(len(inputs), n_kept, 3, padding=1)
                else:
                    smaller = nn.Linear(len(inputs), n_kept)
            smaller.weight = nn.Parameter(layer.weight.detach()[kept][:, inputs])
            smaller.bias = nn.Parameter(layer.bias.detach()[kept])  # type: ignore[union-attr]
            layers.append(smaller)
            n_before, inputs = n_outputs, kept
        else:
            layers.append(layer)
    return nn.Sequential(*layers).eval()


def fitted(
    network: nn.Sequential, images: Tensor, targets: Tensor, loss: Loss, n_epochs: int,
    *, seed: int, learning_rate: float = LEARNING_RATE, dropout: bool = True,
) -> nn.Sequential:  # fmt: skip
    """Train the network by Adam, in batches whose order follows the seed, and return it in evaluation mode."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.train(dropout)
        optimizer = torch.optim.Adam(network.parameters(), learning_rate)
        for _ in range(n_epochs):
            for chosen in torch.randperm(len(images)).split(BATCH_SIZE):  # type: ignore[no-untyped-call]
                optimizer.zero_grad()
                loss(network(images[chosen]), targets[chosen]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    return network.eval()


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's 1,797 images of 8×8 pixels, 0 to 16, and the digits that they show."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images, found.target
