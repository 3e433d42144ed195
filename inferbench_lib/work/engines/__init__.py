"""The engines, by name: one file for each library, and their lines here. Each workload's own library comes first."""

from __future__ import annotations

from collections.abc import Mapping

from inferbench_lib.work.base import Engine
from inferbench_lib.work.engines.onnxruntime import Onnxruntime
from inferbench_lib.work.engines.openvino import OpenVino
from inferbench_lib.work.engines.sklearn import Sklearn
from inferbench_lib.work.engines.torch import Torch, TorchChannelsLast, TorchCompile, TorchKeepingMemory
from inferbench_lib.work.engines.treelite import Treelite

ENGINES: Mapping[str, type[Engine]] = {
    "sklearn": Sklearn,
    "torch": Torch,
    "torch_malloc": TorchKeepingMemory,
    "torch_channels_last": TorchChannelsLast,
    "torch_compile": TorchCompile,
    "onnxruntime": Onnxruntime,
    "openvino": OpenVino,
    "treelite": Treelite,
}
