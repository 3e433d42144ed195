"""Convert a workload's model to an ONNX file, once, and quantize it to int8."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from inferbench_lib.errors import NotAvailable
from inferbench_lib.work.base import Workload, cached

CONVERSION_S = "conversion_s"
"""The entry of a file's metadata that holds the seconds of its conversion."""
N_CALIBRATION = 32
"""Inputs by which static int8 finds the range of each layer's values."""
REASON_LENGTH = 160
PACKAGES = {"estimator": ("onnx", "skl2onnx"), "network": ("onnx", "onnxscript", "onnxruntime")}


def onnx_path(workload: Workload, precision: str = "fp32") -> Path:
    """Return the ONNX file of a workload's model in fp32, int8 (static) or int8_dynamic, made on first use.

    Raises NotAvailable, with one line of reason, for a model that cannot be converted.
    """
    if precision != "fp32":
        source = onnx_path(workload)
        quantize = _quantize_static if precision == "int8" else _quantize_dynamic
        return _converted(workload, precision, lambda path: quantize(workload, source, path))
    export = _export_estimator if workload.kind == "estimator" else _export_network
    return _converted(workload, precision, lambda path: export(workload, path))


def price(path: Path) -> Mapping[str, float]:
    """Return the seconds of a file's conversion from the model and its size, `conversion_s` and `model_bytes`."""
    import onnx

    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's errors have no common class
        raise NotAvailable(f"{path.name}: expected an ONNX file, got {reason_of(error)}; delete it") from None
    seconds = [float(of.value) for of in model.metadata_props if of.key == CONVERSION_S]
    return {**({CONVERSION_S: sum(seconds)} if seconds else {}), "model_bytes": float(path.stat().st_size)}


def reason_of(error: Exception) -> str:
    """Return one line of an error whose text may have thousands."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Exception from ")]  # places in OpenVINO's source
    text = f"{type(error).__name__}: {(telling or lines or ['no text'])[0]}"
    return text if len(text) <= REASON_LENGTH else f"{text[:REASON_LENGTH]}…"


def _converted(workload: Workload, precision: str, convert: Callable[[Path], None]) -> Path:
    key = workload.key() | {"precision": precision}
    try:
        key |= {name: version(name) for name in PACKAGES[workload.kind]}
        return cached(f"{workload.name}-{precision}", ".onnx", key, lambda path: _timed(convert, path))
    except Exception as error:  # converters raise whatever they like
        raise NotAvailable(f"{workload.name}: cannot be converted to ONNX in {precision}: {reason_of(error)}") from None


def _timed(convert: Callable[[Path], None], path: Path) -> None:
    import onnx

    started_s = time.perf_counter()
    convert(path)
    seconds = time.perf_counter() - started_s
    model = onnx.load(path)
    model.metadata_props.add(key=CONVERSION_S, value=f"{seconds:.3f}")
    onnx.save(model, path)


def _export_estimator(workload: Workload, path: Path) -> None:
    from skl2onnx import to_onnx

    model = workload.model()
    options: dict[int, Any] = {id(model): {"zipmap": False}} if hasattr(model, "classes_") else {}
    path.write_bytes(to_onnx(model, workload.draw(1), options=options).SerializeToString())


def _export_network(workload: Workload, path: Path) -> None:
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names each optional package that is absent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            workload.model(), (torch.from_numpy(workload.draw(2)),), dynamo=True, verbose=False,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), external_data=False,
        )  # fmt: skip
    assert program is not None
    program.save(path)


def _quantize_static(workload: Workload, source: Path, path: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            inputs = workload.other_inputs(N_CALIBRATION)
            self._batches = iter([{name: inputs[i : i + 1]} for i in range(N_CALIBRATION)])

        def get_next(self) -> Any:
            return next(self._batches, None)

    with tempfile.TemporaryDirectory() as folder:
        ready, name = _preprocessed(source, Path(folder))
        quantize_static(
            ready, path, Images(name), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip


def _quantize_dynamic(workload: Workload, source: Path, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        ready, _ = _preprocessed(source, Path(folder))
        quantize_dynamic(ready, path, weight_type=QuantType.QInt8)


def _preprocessed(source: Path, folder: Path) -> tuple[Path, str]:
    """Return the file with the shapes of all values, as quantization asks for, and the name of the input."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = folder / "model.onnx"
    quant_pre_process(source, ready)
    return ready, onnx.load(ready).graph.input[0].name
