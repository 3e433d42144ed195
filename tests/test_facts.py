"""Facts about machines: exact on recorded ones, complete and private on this one."""

from __future__ import annotations

import getpass
import platform
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from machine_trees import FOLDER, parts, unpack

from inferbench_lib.machine.facts import (
    git_state,
    gpu_text,
    library_versions,
    read_machine,
    speed_environment,
    steal_share,
    threadpool_text,
)
from inferbench_lib.machine.hardware import machine_from_sysctl, read_linux, virtualisation
from inferbench_lib.records import Machine
from inferbench_lib.timing.nvml import Gpu

KIB, MIB = 1 << 10, 1 << 20
VNNI = ("avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8")
ARM = ("asimd", "asimddp", "asimdhp", "bf16", "i8mm")

CLOUD = Machine(
    cpu_model="Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz",
    instruction_sets=("avx", "avx2", "fma", "f16c", "avx512f"), frequency_hz=2.499998e9,
    operating_system="Linux",
)  # fmt: skip

# Expected values of the recordings from util-linux: what `lscpu` says of them (tests/expected/lscpu there); of the
# others: read off the recording by hand.
MACHINES = {
    "laptop_tiger_lake": Machine(
        cpu_model="11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz", numa_nodes=1,
        caches={"L1d": 48 * KIB, "L1i": 32 * KIB, "L2": 1280 * KIB, "L3": 12 * MIB},
        instruction_sets=("avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni"),
        frequency_hz=4.7e9, governor="powersave", virtualisation="none", operating_system="Linux",
    ),
    "laptop_arrandale": Machine(
        cpu_model="Intel(R) Core(TM) i5 CPU M 560 @ 2.67GHz", numa_nodes=1,
        caches={"L1d": 32 * KIB, "L1i": 32 * KIB, "L2": 256 * KIB, "L3": 3 * MIB},
        frequency_hz=2.667e9, governor="ondemand", virtualisation="none", operating_system="Linux",
    ),
    "server_epyc_two_sockets": Machine(
        cpu_model="AMD EPYC 7451 24-Core Processor", numa_nodes=8,
        caches={"L1d": 32 * KIB, "L1i": 64 * KIB, "L2": 512 * KIB, "L3": 8 * MIB},
        instruction_sets=("avx", "avx2", "fma", "f16c"),
        frequency_hz=2.3e9, governor="performance", virtualisation="none", operating_system="Linux",
    ),
    "server_xeon_four_sockets": Machine(
        cpu_model="Intel(R) Xeon(R) CPU X7550 @ 2.00GHz", numa_nodes=3,
        caches={"L1d": 32 * KIB, "L1i": 32 * KIB, "L2": 256 * KIB, "L3": 18 * MIB},
        frequency_hz=1.996e9, governor="ondemand", virtualisation="none", operating_system="Linux",
    ),
    "server_opteron": Machine(
        cpu_model="AMD Opteron(tm) Processor 6328", numa_nodes=4,
        caches={"L1d": 16 * KIB, "L1i": 64 * KIB, "L2": 2 * MIB, "L3": 6 * MIB},
        instruction_sets=("avx", "fma", "f16c"),
        frequency_hz=3.2e9, governor="ondemand", virtualisation="none", operating_system="Linux",
    ),
    "server_sapphire_rapids": Machine(
        cpu_model="Intel(R) Xeon(R) Platinum 8480+",
        instruction_sets=(*VNNI, "amx_bf16"), frequency_hz=2e9, virtualisation="none", operating_system="Linux",
    ),
    "server_power8": Machine(
        cpu_model="POWER8NVL (raw), altivec supported", operating_system="Linux"
    ),
    "board_riscv": Machine(cpu_model="sifive,u74-mc", operating_system="Linux"),
    "mainframe_s390": Machine(operating_system="Linux"),
    "cloud_graviton3": Machine(
        cpu_model="Neoverse V1", instruction_sets=(*ARM, "sve"), operating_system="Linux"
    ),
    "laptop_apple_m2_linux": Machine(
        cpu_model="Apple M2 Blizzard", instruction_sets=ARM, operating_system="Linux"
    ),
    "phone_arm_three_kinds_of_core": Machine(
        cpu_model="Cortex-A510 + Cortex-A715 + Cortex-A710 + Cortex-X3",
        instruction_sets=ARM, frequency_hz=3.1872e9, governor="walt", operating_system="Linux",
        core_kinds={"Cortex-A510": 3, "Cortex-A715": 2, "Cortex-A710": 2, "Cortex-X3": 1},
    ),
    "guest_virtualbox": Machine(
        cpu_model="Intel(R) Core(TM) i5-3317U CPU @ 1.70GHz", numa_nodes=1,
        caches={"L1d": 32 * KIB, "L2": 6 * MIB},
        frequency_hz=3.8e9, governor="powersave", virtualisation="none", operating_system="Linux",
    ),
    "guest_wsl2": Machine(
        cpu_model="AMD Ryzen 7 5800X 8-Core Processor",
        instruction_sets=("avx", "avx2", "fma", "f16c"), frequency_hz=3.80001e9,
        virtualisation="WSL", operating_system="Ubuntu 24.04 LTS, kernel 5.15.153.1-microsoft-standard-WSL2",
    ),
    "container_cloud_guest": Machine(
        cpu_model="Intel(R) Xeon(R) Processor", numa_nodes=1,
        caches={"L1d": 48 * KIB, "L1i": 64 * KIB, "L2": 2 * MIB, "L3": 480 * MIB},
        instruction_sets=(*VNNI, "amx_bf16"), frequency_hz=2.6e9,
        virtualisation="virtual machine, Docker container",
        operating_system="Debian GNU/Linux 12 (bookworm), kernel 6.18.44-fc-v669",
    ),
    "mac_m2": Machine(
        cpu_model="Apple M2", instruction_sets=ARM,
        caches={"L1d": 128 * KIB, "L1i": 192 * KIB, "L2": 16 * MIB}, operating_system="macOS",
        cache_shared_by={"L2": 4}, core_kinds={"level 0": 4, "level 1": 4},
    ),
    "mac_m4": Machine(
        cpu_model="Apple M4 Max",
        instruction_sets=(*ARM, "sme"), caches={"L1d": 128 * KIB, "L1i": 192 * KIB, "L2": 16 * MIB},
        operating_system="macOS",
        cache_shared_by={"L2": 6}, core_kinds={"performance": 12, "efficiency": 4},
    ),
    "mac_skylake": Machine(
        cpu_model="Intel(R) Core(TM) i7-6700K CPU @ 4.00GHz", instruction_sets=("avx", "avx2", "fma", "f16c"),
        operating_system="macOS",
    ),
    "mac_sandy_bridge": Machine(
        cpu_model="Intel(R) Core(TM) i5-2557M CPU @ 1.70GHz",
        instruction_sets=("avx",), frequency_hz=1.7e9, operating_system="macOS",
    ),
    "mac_intel_i9": Machine(
        cpu_model="Intel(R) Core(TM) i9-9880H CPU @ 2.30GHz",
        instruction_sets=("avx", "avx2", "fma", "f16c"), frequency_hz=2.3e9,
        caches={"L1d": 32 * KIB, "L1i": 32 * KIB, "L2": 256 * KIB, "L3": 16 * MIB},
        cache_shared_by={"L1d": 2, "L2": 2, "L3": 16}, virtualisation="none", operating_system="macOS 13.6.1",
    ),
    "laptop_intel_hybrid": Machine(
        cpu_model="12th Gen Intel(R) Core(TM) i7-1260P", numa_nodes=1,
        core_kinds={"performance": 8, "efficiency": 8},
        caches={"L1d": 48 * KIB, "L1i": 32 * KIB, "L2": 1280 * KIB, "L3": 18 * MIB},
        cache_shared_by={"L1d": 2, "L1i": 2, "L2": 2, "L3": 16}, huge_pages="madvise",
        instruction_sets=("avx", "avx2", "fma", "f16c", "avx_vnni"),
        frequency_hz=4.7e9, governor="powersave", virtualisation="none", operating_system="Linux",
    ),
    "desktop_amd": Machine(
        cpu_model="AMD Ryzen 9 7950X 16-Core Processor", numa_nodes=1,
        huge_pages="always",
        caches={"L1d": 32 * KIB, "L1i": 32 * KIB, "L2": 1 * MIB, "L3": 32 * MIB},
        cache_shared_by={"L1d": 2, "L1i": 2, "L2": 2, "L3": 16},
        instruction_sets=("avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16"),
        frequency_hz=5.881e9, governor="schedutil", virtualisation="none", operating_system="Linux",
    ),
    "board_raspberry_pi": Machine(
        cpu_model="Cortex-A72",
        instruction_sets=("asimd",), frequency_hz=1.8e9, governor="ondemand", operating_system="Linux",
    ),
    "server_two_sockets_cpu_offline": Machine(
        cpu_model="Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", numa_nodes=2,
        caches={"L1d": 48 * KIB, "L1i": 32 * KIB, "L2": 1280 * KIB, "L3": 48 * MIB},
        cache_shared_by={"L1d": 2, "L1i": 2, "L2": 2, "L3": 4},
        instruction_sets=("avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni"),
        frequency_hz=3.2e9, governor="performance", virtualisation="none", operating_system="Linux",
    ),
    "container_quota_v1": replace(CLOUD, virtualisation="Amazon EC2 guest, Docker container"),
    "container_quota_v2": replace(CLOUD, virtualisation="Amazon EC2 guest, Podman container"),
    "guest_without_caches": Machine(
        cpu_model="QEMU Virtual CPU version 2.5+", frequency_hz=2.399996e9,
        virtualisation="QEMU guest", operating_system="Linux",
    ),
}  # fmt: skip


