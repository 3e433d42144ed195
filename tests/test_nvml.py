"""The real nvidia-ml-py on a stub of NVIDIA's library that replays a trace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nvml_stub import ready

from inferbench_lib.timing.nvml import THROTTLE_BITS, throttle_names

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stub is found by LD_LIBRARY_PATH, which is Linux")

CARD = (
    "device name=NVIDIA_GeForce_GTX_750_Ti uuid=GPU-1b2c driver=550.54.14 memory=2147483648 "
    "default_mhz=1020 max_mhz=1085\n"
)
STEADY = "sample temperature=61 power_mw=38500 clock_mhz=1020 memory=83886080 pstate=0 throttle=0x0\n"
HOT = "sample temperature=95 power_mw=31000 clock_mhz=700 memory=83886080 pstate=2 throttle=0x60\n"
LOST = "sample error=15\n"
FACTS = {
    "name": "NVIDIA GeForce GTX 750 Ti",
    "driver": "550.54.14",
    "memory_bytes": 2147483648,
    "default_clock_hz": 1.02e9,
}
READING = {
    "temperature_c": 61,
    "power_w": 38.5,
    "clock_hz": 1.02e9,
    "memory_bytes": 83886080,
    "throttle_reasons": [],
    "lost_reason": "",
}
NOTHING = dict.fromkeys(READING) | {"throttle_reasons": [], "lost_reason": ""}
SECOND = "device name=Example_GPU uuid=GPU-2 driver=550.54.14 memory=1000 default_mhz=2000 max_mhz=2000\n"
READ_THREE = """
import json
from dataclasses import asdict
from inferbench_lib.timing.nvml import open_gpu
probe = open_gpu(0)
print(json.dumps([asdict(probe.gpu), [asdict(probe.read()) for _ in range(3)]]))
"""
FIND = """
import json
from dataclasses import asdict
from inferbench_lib.timing.nvml import find_gpus
gpus, reason = find_gpus()
print(json.dumps([[asdict(gpu) for gpu in gpus], reason]))
"""


def run(code: str, trace: str, folder: Path, *, definitions: tuple[str, ...] = ()) -> Any:
    """The JSON that `code` prints in a process whose NVML replays `trace`."""
    path = folder / "trace"
    path.write_text(trace)
    environment = ready.environment(ready.build(*definitions), path)
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_facts_and_readings(tmp_path: Path) -> None:
    """Every figure of the first card is in its unit."""
    facts, readings = run(READ_THREE, CARD + STEADY + HOT, tmp_path)
    hot = READING | {
        "temperature_c": 95,
        "power_w": 31.0,
        "clock_hz": 0.7e9,
        "throttle_reasons": ["software thermal slowdown", "hardware thermal slowdown"],
    }
    assert facts == FACTS
    assert readings == [READING, hot, hot]


def test_a_gpu_that_is_lost_is_a_reading(tmp_path: Path) -> None:
    """The reading says so and nothing else; the process goes on."""
    _, readings = run(READ_THREE, CARD + STEADY + LOST, tmp_path)
    lost = NOTHING | {"lost_reason": "GPU is lost"}
    assert readings == [READING, lost, lost]


def test_what_a_card_does_not_tell_is_none(tmp_path: Path) -> None:
    """A card without power reading, default clock and throttle reasons still tells the rest."""
    silent = ("PowerUsage", "DefaultApplicationsClock", "CurrentClocksEventReasons", "CurrentClocksThrottleReasons")
    lines = "".join(f"unsupported nvmlDeviceGet{name}\n" for name in silent)
    facts, readings = run(READ_THREE, CARD + lines + HOT, tmp_path)
    assert facts == FACTS | {"default_clock_hz": 1.085e9}
    assert readings[0]["power_w"] is None
    assert readings[0]["throttle_reasons"] == []
    assert readings[0]["temperature_c"] == 95


def test_an_older_driver_is_asked_by_the_older_name(tmp_path: Path) -> None:
    """Throttle reasons also where the library lacks the newer function."""
    _, readings = run(READ_THREE, CARD + HOT, tmp_path, definitions=("-DOLD_DRIVER",))
    assert readings[0]["throttle_reasons"] == ["software thermal slowdown", "hardware thermal slowdown"]


def test_a_driver_with_a_card(tmp_path: Path) -> None:
    """The card, and no reason."""
    assert run(FIND, CARD + STEADY, tmp_path) == [[FACTS], ""]


def test_a_driver_that_is_not_loaded_is_a_reason(tmp_path: Path) -> None:
    """The library is there, its driver is not."""
    assert run(FIND, "init error=9\n", tmp_path) == [[], "no NVIDIA GPU can be read: Driver Not Loaded"]


def test_a_driver_without_a_card_is_a_reason(tmp_path: Path) -> None:
    """The driver answers and lists nothing."""
    assert run(FIND, "", tmp_path) == [[], "the NVIDIA driver lists no GPU"]


def test_no_library_is_a_reason(tmp_path: Path) -> None:
    """A machine without NVIDIA's library."""
    code = "import ctypes\nctypes.CDLL = lambda name, *a, **k: (_ for _ in ()).throw(OSError(name))\n" + FIND
    assert run(code, "", tmp_path) == [[], "no NVIDIA GPU can be read: NVML Shared Library Not Found"]


