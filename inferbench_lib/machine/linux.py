"""Linux: hardware from `/proc` and `/sys`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from inferbench_lib.machine.hardware import Hardware, known_instruction_sets
from inferbench_lib.timing.procfs import parse_fields, read_number, read_text

# (implementer, part) → core name, from Linux arch/arm64/include/asm/cputype.h.
ARM_CORES = {
    ("0x41", "0xd03"): "Cortex-A53", ("0x41", "0xd08"): "Cortex-A72", ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse N1", ("0x41", "0xd40"): "Neoverse V1", ("0x41", "0xd46"): "Cortex-A510",
    ("0x41", "0xd47"): "Cortex-A710", ("0x41", "0xd4d"): "Cortex-A715", ("0x41", "0xd4e"): "Cortex-X3",
    ("0x41", "0xd49"): "Neoverse N2", ("0x41", "0xd4f"): "Neoverse V2",
    ("0x61", "0x022"): "Apple M1 Icestorm", ("0x61", "0x023"): "Apple M1 Firestorm",
    ("0x61", "0x032"): "Apple M2 Blizzard", ("0x61", "0x033"): "Apple M2 Avalanche",
}  # fmt: skip
# DMI vendor or product, in lower case → what a guest runs under (systemd's detect-virt uses the same strings).
HYPERVISORS = {
    "vmware": "VMware", "innotek": "VirtualBox", "virtualbox": "VirtualBox", "microsoft corporation": "Hyper-V",
    "amazon ec2": "Amazon EC2", "google": "Google Compute Engine", "qemu": "QEMU", "kvm": "KVM", "xen": "Xen",
    "parallels": "Parallels", "firecracker": "Firecracker",
}  # fmt: skip
CONTAINERS = {"docker": "Docker", "kubepods": "Kubernetes", "libpod": "Podman", "lxc": "LXC"}


def read_linux(root: Path = Path("/")) -> Hardware:
    """The hardware that the trees `proc`, `sys` and `etc` under `root` describe."""
    cpus = parse_cpuinfo(read_text(root / "proc/cpuinfo") or "")
    first = cpus[0] if cpus else {}
    cpu0 = root / "sys/devices/system/cpu/cpu0"
    folders = tuple(root.glob("sys/devices/system/node/node[0-9]*"))
    device_tree_model = (read_text(root / "proc/device-tree/model") or "").rstrip("\0")
    return Hardware(
        cpu_model=cpu_model(cpus) or device_tree_model or "unknown",
        physical_cores=physical_cores(cpus) or _cores_of_topology(root),
        logical_cores=len(cpus) or None,
        caches=read_caches(cpu0),
        numa_nodes=len(folders) or None,
        instruction_sets=known_instruction_sets(first.get("flags", first.get("Features", "")).split()),
        frequency_hz=_frequency_hz(root, first),
        governor=read_text(cpu0 / "cpufreq/scaling_governor") or "unknown",
        memory_bytes=parse_memory_bytes(read_text(root / "proc/meminfo") or ""),
        virtualisation=virtualisation(
            first,
            read_text(root / "proc/sys/kernel/osrelease") or "",
            " ".join(read_text(root / f"sys/class/dmi/id/{name}") or "" for name in ("sys_vendor", "product_name")),
            _container(root),
        ),
        operating_system=operating_system(
            read_text(root / "etc/os-release") or "", read_text(root / "proc/sys/kernel/osrelease") or ""
        ),
    )


def parse_cpuinfo(text: str) -> list[dict[str, str]]:
    """One mapping a logical CPU, from `/proc/cpuinfo`; a block that holds no `processor` line is left out."""
    blocks = (parse_fields(block) for block in re.split(r"\n\s*\n", text))
    return [block for block in blocks if block.get("processor", "").isdigit()]


def cpu_model(cpus: list[dict[str, str]]) -> str:
    """The marketing name (POWER says `cpu`, RISC-V `uarch`); on ARM the distinct cores. Empty where nothing tells."""
    names = {cpu[field]: None for field in ("model name", "cpu", "uarch") for cpu in cpus if cpu.get(field)}
    if not names:
        names = {_arm_name(cpu["CPU implementer"], cpu["CPU part"]): None for cpu in cpus if "CPU part" in cpu}
    return " + ".join(" ".join(name.split()) for name in names)


def physical_cores(cpus: list[dict[str, str]]) -> int | None:
    """Distinct (package, core) pairs, from `/proc/cpuinfo`; None where it does not number cores."""
    cores = {(cpu["physical id"], cpu["core id"]) for cpu in cpus if "physical id" in cpu and "core id" in cpu}
    return len(cores) or None


def read_caches(cpu_folder: Path) -> dict[str, int]:
    """Bytes of one cache a level, from a CPU's `cache` folder."""
    caches: dict[str, int] = {}
    for index in sorted(cpu_folder.glob("cache/index[0-9]*")):
        level, kind, size = (read_text(index / name) for name in ("level", "type", "size"))
        if level and kind and size:
            suffix = {"Data": "d", "Instruction": "i"}.get(kind, "") if level == "1" else ""
            caches[f"L{level}{suffix}"] = parse_cache_bytes(size)
    return caches


