"""What the makers' documents say of some GPUs (`gpus.json`), for the model of a device that is not there.

FP32 is the plain (not tensor-core) rate at the boost clock, except where a note says otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

# PCI-SIG base specifications 3.0, 4.0, 5.0: 8, 16, 32 GT/s a lane in one direction, 128 bits sent as 130.
LANE_BYTES_PER_S = {3: 8e9 / 8 * 128 / 130, 4: 16e9 / 8 * 128 / 130, 5: 32e9 / 8 * 128 / 130}


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """Datasheet figures: FLOP/s, bytes/s, bytes; PCIe in one direction; `source` names document and table."""

    name: str
    fp32_flops_per_s: float
    memory_bytes_per_s: float
    memory_bytes: int
    pcie_bytes_per_s: float
    source: str


def _gpu(row: Mapping[str, Any]) -> Gpu:
    source = row["source"]
    return Gpu(
        name=row["name"],
        fp32_flops_per_s=row["fp32_tflops"] * 1e12,
        memory_bytes_per_s=row["memory_gb_per_s"] * 1e9,
        memory_bytes=row["memory_gib"] * 2**30,
        pcie_bytes_per_s=row["pcie_lanes"] * LANE_BYTES_PER_S[row["pcie_generation"]],
        source="; ".join(filter(None, (source["document"], source["table"], source["note"]))),
    )


GPUS = {row["name"]: _gpu(row) for row in json.loads((files(__package__) / "gpus.json").read_text(encoding="utf-8"))}
"""By name, oldest first."""
