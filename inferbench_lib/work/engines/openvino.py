"""OpenVINO on the CPU, on a converted model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from inferbench_lib.errors import NotAvailable
from inferbench_lib.work.base import Engine, Runner
from inferbench_lib.work.onnx import onnx_path, price, reason_of

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""Values of INFERENCE_PRECISION_HINT: without one, OpenVINO takes bf16 where the CPU has it. int8 is in the file."""


class OpenVino(Engine):
    """OpenVINO with the hint for latency; it compiles the model for every batch size, in the first call."""

    name = "openvino"
    title = "OpenVINO"
    library = "openvino"
    kinds = ("network",)

    @classmethod
    def precisions(cls, kind: str, device: str = "cpu") -> tuple[str, ...]:
        return tuple(HINTS)

    def load(self) -> None:
        import openvino

        self._core = openvino.Core()
        onnx_path(self.workload)

    def runner(self, *, device: str = "cpu", precision: str = "fp32", n_threads: int = 1) -> Runner:
        if precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise NotAvailable("bf16: this CPU has no bf16 instructions, and OpenVINO would compute in fp32")
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": n_threads,
            "INFERENCE_PRECISION_HINT": HINTS[precision],
        }
        path = onnx_path(self.workload, "int8" if precision == "int8" else "fp32")
        return Runner(run=partial(_run, partial(self._request, path, options), {}))

    def price(self, precision: str = "fp32") -> Mapping[str, float]:
        return price(onnx_path(self.workload, "int8" if precision == "int8" else "fp32"))

    def _request(self, path: Any, options: Mapping[str, Any], shape: tuple[int, ...]) -> Any:
        """Compile the model for one shape."""
        try:
            model = self._core.read_model(path)
            model.reshape(shape)
            return self._core.compile_model(model, "CPU", options).create_infer_request()
        except RuntimeError as error:
            raise NotAvailable(f"OpenVINO: expected a model it can compile, got {reason_of(error)}") from None


def _run(request_for: Any, requests: dict[tuple[int, ...], Any], batch: np.ndarray) -> np.ndarray:
    if batch.shape not in requests:
        requests[batch.shape] = request_for(batch.shape)
    # The output belongs to the request, and its next call would write over it.
    output: np.ndarray = requests[batch.shape].infer({0: batch}, share_inputs=True)[0].copy()
    return output
