"""Read the hardware of a Linux machine from `/proc` and `/sys`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from inferbench_lib.machine.hardware import known_instruction_sets, threads_per_core
from inferbench_lib.records import Machine
from inferbench_lib.timing.procfs import parse_cpu_list, parse_fields, parse_number, read_number, read_text

# (implementer, part) → core name, from Linux arch/arm64/include/asm/cputype.h.
ARM_CORES = {
    ("0x41", "0xd03"): "Cortex-A53", ("0x41", "0xd04"): "Cortex-A35", ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57", ("0x41", "0xd08"): "Cortex-A72", ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75", ("0x41", "0xd0b"): "Cortex-A76", ("0x41", "0xd0d"): "Cortex-A77",
    ("0x41", "0xd0c"): "Neoverse N1", ("0x41", "0xd40"): "Neoverse V1", ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd44"): "Cortex-X1", ("0x41", "0xd46"): "Cortex-A510", ("0x41", "0xd47"): "Cortex-A710",
    ("0x41", "0xd48"): "Cortex-X2", ("0x41", "0xd49"): "Neoverse N2", ("0x41", "0xd4d"): "Cortex-A715",
    ("0x41", "0xd4e"): "Cortex-X3", ("0x41", "0xd4f"): "Neoverse V2", ("0xc0", "0xac3"): "Ampere-1",
    ("0x61", "0x022"): "Apple M1 Icestorm", ("0x61", "0x023"): "Apple M1 Firestorm",
    ("0x61", "0x032"): "Apple M2 Blizzard", ("0x61", "0x033"): "Apple M2 Avalanche",
}  # fmt: skip
# DMI vendor or product, in lower case → what a guest runs under (systemd's detect-virt uses the same strings).
HYPERVISORS = {
    "vmware": "VMware", "innotek": "VirtualBox", "virtualbox": "VirtualBox", "microsoft corporation": "Hyper-V",
    "amazon ec2": "Amazon EC2", "google": "Google Compute Engine", "qemu": "QEMU", "kvm": "KVM", "xen": "Xen",
    "parallels": "Parallels", "firecracker": "Firecracker",
}  # fmt: skip
_ARM_FIELDS = {"CPU implementer", "CPU part"}
CONTAINERS = {"docker": "Docker", "kubepods": "Kubernetes", "libpod": "Podman", "lxc": "LXC"}


def read_linux(root: Path = Path("/")) -> Machine:
    """Return the hardware that the folders `proc`, `sys` and `etc` under `root` describe."""
    cpus = parse_cpuinfo(read_text(root / "proc/cpuinfo") or "")
    first = cpus[0] if cpus else {}
    folders = cpu_folders(root)
    clocked = next((folder for folder in folders if (folder / "cpufreq").exists()), folders[0] if folders else root)
    cached = next((folder for folder in folders if (folder / "cache").exists()), root)
    nodes = tuple(root.glob("sys/devices/system/node/node[0-9]*"))
    device_tree_model = (read_text(root / "proc/device-tree/model") or "").rstrip("\0")
    kernel_release = read_text(root / "proc/sys/kernel/osrelease") or ""
    cores, siblings = physical_cores(cpus), sibling_lists(folders)
    return Machine(
        cpu_model=cpu_model(cpus) or device_tree_model or "unknown",
        physical_cores=cores or len(set(siblings)) or None,
        logical_cores=len(cpus) or None,
        threads_per_core=max(map(len, siblings), default=None) or threads_per_core(cores, len(cpus)),
        core_kinds=core_kinds(root, cpus),
        caches=read_caches(cached),
        cache_shared_by=read_cache_sharing(cached),
        numa_nodes=len(nodes) or None,
        instruction_sets=known_instruction_sets(first.get("flags", first.get("Features", "")).split()),
        frequency_hz=_frequency_hz(folders, first),
        governor=read_text(clocked / "cpufreq/scaling_governor") or "unknown",
        huge_pages=chosen_word(read_text(root / "sys/kernel/mm/transparent_hugepage/enabled") or ""),
        memory_bytes=parse_memory_bytes(read_text(root / "proc/meminfo") or ""),
        steal_share=parse_steal_share(read_text(root / "proc/stat") or ""),
        virtualisation=virtualisation(
            first,
            kernel_release,
            " ".join(read_text(root / f"sys/class/dmi/id/{name}") or "" for name in ("sys_vendor", "product_name")),
            _container(root),
        ),
        operating_system=operating_system(read_text(root / "etc/os-release") or "", kernel_release),
    )


def parse_cpuinfo(text: str) -> list[dict[str, str]]:
    """Return one mapping per logical CPU of `/proc/cpuinfo`; a block without a `processor` line is left out."""
    blocks = (parse_fields(block) for block in re.split(r"\n\s*\n", text))
    return [block for block in blocks if parse_number(block.get("processor", "")) is not None]


def cpu_model(cpus: list[dict[str, str]]) -> str:
    """Return the model name (POWER: `cpu`, RISC-V: `uarch`), on ARM the distinct cores; empty where unknown."""
    names = {cpu[field]: None for field in ("model name", "cpu", "uarch") for cpu in cpus if cpu.get(field)}
    if not names:
        names = {_arm_name(cpu["CPU implementer"], cpu["CPU part"]): None for cpu in cpus if cpu.keys() >= _ARM_FIELDS}
    return " + ".join(" ".join(name.split()) for name in names)


def physical_cores(cpus: list[dict[str, str]]) -> int | None:
    """Return the number of distinct (package, core) pairs; None where `/proc/cpuinfo` does not number cores."""
    cores = {(cpu["physical id"], cpu["core id"]) for cpu in cpus if "physical id" in cpu and "core id" in cpu}
    return len(cores) or None


def cpu_folders(root: Path) -> tuple[Path, ...]:
    """Return `cpu0`, `cpu1` … of `/sys`, offline ones included, in the order of their numbers."""
    folders = root.glob("sys/devices/system/cpu/cpu[0-9]*")
    return tuple(sorted(folders, key=lambda folder: parse_number(folder.name.removeprefix("cpu")) or 0))


def sibling_lists(folders: Iterable[Path]) -> list[frozenset[int]]:
    """Return, per CPU with a known topology, the hardware threads of its core."""
    found = []
    for topology in (folder / "topology" for folder in folders):
        listed = parse_cpu_list(read_text(topology / "thread_siblings_list") or "")
        siblings = listed or parse_cpu_mask(read_text(topology / "thread_siblings") or "")
        if siblings:
            found.append(siblings)
    return found


def core_kinds(root: Path, cpus: list[dict[str, str]]) -> dict[str, int]:
    """Return the logical CPUs per kind of core, where there are several: Intel's by PMU, ARM's by part number."""
    names = {"cpu_core": "performance", "cpu_atom": "efficiency", "cpu_lowpower": "low power"}
    hybrid = {
        name: len(parse_cpu_list(read_text(root / f"sys/devices/{sign}/cpus") or "")) for sign, name in names.items()
    }
    kinds = {name: count for name, count in hybrid.items() if count}
    parts = Counter(_arm_name(cpu["CPU implementer"], cpu["CPU part"]) for cpu in cpus if cpu.keys() >= _ARM_FIELDS)
    kinds = kinds or dict(parts)
    return kinds if len(kinds) > 1 else {}


def read_caches(cpu_folder: Path) -> dict[str, int]:
    """Return the bytes of one cache per level, from a CPU's `cache` folder."""
    sizes = {name: parse_cache_bytes(read_text(index / "size") or "") for name, index in _cache_folders(cpu_folder)}
    return {name: size for name, size in sizes.items() if size}


