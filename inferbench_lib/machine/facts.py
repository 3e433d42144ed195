"""Describe this machine in the one record that every run carries: hardware, and the software that figures depend on.

It names no host, no user and no path.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from inferbench_lib.machine.hardware import NAMES, read_linux, read_macos
from inferbench_lib.records import Machine
from inferbench_lib.timing.nvml import Gpu, find_gpus
from inferbench_lib.timing.usable import memory_limit_bytes, usable_cpus

LIBRARIES = (
    "inferbench", "numpy", "scipy", "scikit-learn", "torch", "pandas", "matplotlib", "seaborn", "joblib",
    "psutil", "threadpoolctl", "nvidia-ml-py", "papermill", "nbconvert", "jupyterlab", "onnxruntime", "openvino",
    "treelite", "dask",
)  # fmt: skip
SPEED_VARIABLES = re.compile(
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|VECLIB|NUMEXPR|DNNL|ONEDNN|ATEN|TORCH|TORCHINDUCTOR|PYTORCH|MALLOC)_[A-Z0-9_]+_?"
    r"|CUDA_(VISIBLE_DEVICES|LAUNCH_BLOCKING|MODULE_LOADING|DEVICE_ORDER)|NVIDIA_TF32_OVERRIDE"
    r"|LD_PRELOAD|GLIBC_TUNABLES|PYTHONMALLOC|LOKY_MAX_CPU_COUNT"
)
KNOWN_WORDS = frozenset(NAMES["environment_words"].split())
WORD = re.compile(r"[A-Za-z0-9_.]+")
SEPARATORS = re.compile(r"[,:;= \[\]*+-]*")
NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?[kKmMgGbB]?")
NEVER_SHOWN = ("LD_PRELOAD", "GLIBC_TUNABLES")
WITHHELD = "set (value withheld)"
_CHECKOUT = Path(__file__).resolve().parents[2]


def read_machine() -> Machine:
    """Return this machine now; an unknown fact is None or "unknown", never an error.

    `threadpools` lists the libraries that are loaded at the time: call this where the work runs.
    """
    import psutil

    environment = speed_environment(os.environ)  # first: threadpoolctl adds KMP_DUPLICATE_LIB_OK when it is imported
    reader = {"linux": read_linux, "darwin": read_macos}.get(sys.platform)
    hardware = reader() if reader else Machine(operating_system=platform.system() or "unknown")
    cores, threads = psutil.cpu_count(logical=False), psutil.cpu_count()
    count, reason = usable_cpus()
    gpus, gpu_reason = find_gpus()
    revision, is_dirty = git_state(_CHECKOUT)
    return replace(
        hardware,
        architecture=platform.machine() or "unknown",
        physical_cores=cores,
        logical_cores=threads,
        # Rounded up: some cores of a hybrid CPU have fewer threads, and some threads may be offline.
        threads_per_core=-(-threads // cores) if cores and threads else None,
        memory_bytes=psutil.virtual_memory().total,
        steal_share=steal_share(psutil.cpu_times()._asdict()),
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


def steal_share(times_s: Mapping[str, float]) -> float | None:
    """Return the CPU time since boot that the hypervisor took; user time includes guest time."""
    total_s = sum(seconds for name, seconds in times_s.items() if not name.startswith("guest"))
    return times_s["steal"] / total_s if "steal" in times_s and total_s else None


def microarchitecture() -> str:
    """Return archspec's name, such as "zen3 (x86_64_v3)", with its generic level; "unknown" where it has none.

    archspec takes the newest microarchitecture whose instruction sets are all present. A guest that hides instruction
    sets therefore gets the name of an older one, which is what its programs can use.
    """
    try:
        import archspec.cpu

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where it cannot ask the system, and returns the generic level
            host = archspec.cpu.host()
    except (ImportError, OSError, ValueError, LookupError, subprocess.SubprocessError):
        return "unknown"
    level = host.generic.name
    return host.name if host.name == level else f"{host.name} ({level})"


def gpu_text(gpu: Gpu) -> str:
    """Return a line such as "NVIDIA GeForce GTX 750 Ti, 2.1 GB, driver 550.54"."""
    memory = f", {gpu.memory_bytes / 1e9:.1f} GB" if gpu.memory_bytes else ""
    return f"{gpu.name}{memory}, driver {gpu.driver}"


def library_versions(names: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Return the versions of the installed libraries, from their metadata: none is imported."""
    versions = {}
    for name in names:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def loaded_threadpools() -> tuple[str, ...]:
    """Return the BLAS and OpenMP libraries loaded so far, such as "openblas 0.3.30 SkylakeX, 2 threads"."""
    from threadpoolctl import threadpool_info

    return tuple(dict.fromkeys(threadpool_text(pool) for pool in threadpool_info()))


def threadpool_text(pool: Mapping[str, Any]) -> str:
    """Return one entry of `threadpool_info()` in words, without its file path."""
    words = [pool["internal_api"], pool.get("version") or "", pool.get("architecture") or ""]
    threads = pool["num_threads"]
    return f"{' '.join(filter(None, words))}, {threads} thread{'s' if threads > 1 else ''}"


def speed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that change speed; a value that could reveal a path, a host or a user is withheld."""
    return {
        name: value if name not in NEVER_SHOWN and is_harmless(value) else WITHHELD
        for name, value in sorted(environment.items())
        if SPEED_VARIABLES.fullmatch(name)
    }


def is_harmless(value: str) -> bool:
    """Return True where a value consists of numbers and known words alone."""
    words = WORD.findall(value)
    known = all(NUMBER.fullmatch(word) or word.lower() in KNOWN_WORDS for word in words)
    return bool(words) and len(value) <= 200 and known and bool(SEPARATORS.fullmatch(WORD.sub("", value)))


def git_state(folder: Path) -> tuple[str, bool | None]:
    """Return (revision, True where files differ from it) of the checkout at `folder`, else ("unknown", None)."""
    if not (folder / ".git").exists():
        return "unknown", None
    command = ["git", "-C", str(folder), "status", "--porcelain=v2", "--branch"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown", None
    revision = re.search(r"^# branch\.oid ([0-9a-f]+)$", answer, re.MULTILINE)
    return revision[1] if revision else "unknown", any(not line.startswith("#") for line in answer.splitlines())
