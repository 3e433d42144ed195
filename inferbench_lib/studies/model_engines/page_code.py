"""Write the lines that convert a model and predict with the recommended engine."""

from __future__ import annotations

from collections.abc import Iterable

from inferbench_lib.studies.model_engines.study import Cell, Choice

CODE = {
    ("sklearn", "rows"): """\
model.n_jobs = {n_threads}
outputs = model.predict(rows)""",
    ("onnxruntime", "rows"): """\
import onnxruntime, skl2onnx
converted = skl2onnx.to_onnx(model, rows[:1], options={{id(model): {{"zipmap": False}}}})
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {n_threads}
session = onnxruntime.InferenceSession(converted.SerializeToString(), options)
outputs = session.run(["label"], {{"X": rows}})[0]""",
    ("treelite", "rows"): """\
import treelite
trees = treelite.sklearn.import_model(model)
scores = treelite.gtil.predict(trees, rows, nthread={n_threads})[:, 0]
best = scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0.5).astype(int)
outputs = model.classes_[best]""",
    ("torch", "images"): """\
torch.set_num_threads({n_threads})
with torch.inference_mode():
    outputs = model(images)""",
    ("torch_malloc", "images"): """\
# Before Python starts: export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592
torch.set_num_threads({n_threads})
with torch.inference_mode():
    outputs = model(images)""",
    ("torch_channels_last", "images"): """\
torch.set_num_threads({n_threads})
model = model.to(memory_format=torch.channels_last)
with torch.inference_mode():
    outputs = model(images.contiguous(memory_format=torch.channels_last))""",
    ("torch_compile", "images"): """\
torch.set_num_threads({n_threads})
model = torch.compile(model, fullgraph=True, dynamic=False)
with torch.inference_mode():
    outputs = model(images)""",
    ("onnxruntime", "images"): """\
import onnxruntime
batch = torch.export.Dim.DYNAMIC
example = torch.zeros(2, *images.shape[1:])
torch.onnx.export(model.eval(), (example,), "model.onnx", dynamo=True, dynamic_shapes=({{0: batch}},))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {n_threads}
session = onnxruntime.InferenceSession("model.onnx", options)
outputs = session.run(None, {{session.get_inputs()[0].name: images.numpy()}})[0]""",
    ("openvino", "images"): """\
import openvino
batch = torch.export.Dim.DYNAMIC
example = torch.zeros(2, *images.shape[1:])
torch.onnx.export(model.eval(), (example,), "model.onnx", dynamo=True, dynamic_shapes=({{0: batch}},))
options = {{"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": {n_threads}, "INFERENCE_PRECISION_HINT": "{hint}"}}
compiled = openvino.Core().compile_model("model.onnx", "CPU", options)
outputs = compiled(images.numpy())[0]""",
}
"""By engine and unit of input: a fitted `model` and its float32 `rows`, or a torch `model` and its `images`."""


def code(choices: Iterable[Choice]) -> str:
    """Return, for each workload, the code of its choice with the largest gain; empty where the usual library stays."""
    best: dict[str, Cell] = {}
    for choice in choices:
        if cell := choice.recommended:
            before = best.get(choice.workload)
            if before is None or (cell.gain.low or 0.0) > (before.gain.low or 0.0):
                best[choice.workload] = cell
    blocks = {workload: text for workload, cell in best.items() if (text := _code(cell))}
    if len(blocks) == 1:
        return next(iter(blocks.values()))
    return "\n\n".join(f"# {workload}\n{text}" for workload, text in blocks.items())


def _code(cell: Cell) -> str:
    case = cell.case
    unit = "images" if case.workload.startswith("cnn") else "rows"
    if case.precision not in ("fp32", "bf16") or (case.engine, unit) not in CODE:
        return ""
    if case.precision == "bf16" and case.engine != "openvino":
        return ""
    hint = "bf16" if case.precision == "bf16" else "f32"
    return CODE[case.engine, unit].format(n_threads=case.n_threads, hint=hint)
