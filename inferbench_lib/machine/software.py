"""The software that a figure depends on: library versions, thread pools, torch's build, git revision."""

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


def library_versions(names: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Versions of the installed ones, from their metadata: none is imported."""
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def torch_build() -> dict[str, str]:
    """What torch was built with and what it uses here; it is imported for that.

    Names such as "version", "CPU capability", "oneDNN", "MKL", "OpenMP", "CUDA"; only what torch tells.
    """
    import torch

    uses_onednn = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    told = parse_torch_build(torch.__config__.show())
    return {"version": str(torch.__version__), **told, "oneDNN in use": "yes" if uses_onednn else "no"}


def parse_torch_build(text: str) -> dict[str, str]:
    """The lines of `torch.__config__.show()` that bear on speed."""
    patterns = {
        "CPU capability": r"CPU capability usage: (\S+)",
        "oneDNN": r"MKL-DNN v([0-9.]+)",
        "MKL": r"Math Kernel Library Version (\S+?)(?:-Product)?\s",
        "OpenMP": r"OpenMP ([0-9]+)",
        "CUDA": r"CUDA Runtime ([0-9.]+)",
        "cuDNN": r"CuDNN ([0-9.]+)",
        "BLAS": r"BLAS_INFO=(\w+)",
    }
    found = {name: re.search(pattern, text) for name, pattern in patterns.items()}
    return {name: match.group(1) for name, match in found.items() if match}


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