def read_cache_sharing(cpu_folder: Path) -> dict[str, int]:
    """Return the logical CPUs that share one cache, per level."""
    shared = {}
    for name, index in _cache_folders(cpu_folder):
        listed = parse_cpu_list(read_text(index / "shared_cpu_list") or "")
        shared[name] = len(listed or parse_cpu_mask(read_text(index / "shared_cpu_map") or ""))
    return {name: count for name, count in shared.items() if count}


def _cache_folders(cpu_folder: Path) -> list[tuple[str, Path]]:
    found = []
    for index in sorted(cpu_folder.glob("cache/index[0-9]*")):
        level, kind = read_text(index / "level") or "", read_text(index / "type") or ""
        if level in ("1", "2", "3", "4") and kind:
            suffix = {"Data": "d", "Instruction": "i"}.get(kind, "") if level == "1" else ""
            found.append((f"L{level}{suffix}", index))
    return found


def parse_cache_bytes(text: str) -> int | None:
    """Return the bytes of a size such as "48K"; None for anything else."""
    scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:])
    number = parse_number(text[:-1] if scale else text)
    return number * (scale or 1) if number and number > 0 else None


def parse_cpu_mask(text: str) -> frozenset[int]:
    """Return the CPU numbers of a kernel mask such as "00000000,00000003"; none where the text is no mask."""
    digits = text.strip().replace(",", "")
    if not re.fullmatch(r"[0-9a-fA-F]{1,4096}", digits):
        return frozenset()
    mask = int(digits, 16)
    return frozenset(bit for bit in range(mask.bit_length()) if mask >> bit & 1)