def parse_cache_bytes(text: str) -> int:
    """Bytes of a size such as "48K"."""
    scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
    return int(text.rstrip("KMG")) * scale


def parse_memory_bytes(meminfo: str) -> int | None:
    """`MemTotal` of `/proc/meminfo`, which counts kibibytes."""
    words = parse_fields(meminfo).get("MemTotal", "").split()
    return int(words[0]) * 1024 if words else None


def virtualisation(cpu: Mapping[str, str], kernel_release: str, dmi: str, container: str) -> str:
    """Hypervisor and container in words, such as "KVM guest, Docker container"; "none" where the CPU denies one."""
    if "microsoft" in kernel_release.lower():
        guest = "WSL"
    else:
        named = next((name for sign, name in HYPERVISORS.items() if sign in dmi.lower()), "")
        is_guest = "hypervisor" in cpu.get("flags", "").split()
        # Vendors of hypervisors sell computers too: without a hypervisor bit on x86 it is one of those.
        is_guest = is_guest or bool(named and "flags" not in cpu)
        guest = (f"{named} guest" if named else "virtual machine") if is_guest else ""
    return ", ".join(filter(None, (guest, container))) or ("none" if "flags" in cpu or dmi.strip() else "unknown")


def operating_system(os_release: str, kernel_release: str) -> str:
    """Such as "Debian GNU/Linux 12 (bookworm), kernel 6.1.0-18-amd64"."""
    pretty = re.search(r'^PRETTY_NAME="?([^"\n]*)"?', os_release, re.MULTILINE)
    name = pretty.group(1) if pretty else "Linux"
    return f"{name}, kernel {kernel_release}" if kernel_release else name


def _arm_name(implementer: str, part: str) -> str:
    return ARM_CORES.get((implementer, part), f"ARM core {implementer}/{part}")


def _cores_of_topology(root: Path) -> int | None:
    siblings = {
        text
        for folder in root.glob("sys/devices/system/cpu/cpu[0-9]*/topology")
        if (text := read_text(folder / "thread_siblings_list") or read_text(folder / "thread_siblings"))
    }
    return len(siblings) or None


def _frequency_hz(root: Path, cpu: Mapping[str, str]) -> float | None:
    clocks_khz = map(read_number, root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq"))
    highest_khz = max((clock for clock in clocks_khz if clock), default=None)
    if highest_khz:
        return highest_khz * 1e3
    return float(cpu["cpu MHz"]) * 1e6 if cpu.get("cpu MHz") else None


def _container(root: Path) -> str:
    groups = read_text(root / "proc/1/cgroup") or ""
    if (root / ".dockerenv").exists():
        name = "Docker"
    elif (root / "run/.containerenv").exists():
        name = "Podman"
    else:
        name = next((name for sign, name in CONTAINERS.items() if sign in groups), "")
    return f"{name} container" if name else ""
