"""What this machine is: the one record that every run carries. It names no host, no user and no path."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from inferbench_lib.machine.apple import read_apple
from inferbench_lib.machine.environment import speed_environment
from inferbench_lib.machine.hardware import Hardware
from inferbench_lib.machine.linux import read_linux
from inferbench_lib.machine.microarchitecture import microarchitecture
from inferbench_lib.machine.software import git_state, library_versions, loaded_threadpools
from inferbench_lib.machine.windows import read_windows
from inferbench_lib.records import Machine
from inferbench_lib.timing.cgroup import memory_limit_bytes
from inferbench_lib.timing.nvml import Gpu, find_gpus
from inferbench_lib.timing.usable import usable_cpus

_CHECKOUT = Path(__file__).resolve().parents[2]


def read_machine() -> Machine:
    """This machine now. What it does not tell is None or "unknown"; nothing is raised for it.

    `threadpools` lists the libraries that are loaded at the time: read it where the work runs.
    """
    environment = speed_environment(os.environ)  # first: threadpoolctl adds KMP_DUPLICATE_LIB_OK when it is imported
    hardware = _read_hardware()
    count, reason = usable_cpus()
    gpus, gpu_reason = find_gpus()
    revision, is_dirty = git_state(_CHECKOUT)
    return Machine(
        cpu_model=hardware.cpu_model,
        architecture=platform.machine() or "unknown",
        physical_cores=hardware.physical_cores,
        logical_cores=hardware.logical_cores or os.cpu_count(),
        usable_cpus=count,
        usable_reason=reason,
        memory_bytes=hardware.memory_bytes,
        memory_limit_bytes=memory_limit_bytes(),
        caches=hardware.caches,
        numa_nodes=hardware.numa_nodes,
        instruction_sets=hardware.instruction_sets,
        frequency_hz=hardware.frequency_hz,
        governor=hardware.governor,
        microarchitecture=microarchitecture(),
        threads_per_core=hardware.threads_per_core,
        cache_shared_by=hardware.cache_shared_by,
        core_kinds=hardware.core_kinds,
        huge_pages=hardware.huge_pages,
        steal_share=hardware.steal_share,
        virtualisation=hardware.virtualisation,
        operating_system=hardware.operating_system,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions=library_versions(),
        threadpools=loaded_threadpools(),
        environment=environment,
        accelerators=tuple(gpu_text(gpu) for gpu in gpus),
        accelerator_reason=gpu_reason,
        git_revision=revision,
        git_dirty=is_dirty,
    )


def gpu_text(gpu: Gpu) -> str:
    """Such as "NVIDIA GeForce GTX 750 Ti, 2.1 GB, driver 550.54"."""
    memory = f", {gpu.memory_bytes / 1e9:.1f} GB" if gpu.memory_bytes else ""
    return f"{gpu.name}{memory}, driver {gpu.driver}"


def _read_hardware() -> Hardware:
    readers = {"linux": read_linux, "darwin": read_apple, "win32": read_windows}
    reader = readers.get(sys.platform)
    return reader() if reader else Hardware(operating_system=platform.system() or "unknown")