def read_recorded(name: str, folder: Path) -> Machine:
    """The recorded machine through the reader of its system."""
    archive = parts(name)
    if "sysctl" in archive:
        return machine_from_sysctl(archive["sysctl"])
    return read_linux(unpack(name, folder))


def test_every_recorded_machine_is_expected() -> None:
    """No recording lies unused."""
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(MACHINES)


@pytest.mark.parametrize("name", MACHINES)
def test_recorded_machine(name: str, tmp_path: Path) -> None:
    """What a recorded machine is, field by field."""
    assert asdict(read_recorded(name, tmp_path)) == asdict(MACHINES[name])


def test_nothing_to_read_is_all_unknown(tmp_path: Path) -> None:
    """A Linux without `/proc` and `/sys` is unknown, not an error; so is an empty answer of `sysctl`."""
    assert read_linux(tmp_path) == Machine(operating_system="Linux")
    assert machine_from_sysctl("") == Machine(operating_system="macOS")


@pytest.mark.parametrize(
    ("flags", "release", "dmi", "container", "expected"),
    [
        ("fpu hypervisor", "6.1.0", "QEMU Standard PC", "", "QEMU guest"),
        ("fpu hypervisor", "6.1.0", "Amazon EC2 m7i", "LXC container", "Amazon EC2 guest, LXC container"),
        ("fpu", "6.1.0", "Microsoft Corporation Surface Laptop 5", "", "none"),
        ("fpu", "6.1.0", "", "Docker container", "Docker container"),
    ],
)  # fmt: skip
def test_virtualisation(flags: str, release: str, dmi: str, container: str, expected: str) -> None:
    """A guest by its hypervisor bit and its vendor; a vendor of hypervisors also sells laptops."""
    assert virtualisation({"flags": flags}, release, dmi, container) == expected


