"""Windows: hardware from its management interface (CIM) and `IsProcessorFeaturePresent`."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable
from typing import Any

from inferbench_lib.machine.hardware import Hardware, known_instruction_sets, threads_per_core
from inferbench_lib.timing.procfs import parse_number

# Classes and properties: Microsoft Learn, "Win32_Processor class", "Win32_ComputerSystem class".
QUERY = (
    "@{processors=@(Get-CimInstance Win32_Processor | Select-Object Name,NumberOfCores,NumberOfLogicalProcessors,"
    "MaxClockSpeed,L2CacheSize,L3CacheSize);"
    "system=(Get-CimInstance Win32_ComputerSystem | Select-Object Manufacturer,Model,TotalPhysicalMemory)}"
    " | ConvertTo-Json -Depth 3"
)
# PF_… numbers of winnt.h → our names.
FEATURES = {39: "avx", 40: "avx2", 41: "avx512f", 19: "neon", 43: "asimddp"}
GUESTS = {"vmware": "VMware guest", "virtualbox": "VirtualBox guest", "virtual machine": "Hyper-V guest"}


def read_windows() -> Hardware:
    """This machine; what PowerShell does not answer is unknown."""
    try:
        answer = subprocess.run(
            ["powershell", "-NoProfile", "-NonInteractive", "-Command", QUERY],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    return hardware_from_cim(answer, f"Windows {platform.release()} {platform.version()}", _feature_test())


def hardware_from_cim(text: str, operating_system: str, has_feature: Callable[[int], bool]) -> Hardware:
    """The machine that the answer to `QUERY` describes, one entry a socket; it counts caches in KiB, clocks in MHz."""
    sets = known_instruction_sets(name for number, name in FEATURES.items() if has_feature(number))
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    rows = _mapping(answer)
    listed = rows.get("processors")
    sockets = [one for one in (listed if isinstance(listed, list) else [listed]) if isinstance(one, dict)]
    system = _mapping(rows.get("system"))
    first = sockets[0] if sockets else {}
    model = f"{system.get('Manufacturer', '')} {system.get('Model', '')}".lower()
    clock_mhz = _number(first.get("MaxClockSpeed"))
    cores = sum(_number(socket.get("NumberOfCores")) or 0 for socket in sockets) or None
    threads = sum(_number(socket.get("NumberOfLogicalProcessors")) or 0 for socket in sockets) or None
    return Hardware(
        cpu_model=str(first.get("Name") or "").strip() or "unknown",
        physical_cores=cores,
        logical_cores=threads,
        threads_per_core=threads_per_core(cores, threads),
        caches=_caches(first),
        instruction_sets=sets,
        frequency_hz=clock_mhz * 1e6 if clock_mhz else None,
        memory_bytes=_number(system.get("TotalPhysicalMemory")),
        virtualisation=next((name for sign, name in GUESTS.items() if sign in model), "none" if system else "unknown"),
        operating_system=operating_system,
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int | None:
    """CIM gives numbers as numbers, and 64-bit ones at times as text."""
    number = parse_number(str(value))
    return number if number and number > 0 else None


def _caches(socket: dict[str, Any]) -> dict[str, int]:
    """Win32_Processor adds a level up over the socket's cores; L2 is one a core on the CPUs of today."""
    per_core = (_number(socket.get("L2CacheSize")) or 0) // (_number(socket.get("NumberOfCores")) or 1)
    sizes = {"L2": per_core, "L3": _number(socket.get("L3CacheSize")) or 0}
    return {level: kib * 1024 for level, kib in sizes.items() if kib}


def _feature_test() -> Callable[[int], bool]:
    if platform.system() != "Windows":
        return lambda number: False
    import ctypes

    kernel32 = ctypes.CDLL("kernel32.dll")
    return lambda number: bool(kernel32.IsProcessorFeaturePresent(number))
