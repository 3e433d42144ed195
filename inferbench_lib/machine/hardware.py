"""Read the hardware from what the operating system shows: `/proc` and `/sys` on Linux, `sysctl` on macOS.

Core counts and memory are psutil's (see facts.py); this file reads what psutil does not tell.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from inferbench_lib.records import Machine
from inferbench_lib.timing.procfs import parse_cpu_list, parse_fields, parse_number, read_number, read_text

NAMES: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("names.yaml").read_text("utf-8"))
INSTRUCTION_SETS: tuple[str, ...] = tuple(NAMES["instruction_sets"].split())
_ARM_FIELDS = {"CPU implementer", "CPU part"}


def read_linux(root: Path = Path("/")) -> Machine:
    """Return the hardware that the folders `proc`, `sys` and `etc` under `root` describe."""
    cpus = parse_cpuinfo(read_text(root / "proc/cpuinfo"))
    first = cpus[0] if cpus else {}
    folders = sorted(
        root.glob("sys/devices/system/cpu/cpu[0-9]*"), key=lambda folder: parse_number(folder.name[3:]) or 0
    )
    clocked = next((folder for folder in folders if (folder / "cpufreq").exists()), root)
    caches, cache_shared_by = _caches(next((folder for folder in folders if (folder / "cache").exists()), root))
    kernel_release = read_text(root / "proc/sys/kernel/osrelease")
    system = _group(r'^PRETTY_NAME="?([^"\n]*)"?', read_text(root / "etc/os-release")) or "Linux"
    dmi = " ".join(read_text(root / f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    return Machine(
        cpu_model=cpu_model(cpus) or read_text(root / "proc/device-tree/model").rstrip("\0") or "unknown",
        core_kinds=_core_kinds(root, cpus),
        caches=caches,
        cache_shared_by=cache_shared_by,
        numa_nodes=len([*root.glob("sys/devices/system/node/node[0-9]*")]) or None,
        instruction_sets=_instruction_sets(first.get("flags", first.get("Features", "")).split()),
        frequency_hz=_frequency_hz(folders, first),
        governor=read_text(clocked / "cpufreq/scaling_governor") or "unknown",
        huge_pages=_group(r"\[(\w+)\]", read_text(root / "sys/kernel/mm/transparent_hugepage/enabled")) or "unknown",
        virtualisation=virtualisation(first, kernel_release, dmi, _container(root)),
        operating_system=f"{system}, kernel {kernel_release}" if kernel_release else system,
    )


def read_macos() -> Machine:
    """Return the hardware of this Mac; every field is unknown where `sysctl` does not answer."""
    command = ["/usr/sbin/sysctl", "hw", "machdep.cpu", "kern.osproductversion", "kern.hv_vmm_present"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Machine(operating_system="macOS")
    return machine_from_sysctl(answer.stdout)


def machine_from_sysctl(text: str) -> Machine:
    """Return the hardware that lines such as "hw.ncpu: 8" describe; caches are those of the fastest kind of core.

    `hw.cacheconfig` holds the logical CPUs that share memory, L1, L2 and L3, in this order (Apple: <sys/sysctl.h>).
    """
    values = parse_fields(text)
    words = " ".join(values.get(f"machdep.cpu.{name}", "") for name in ("features", "leaf7_features")).split()
    words += [name for name, value in values.items() if name.startswith("hw.optional.") and value == "1"]

    def number(*names: str) -> int | None:
        return next((n for name in names if (n := parse_number(values.get(name, ""))) is not None and n > 0), None)

    levels = [f"hw.perflevel{level}" for level in range(4)]
    core_kinds = _known(
        (values.get(f"{level}.name", f"level {level[-1]}").lower(), number(f"{level}.logicalcpu")) for level in levels
    )
    sizes = {"L1d": "l1dcachesize", "L1i": "l1icachesize", "L2": "l2cachesize", "L3": "l3cachesize"}
    shared = zip(("L1d", "L2", "L3"), map(parse_number, values.get("hw.cacheconfig", "").split()[1:4]), strict=False)
    of_fastest = ((level, number(f"hw.perflevel0.cpusper{level.lower()}")) for level in ("L2", "L3"))
    frequency_hz = number("hw.cpufrequency_max", "hw.cpufrequency")
    return Machine(
        cpu_model=values.get("machdep.cpu.brand_string") or "unknown",
        core_kinds=core_kinds if len(core_kinds) > 1 else {},
        caches=_known((level, number(f"hw.perflevel0.{name}", f"hw.{name}")) for level, name in sizes.items()),
        cache_shared_by=_known(shared) | _known(of_fastest),
        instruction_sets=_instruction_sets(NAMES["sysctl_features"].get(word) for word in words),
        frequency_hz=None if frequency_hz is None else float(frequency_hz),
        virtualisation={"1": "guest", "0": "none"}.get(values.get("kern.hv_vmm_present", ""), "unknown"),
        operating_system=f"macOS {values.get('kern.osproductversion', '')}".strip(),
    )


def parse_cpuinfo(text: str) -> list[dict[str, str]]:
    """Return one mapping per logical CPU of `/proc/cpuinfo`; a block without a `processor` line is left out."""
    blocks = (parse_fields(block) for block in re.split(r"\n\s*\n", text))
    return [block for block in blocks if parse_number(block.get("processor", "")) is not None]


def cpu_model(cpus: list[dict[str, str]]) -> str:
    """Return the model name (POWER: `cpu`, RISC-V: `uarch`), on ARM the distinct cores; empty where unknown."""
    names = {cpu[field]: None for field in ("model name", "cpu", "uarch") for cpu in cpus if cpu.get(field)}
    return " + ".join(" ".join(name.split()) for name in names or dict.fromkeys(_arm_cores(cpus)))


def virtualisation(cpu: Mapping[str, str], kernel_release: str, dmi: str, container: str) -> str:
    """Return hypervisor and container, such as "KVM guest, Docker container"; "none" where the CPU reports none."""
    if "microsoft" in kernel_release.lower():
        guest = "WSL"
    else:
        named = next((name for sign, name in NAMES["hypervisors"].items() if sign in dmi.lower()), "")
        is_guest = "hypervisor" in cpu.get("flags", "").split()
        # Vendors of hypervisors sell computers too: an x86 CPU without the hypervisor bit is one of those.
        is_guest = is_guest or bool(named and "flags" not in cpu)
        guest = (f"{named} guest" if named else "virtual machine") if is_guest else ""
    return ", ".join(filter(None, (guest, container))) or ("none" if "flags" in cpu or dmi.strip() else "unknown")


def parse_cache_bytes(text: str) -> int | None:
    """Return the bytes of a size such as "48K"; None for anything else."""
    scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:])
    number = parse_number(text[:-1] if scale else text)
    return number * (scale or 1) if number and number > 0 else None


def _caches(cpu_folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Return, per level, the bytes of one cache and the logical CPUs that share it."""
    indexes = {}
    for index in sorted(cpu_folder.glob("cache/index[0-9]*")):
        level, kind = read_text(index / "level"), read_text(index / "type")
        if level in ("1", "2", "3", "4") and kind:
            suffix = {"Data": "d", "Instruction": "i"}.get(kind, "") if level == "1" else ""
            indexes[f"L{level}{suffix}"] = index
    return (
        _known((name, parse_cache_bytes(read_text(index / "size"))) for name, index in indexes.items()),
        _known((name, len(parse_cpu_list(read_text(index / "shared_cpu_list")))) for name, index in indexes.items()),
    )