def test_a_gpu_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """Which GPU was asked for, and what NVML said."""
    code = """
import json
from inferbench_lib.errors import NotAvailable
from inferbench_lib.timing.nvml import open_gpu
try:
    open_gpu(7)
except NotAvailable as error:
    print(json.dumps(str(error)))
"""
    assert run(code, CARD + STEADY, tmp_path) == "GPU 7: expected one that NVML can read, got: Invalid Argument"


def opened(device: str, cards: str, folder: Path, **environment: str) -> str:
    """The name of the GPU that stands for torch's device, or the reason why none does."""
    code = f"""
import json, os
from inferbench_lib.errors import NotAvailable
from inferbench_lib.timing.nvml import open_device
os.environ.pop("CUDA_VISIBLE_DEVICES", None)
os.environ.update({environment!r})
try:
    print(json.dumps(open_device({device!r}).gpu.name))
except NotAvailable as error:
    print(json.dumps(str(error)))
"""
    return str(run(code, cards, folder))


def test_a_device_of_torch_is_the_gpu_of_its_number(tmp_path: Path) -> None:
    """`cuda:1` is GPU 1, or the second of `CUDA_VISIBLE_DEVICES`, by number or by UUID."""
    by_place = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert opened("cuda:1", CARD + STEADY + SECOND, tmp_path, **by_place) == "Example GPU"
    assert opened("cuda", CARD + STEADY + SECOND, tmp_path, **by_place) == FACTS["name"]
    turned = by_place | {"CUDA_VISIBLE_DEVICES": "1,0"}
    assert opened("cuda:1", CARD + STEADY + SECOND, tmp_path, **turned) == FACTS["name"]
    assert opened("cuda:0", CARD + SECOND, tmp_path, CUDA_VISIBLE_DEVICES="GPU-2") == "Example GPU"


def test_a_device_that_nvml_cannot_find_is_a_reason(tmp_path: Path) -> None:
    """Another maker's device, a number that is not visible, and unlike GPUs that CUDA may number otherwise."""
    assert opened("xpu:0", CARD, tmp_path) == "xpu:0: only NVIDIA GPUs can be read while they work"
    assert opened("cuda:1", CARD, tmp_path, CUDA_VISIBLE_DEVICES="0") == (
        "cuda:1: expected one of CUDA_VISIBLE_DEVICES=0"
    )
    assert opened("cuda:1", CARD + SECOND, tmp_path) == (
        "cuda:1: which of several kinds of GPU this is, is known with CUDA_DEVICE_ORDER=PCI_BUS_ID"
    )


def test_names_of_throttle_bits() -> None:
    """Each bit has its name, several add up, an unknown one is shown as it is."""
    assert throttle_names(0) == ()
    assert throttle_names(0x24) == ("software power cap", "software thermal slowdown")
    assert throttle_names(0x1001) == ("gpu idle", "unknown (0x1000)")


def test_throttle_bits_are_those_of_the_library() -> None:
    """Every bit that nvidia-ml-py knows has a name here, and no other."""
    import pynvml

    assert sum(THROTTLE_BITS) == pynvml.nvmlClocksThrottleReasonAll