def test_environment_keeps_numbers_and_words_and_withholds_the_rest() -> None:
    """Only variables that change speed are kept, and a value that could name a path, host or user is withheld."""
    environment = {
        "OMP_NUM_THREADS": "8",
        "OMP_PROC_BIND": "close,spread",
        "OPENBLAS_CORETYPE": "Haswell",
        "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:128,expandable_segments:True",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "MKL_CONFIG_FILE": "/home/someone/mkl.cfg",
        "TORCH_HOME": "C:\\Users\\someone",
        "KMP_HOST": "node.example.org",
        "OMP_CONTACT": "someone@example.org",
        "OMP_DISPLAY_ENV": "",
        "OMP_TOOL_LIBRARIES": "someone",
        "KMP_AFFINITY": "granularity=fine,compact,1,0",
        "GOMP_CPU_AFFINITY": "0-3 8",
        "MALLOC_ARENA_MAX": "2",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX",
        "LD_PRELOAD": "2",
        "HOME": "/home/someone",
        "AWS_SECRET": "abc",
    }
    withheld = "set (value withheld)"
    assert speed_environment(environment) == {
        "OMP_NUM_THREADS": "8",
        "OMP_PROC_BIND": "close,spread",
        "OPENBLAS_CORETYPE": "Haswell",
        "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:128,expandable_segments:True",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "MKL_CONFIG_FILE": withheld,
        "TORCH_HOME": withheld,
        "KMP_HOST": withheld,
        "OMP_CONTACT": withheld,
        "OMP_DISPLAY_ENV": withheld,
        "OMP_TOOL_LIBRARIES": withheld,
        "KMP_AFFINITY": "granularity=fine,compact,1,0",
        "GOMP_CPU_AFFINITY": "0-3 8",
        "MALLOC_ARENA_MAX": "2",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX",
        "LD_PRELOAD": withheld,
    }


