"""Describe this machine in the one record that every run carries. It names no host, no user and no path."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import replace
from pathlib import Path

from inferbench_lib.machine.hardware import microarchitecture
from inferbench_lib.machine.linux import read_linux
from inferbench_lib.machine.macos import read_macos
from inferbench_lib.machine.software import git_state, library_versions, loaded_threadpools, speed_environment
from inferbench_lib.records import Machine
from inferbench_lib.timing.nvml import Gpu, find_gpus
from inferbench_lib.timing.usable import memory_limit_bytes, usable_cpus

_CHECKOUT = Path(__file__).resolve().parents[2]


def read_machine() -> Machine:
    """Return this machine now; an unknown fact is None or "unknown", never an error.

    `threadpools` lists the libraries that are loaded at the time: call this where the work runs.
    """
    environment = speed_environment(os.environ)  # first: threadpoolctl adds KMP_DUPLICATE_LIB_OK when it is imported
    hardware = _read_hardware()
    count, reason = usable_cpus()
    gpus, gpu_reason = find_gpus()
    revision, is_dirty = git_state(_CHECKOUT)
    return replace(
        hardware,
        architecture=platform.machine() or "unknown",
        logical_cores=hardware.logical_cores or os.cpu_count(),
        usable_cpus=count,
        usable_reason=reason,
        memory_limit_bytes=memory_limit_bytes(),
        microarchitecture=microarchitecture(),
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
    """Return a line such as "NVIDIA GeForce GTX 750 Ti, 2.1 GB, driver 550.54"."""
    memory = f", {gpu.memory_bytes / 1e9:.1f} GB" if gpu.memory_bytes else ""
    return f"{gpu.name}{memory}, driver {gpu.driver}"


def _read_hardware() -> Machine:
    reader = {"linux": read_linux, "darwin": read_macos}.get(sys.platform)
    return reader() if reader else Machine(operating_system=platform.system() or "unknown")
