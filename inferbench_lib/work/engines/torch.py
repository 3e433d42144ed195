"""PyTorch's forward pass, on the CPU or on an accelerator: eager, channels-last, compiled, with memory kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from inferbench_lib.errors import NotAvailable
from inferbench_lib.work.base import Engine, Runner
from inferbench_lib.work.onnx import reason_of

if TYPE_CHECKING:
    import torch


CPU_PRECISIONS = ("fp32", "bf16")
DEVICE_PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


class Torch(Engine):
    """Eager PyTorch in inference mode."""

    name = "torch"
    title = "eager PyTorch"
    library = "torch"
    package = "torch"
    kinds = ("network",)
    on_devices = True

    @classmethod
    def precisions(cls, kind: str, device: str = "cpu") -> tuple[str, ...]:
        return CPU_PRECISIONS if device == "cpu" else DEVICE_PRECISIONS

    def load(self) -> None:
        import torch

        convolutions: Any = torch.backends.cudnn
        self._usual = (convolutions.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)
        # Inputs that processes share are mapped read-only, and nothing writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        self._models = {("cpu", "fp32"): self.workload.model()}

    def runner(self, *, device: str = "cpu", precision: str = "fp32", n_threads: int = 1) -> Runner:
        import torch

        dtypes = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        dtype = dtypes[precision]
        if (device, precision) not in self._models:
            # In inference mode the moved weights could not be used outside of it.
            with torch.inference_mode(False):
                self._models[device, precision] = deepcopy(self._models["cpu", "fp32"]).to(device, dtype)
        return Runner(
            run=self._run(self._models[device, precision]),
            place=partial(_placed, device, dtype),
            fetch=fetched,
            activate=partial(_activate, device, precision, n_threads, self._usual),
        )

    def settings(self) -> Mapping[str, str]:
        import torch

        return {"deterministic_algorithms": str(torch.are_deterministic_algorithms_enabled())}

    def price(self, precision: str = "fp32") -> Mapping[str, float]:
        n_bytes = 2 if precision in ("bf16", "fp16") else 4
        return {"model_bytes": float(n_bytes * self.workload.n_parameters())}

    def _run(self, model: Any) -> Callable[[Any], Any]:
        return partial(forward, model)


class TorchKeepingMemory(Torch):
    """Eager PyTorch while glibc keeps freed memory: it gives large blocks back to the kernel otherwise.

    Each call then takes them anew and pays a page fault for every 4 KiB. mallopt(3) describes both variables.
    """

    name = "torch_malloc"
    title = "eager PyTorch with memory kept"
    on_devices = False
    environment: ClassVar[Mapping[str, str]] = {
        "MALLOC_MMAP_THRESHOLD_": "4294967296",
        "MALLOC_TRIM_THRESHOLD_": "8589934592",
    }

    @classmethod
    def precisions(cls, kind: str, device: str = "cpu") -> tuple[str, ...]:
        return ("fp32",)


class TorchChannelsLast(Torch):
    """Eager PyTorch with images stored channels last, which convolutions prefer; calls convert their images."""

    name = "torch_channels_last"
    title = "PyTorch channels last"

    def _run(self, model: Any) -> Callable[[Any], Any]:
        import torch

        model = deepcopy(model).to(memory_format=torch.channels_last)

        def run(batch: torch.Tensor) -> torch.Tensor:
            return forward(model, batch.contiguous(memory_format=torch.channels_last))

        return run


class TorchCompile(Torch):
    """`torch.compile` of the whole network, which the first call with each shape pays for."""

    name = "torch_compile"
    title = "torch.compile"

    @classmethod
    def precisions(cls, kind: str, device: str = "cpu") -> tuple[str, ...]:
        return ("fp32",) if device == "cpu" else DEVICE_PRECISIONS

    def _run(self, model: Any) -> Callable[[Any], Any]:
        import torch

        compiled = torch.compile(model, fullgraph=True, dynamic=False)

        def run(batch: torch.Tensor) -> torch.Tensor:
            try:
                return forward(compiled, batch)
            except torch._dynamo.exc.TorchDynamoException as error:
                raise NotAvailable(
                    f"torch.compile: expected a network it can compile, got {reason_of(error)}"
                ) from None

        return run


def _activate(device: str, precision: str, n_threads: int, usual: tuple[str, str]) -> None:
    import torch

    torch.set_num_threads(n_threads)
    if device.startswith("cuda"):
        convolutions, matmuls = ("tf32", "tf32") if precision == "tf32" else usual
        torch.backends.cudnn.conv.fp32_precision = convolutions  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.fp32_precision = matmuls


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