def _core_kinds(root: Path, cpus: list[dict[str, str]]) -> dict[str, int]:
    """Return the logical CPUs per kind of core, where there are several: Intel's by PMU, ARM's by part number."""
    hybrid = _known(
        (name, len(parse_cpu_list(read_text(root / f"sys/devices/{pmu}/cpus"))))
        for pmu, name in NAMES["intel_core_kinds"].items()
    )
    kinds = hybrid or dict(Counter(_arm_cores(cpus)))
    return kinds if len(kinds) > 1 else {}


def _arm_cores(cpus: list[dict[str, str]]) -> list[str]:
    parts = [f"{cpu['CPU implementer']}/{cpu['CPU part']}" for cpu in cpus if cpu.keys() >= _ARM_FIELDS]
    return [NAMES["arm_cores"].get(part, f"ARM core {part}") for part in parts]


def _frequency_hz(folders: Iterable[Path], cpu: Mapping[str, str]) -> float | None:
    """Return the highest clock that any CPU can reach, else the clock that `/proc/cpuinfo` shows."""
    clocks_khz = [read_number(folder / "cpufreq/cpuinfo_max_freq") for folder in folders]
    highest_khz = max((clock for clock in clocks_khz if clock and clock > 0), default=None)
    if highest_khz:
        return highest_khz * 1e3
    clock_mhz = re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", cpu.get("cpu MHz", ""))
    return float(clock_mhz[0]) * 1e6 or None if clock_mhz else None


def _group(pattern: str, text: str) -> str:
    """Return what the group of a pattern matches at its first place, such as "madvise" of "always [madvise] never"."""
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else ""


def _container(root: Path) -> str:
    groups = read_text(root / "proc/1/cgroup")
    if (root / ".dockerenv").exists():
        name = "Docker"
    elif (root / "run/.containerenv").exists():
        name = "Podman"
    else:
        name = next((name for sign, name in NAMES["containers"].items() if sign in groups), "")
    return f"{name} container" if name else ""


def _instruction_sets(flags: Iterable[str | None]) -> tuple[str, ...]:
    present = frozenset(flags)
    return tuple(name for name in INSTRUCTION_SETS if name in present)


def _known(counts: Iterable[tuple[str, int | None]]) -> dict[str, int]:
    return {name: count for name, count in counts if count and count > 0}
