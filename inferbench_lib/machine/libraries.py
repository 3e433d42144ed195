"""A small piece of each library's work, with a way to set its threads. Libraries are imported where they are loaded."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SIDE, BATCH, LAYERS = 512, 64, 4
"""The length of a matrix, and the batch and layers of a network of such matrices."""
FOREST_ROWS = (1, 100, 1_000, 10_000)
N_BLOCKS, BLOCK_BYTES = 8, 250_000
"""The tasks of a parallel loop: each compresses a block."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A library's work, ready to be called: `calls` by the number of inputs.

    `set_threads` takes None for the library's default, which is `default` threads. `untimed` are other defaults.
    `is_warmed` asks for an untimed call after each change of threads.
    """

    default: int
    set_threads: Callable[[int | None], Any]
    calls: Mapping[int, Callable[[Any], Any]]
    is_warmed: bool = True
    untimed: Mapping[str, int] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None


def _torch(_: Path) -> Subject:
    import torch

    from inferbench_lib.machine.gemm import product_of

    default = torch.get_num_threads()
    return Subject(
        default=default,
        set_threads=lambda n: torch.set_num_threads(n or default),
        calls={1: product_of("torch", "fp32", SIDE).call},
        untimed={"torch_interop": torch.get_num_interop_threads()},
    )


def _numpy(_: Path) -> Subject:
    import numpy as np

    matrix = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32)
    return _of_pool("blas", lambda _: matrix @ matrix)


def _openmp(_: Path) -> Subject:
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = np.random.default_rng(0).standard_normal((5_000, 20))
    model = HistGradientBoostingClassifier(max_iter=50).fit(rows[:1_000], rows[:1_000, 0] > 0)
    return _of_pool("openmp", lambda _: model.predict(rows))


def _of_pool(kind: str, call: Callable[[Any], Any]) -> Subject:
    """Return work on the thread pools of one kind that are loaded by now."""
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController().select(user_api=kind)
    default = max(pool["num_threads"] for pool in controller.info())
    return Subject(default=default, set_threads=lambda n: controller.limit(limits=n or default), calls={1: call})


def _onnxruntime(_: Path) -> Subject:
    import onnxruntime
    import psutil

    network, inputs = _network()
    held: list[Any] = []

    def set_threads(n: int | None) -> None:
        held.clear()  # first: an idle session's threads spin
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n or 0
        held.append(onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"]))

    before = psutil.Process().num_threads()
    set_threads(None)  # it tells no number: a session starts all its threads but the caller's
    default = 1 + psutil.Process().num_threads() - before
    return Subject(default=default, set_threads=set_threads, calls={1: lambda _: held[0].run(None, {"x": inputs})})


def _openvino(_: Path) -> Subject:
    import openvino

    network, inputs = _network()
    core = openvino.Core()
    model = core.read_model(network)
    held: list[Any] = []

    def set_threads(n: int | None) -> None:
        held.clear()
        held.append(core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": n} if n else {}))

    set_threads(None)
    default = int(held[0].get_property("INFERENCE_NUM_THREADS"))
    return Subject(default=default, set_threads=set_threads, calls={1: lambda _: held[0]([inputs])})


def _network() -> tuple[bytes, Any]:
    """Return fully connected layers with ReLU as an ONNX model, and a batch of inputs."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32) / SIDE**0.5
    names, nodes = ["x", *(f"relu{n}" for n in range(LAYERS))], []
    for n in range(LAYERS):
        nodes.append(helper.make_node("MatMul", [names[n], "weights"], [f"product{n}"]))
        nodes.append(helper.make_node("Relu", [f"product{n}"], [names[n + 1]]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, SIDE]) for name in (names[0], names[-1])]
    graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString(), np.ones((BATCH, SIDE), dtype=np.float32)


def _sklearn(forest: Path) -> Subject:
    import numpy as np

    model = pickle.loads(forest.read_bytes())
    rows = np.random.default_rng(0).standard_normal((max(FOREST_ROWS), model.n_features_in_), dtype=np.float32)

    def calls(n_rows: int) -> Callable[[Any], Any]:
        return lambda _: model.predict(rows[:n_rows])

    return Subject(
        default=1,
        set_threads=lambda n: setattr(model, "n_jobs", n),
        calls={n_rows: calls(n_rows) for n_rows in FOREST_ROWS},
        is_warmed=False,
    )


def _joblib(_: Path) -> Subject:
    import random
    import zlib

    import joblib
    from joblib.externals.loky import get_reusable_executor

    block = random.Random(0).randbytes(BLOCK_BYTES)
    n_jobs = [-1]

    def set_threads(n: int | None) -> None:
        n_jobs[0] = n or -1

    def compress(_: object) -> Any:
        return joblib.Parallel(n_jobs=n_jobs[0])(joblib.delayed(zlib.compress)(block) for _ in range(N_BLOCKS))

    def close() -> None:
        get_reusable_executor().shutdown(kill_workers=True)

    return Subject(default=joblib.cpu_count(), set_threads=set_threads, calls={1: compress}, close=close)


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library's work, and the packages that it needs, by the module that each has."""

    load: Callable[[Path], Subject]
    packages: Mapping[str, str]


_POOLS = {"threadpoolctl": "threadpoolctl"}
_SKLEARN = {"sklearn": "scikit-learn"}
LIBRARIES: Mapping[str, Library] = {
    "torch": Library(load=_torch, packages={"torch": "torch"}),
    "numpy": Library(load=_numpy, packages={"numpy": "numpy", **_POOLS}),
    "openmp": Library(load=_openmp, packages=_SKLEARN | _POOLS),
    "onnxruntime": Library(load=_onnxruntime, packages={"onnxruntime": "onnxruntime", "onnx": "onnx"}),
    "openvino": Library(load=_openvino, packages={"openvino": "openvino", "onnx": "onnx"}),
    "scikit-learn": Library(load=_sklearn, packages=_SKLEARN),
    "joblib": Library(load=_joblib, packages={"joblib": "joblib"}),
}
"""The libraries by name. `load` gets the file of a pickled scikit-learn forest."""
