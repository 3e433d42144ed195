"""Make another process find the simulated device: its torch loads it by itself, through an entry point.

For runs from end to end, in a notebook's kernel or a measuring process. Host times there are the process's own real
times, with the time that the CPU spent standing in for the device taken out and the device's virtual time put in.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from simulated_device import load

SCRIPT = "SIMULATED_DEVICE"


def environment(directory: Path, script: Mapping[str, int]) -> dict[str, str]:
    """Environment variables for the other process; `directory` (of the test) gets the entry point's few files."""
    info = directory / "simulated_device-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: simulated-device\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[torch.backends]\nsimgpu = simulated_device.autoload:start\n")
    search = [str(directory), str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(search), SCRIPT: json.dumps(dict(script))}


def start() -> None:
    """What torch calls at the end of `import torch`."""
    device = load()
    device.configure(**json.loads(os.environ[SCRIPT]))
    real_ns = time.perf_counter_ns
    time.perf_counter_ns = lambda: real_ns() - device.standing_in_ns + device.read_ns()
