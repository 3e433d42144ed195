"""The software that a figure depends on: library versions, thread pools, environment variables, git revision."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

LIBRARIES = (
    "inferbench", "numpy", "scipy", "scikit-learn", "torch", "pandas", "matplotlib", "seaborn", "joblib",
    "psutil", "threadpoolctl", "nvidia-ml-py", "papermill", "nbconvert", "jupyterlab", "onnxruntime", "openvino",
    "treelite", "dask",
)  # fmt: skip
SPEED_VARIABLES = re.compile(
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|VECLIB|NUMEXPR|DNNL|ONEDNN|ATEN|TORCH|TORCHINDUCTOR|PYTORCH)_[A-Z0-9_]+"
    r"|CUDA_(VISIBLE_DEVICES|LAUNCH_BLOCKING|MODULE_LOADING|DEVICE_ORDER)|NVIDIA_TF32_OVERRIDE|MALLOC_ARENA_MAX"
)
# Numbers and words, in lists and pairs: no path, address, host or mail name can have this form.
SAFE_VALUE = re.compile(r"[A-Za-z0-9_]{1,40}([,:;=][A-Za-z0-9_]{1,40}){0,15}")
WITHHELD = "set (value withheld)"


def library_versions(names: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Versions of the installed ones, from their metadata: none is imported."""
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def speed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that change speed; a value that could tell a path, a host or a user is withheld."""
    return {
        name: value if SAFE_VALUE.fullmatch(value) else WITHHELD
        for name, value in sorted(environment.items())
        if SPEED_VARIABLES.fullmatch(name)
    }


def loaded_threadpools() -> tuple[str, ...]:
    """BLAS and OpenMP libraries that this process has loaded so far, such as "openblas 0.3.30 SkylakeX, 2 threads"."""
    from threadpoolctl import threadpool_info

    return tuple(dict.fromkeys(threadpool_text(pool) for pool in threadpool_info()))


def threadpool_text(pool: Mapping[str, Any]) -> str:
    """One entry of `threadpool_info()` in words, without its file path."""
    words = [pool["internal_api"], pool.get("version") or "", pool.get("architecture") or ""]
    threads = pool["num_threads"]
    return f"{' '.join(filter(None, words))}, {threads} thread{'s' if threads > 1 else ''}"


def git_state(folder: Path) -> tuple[str, bool | None]:
    """(revision, whether files differ from it) of the checkout whose top is `folder`, else ("unknown", None)."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != folder.resolve():
        return "unknown", None
    revision, changes = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain")
    return revision or "unknown", None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
