"""onnxruntime on the CPU, on a converted model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from inferbench_lib.errors import NotAvailable
from inferbench_lib.work.base import Engine, Runner
from inferbench_lib.work.onnx import onnx_path, price, reason_of

PRECISIONS = {"estimator": ("fp32",), "network": ("fp32", "int8", "int8_dynamic")}


class Onnxruntime(Engine):
    """onnxruntime with all graph optimizations; its threads stop spinning when a call returns."""

    name = "onnxruntime"
    title = "onnxruntime"
    library = "onnxruntime"
    kinds = ("estimator", "network")

    @classmethod
    def precisions(cls, kind: str, device: str = "cpu") -> tuple[str, ...]:
        return PRECISIONS[kind]

    def load(self) -> None:
        self._sessions: dict[tuple[str, int], Any] = {}
        onnx_path(self.workload)

    def runner(self, *, device: str = "cpu", precision: str = "fp32", n_threads: int = 1) -> Runner:
        session = self._session(precision, n_threads)
        name, outputs = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]
        of = partial(_run, session, name)
        return Runner(run=partial(of, outputs[:1]), scores=partial(of, outputs[1:2]) if outputs[1:] else None)

    def price(self, precision: str = "fp32") -> Mapping[str, float]:
        return price(onnx_path(self.workload, precision))

    def settings(self) -> Mapping[str, str]:
        return {"onnxruntime": "spinning stops after each call"}

    def _session(self, precision: str, n_threads: int) -> Any:
        if (precision, n_threads) not in self._sessions:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = n_threads
            options.add_session_config_entry("session.force_spinning_stop", "1")
            path = onnx_path(self.workload, precision)
            try:
                session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime's errors have no common class
                raise NotAvailable(f"onnxruntime: expected a model it can load, got {reason_of(error)}") from None
            self._sessions[precision, n_threads] = session
        return self._sessions[precision, n_threads]


def _run(session: Any, name: str, outputs: list[str], batch: np.ndarray) -> np.ndarray:
    output: np.ndarray = session.run(outputs, {name: batch})[0]
    return output