def test_threadpools_are_words_without_paths() -> None:
    """Library, version, kernel and threads of one pool."""
    pool = {"internal_api": "openblas", "version": "0.3.30", "architecture": "SkylakeX", "num_threads": 2}
    assert threadpool_text(pool | {"filepath": "/home/someone/lib.so"}) == "openblas 0.3.30 SkylakeX, 2 threads"
    assert threadpool_text({"internal_api": "openmp", "version": None, "num_threads": 1}) == "openmp, 1 thread"


def test_gpu_in_words() -> None:
    """Name, memory where it is known, driver."""
    gpu = Gpu(name="NVIDIA GeForce GTX 750 Ti", driver="550.54", memory_bytes=2147483648)
    assert gpu_text(gpu) == "NVIDIA GeForce GTX 750 Ti, 2.1 GB, driver 550.54"
    assert gpu_text(Gpu(name="A", driver="1")) == "A, driver 1"


def test_versions_come_from_metadata() -> None:
    """A package that is not installed has no entry, and none is imported for its version."""
    import numpy

    assert library_versions(["numpy", "no-such-package-here"]) == {"numpy": numpy.__version__}
    code = (
        "import sys; from inferbench_lib.machine.facts import read_machine; read_machine();"
        "print(*{'torch', 'sklearn', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_git_state_follows_the_checkout(tmp_path: Path) -> None:
    """The revision and whether files differ from it; a folder inside another checkout is not one."""

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert git_state(tmp_path) == ("unknown", None)
    git("init")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_text("1")
    git("add", ".")
    git("commit", "-m", "one")
    assert git_state(tmp_path) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "inner" / "file").write_text("2")
    assert git_state(tmp_path) == (git("rev-parse", "HEAD"), True)
    assert git_state(tmp_path / "inner") == ("unknown", None)


def test_core_counts_and_memory_are_those_of_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads per core are rounded up: some cores of a hybrid CPU have one thread, and a thread may be offline."""
    import psutil

    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16 if logical else 12)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=16 << 30))
    machine = read_machine()
    assert (machine.physical_cores, machine.logical_cores, machine.threads_per_core) == (12, 16, 2)
    assert machine.memory_bytes == 16 << 30
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: None)
    assert read_machine().threads_per_core is None


def test_steal_is_a_share_of_all_time_without_guest_time_twice() -> None:
    """Guest time is part of user time; a system that counts no steal is unknown, and so is one without time."""
    assert steal_share({"user": 60.0, "idle": 38.0, "steal": 2.0, "guest": 10.0}) == 0.02
    assert steal_share({"user": 60.0, "idle": 38.0}) is None
    assert steal_share({"user": 0.0, "steal": 0.0}) is None


def test_this_machine_is_described_and_not_named() -> None:
    """Sane values, and neither host, user, home nor checkout path in any field."""
    machine = read_machine()
    assert machine.logical_cores is not None
    assert 1 <= machine.usable_cpus <= machine.logical_cores <= 4096
    assert machine.memory_bytes is None or machine.memory_bytes > 100e6
    assert machine.versions["torch"]
    assert platform.python_version() in machine.python
    assert machine.microarchitecture
    assert machine.threads_per_core in (None, 1, 2, 4, 8)
    assert bool(machine.accelerators) != bool(machine.accelerator_reason)
    text = repr(machine)
    for private in (str(Path.home()), str(Path(__file__).parents[1]), repr(getpass.getuser()), repr(platform.node())):
        assert private not in text
