"""torch's eager forward pass, on the CPU or on an accelerator."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from inferbench_lib.work.base import Engine, Runner

if TYPE_CHECKING:
    import torch


class Torch(Engine):
    """Eager PyTorch in inference mode."""

    name = "torch"
    library = "torch"
    kinds = ("network",)
    precisions = ("fp32", "bf16")
    on_devices = True

    def load(self) -> None:
        # Inputs that processes share are mapped read-only, and nothing writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        self._models = {("cpu", "fp32"): self.workload.model()}

    def runner(self, *, device: str = "cpu", precision: str = "fp32", n_threads: int = 1) -> Runner:
        import torch

        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        if (device, precision) not in self._models:
            # In inference mode the moved weights could not be used outside of it.
            with torch.inference_mode(False):
                self._models[device, precision] = deepcopy(self._models["cpu", "fp32"]).to(device, dtype)
        return Runner(
            run=partial(forward, self._models[device, precision]),
            place=partial(_placed, device, dtype),
            fetch=fetched,
            activate=partial(torch.set_num_threads, n_threads),
        )

    def settings(self) -> Mapping[str, str]:
        import torch

        return {"deterministic_algorithms": str(torch.are_deterministic_algorithms_enabled())}


def forward(model: Callable[[Any], Any], batch: torch.Tensor) -> torch.Tensor:
    """Run the model in inference mode."""
    import torch

    with torch.inference_mode():
        output: torch.Tensor = model(batch)
    return output


def _placed(device: str, dtype: Any, batch: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(batch)).to(device, dtype)


def fetched(output: torch.Tensor) -> np.ndarray:
    """Return an output on the host; bf16, which numpy does not know, as float32."""
    import torch

    host = output.cpu()
    array: np.ndarray = (host.float() if host.dtype is torch.bfloat16 else host).numpy()
    return array