def parse_memory_bytes(meminfo: str) -> int | None:
    """Return the bytes of `MemTotal` in `/proc/meminfo`, which counts kibibytes."""
    kibibytes = parse_number(parse_fields(meminfo).get("MemTotal", "").partition(" ")[0])
    return kibibytes * 1024 if kibibytes and kibibytes > 0 else None


def parse_steal_share(stat: str) -> float | None:
    """Return steal time over all time since boot, from the first line of `/proc/stat` (proc(5): its 8th number)."""
    words = (stat.splitlines() or [""])[0].split()
    ticks = [parse_number(word) for word in words[1:9]]
    counted = [tick for tick in ticks if tick is not None]
    if words[:1] != ["cpu"] or len(counted) < 8 or min(counted) < 0 or not any(counted):
        return None
    return counted[7] / sum(counted)


def chosen_word(text: str) -> str:
    """Return the word in brackets of a kernel setting such as "always [madvise] never"."""
    chosen = re.search(r"\[(\w+)\]", text)
    return chosen.group(1) if chosen else "unknown"


def virtualisation(cpu: Mapping[str, str], kernel_release: str, dmi: str, container: str) -> str:
    """Return hypervisor and container, such as "KVM guest, Docker container"; "none" where the CPU reports none."""
    if "microsoft" in kernel_release.lower():
        guest = "WSL"
    else:
        named = next((name for sign, name in HYPERVISORS.items() if sign in dmi.lower()), "")
        is_guest = "hypervisor" in cpu.get("flags", "").split()
        # Vendors of hypervisors sell computers too: an x86 CPU without the hypervisor bit is one of those.
        is_guest = is_guest or bool(named and "flags" not in cpu)
        guest = (f"{named} guest" if named else "virtual machine") if is_guest else ""
    return ", ".join(filter(None, (guest, container))) or ("none" if "flags" in cpu or dmi.strip() else "unknown")


def operating_system(os_release: str, kernel_release: str) -> str:
    """Return a name such as "Debian GNU/Linux 12 (bookworm), kernel 6.1.0-18-amd64"."""
    pretty = re.search(r'^PRETTY_NAME="?([^"\n]*)"?', os_release, re.MULTILINE)
    name = pretty.group(1) if pretty else "Linux"
    return f"{name}, kernel {kernel_release}" if kernel_release else name


def _arm_name(implementer: str, part: str) -> str:
    return ARM_CORES.get((implementer, part), f"ARM core {implementer}/{part}")


def _frequency_hz(folders: Iterable[Path], cpu: Mapping[str, str]) -> float | None:
    clocks_khz = [read_number(folder / "cpufreq/cpuinfo_max_freq") for folder in folders]
    highest_khz = max((clock for clock in clocks_khz if clock and clock > 0), default=None)
    if highest_khz:
        return highest_khz * 1e3
    clock_mhz = cpu.get("cpu MHz", "")
    is_number = re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", clock_mhz)
    return float(clock_mhz) * 1e6 or None if is_number else None


def _container(root: Path) -> str:
    groups = read_text(root / "proc/1/cgroup") or ""
    if (root / ".dockerenv").exists():
        name = "Docker"
    elif (root / "run/.containerenv").exists():
        name = "Podman"
    else:
        name = next((name for sign, name in CONTAINERS.items() if sign in groups), "")
    return f"{name} container" if name else ""
