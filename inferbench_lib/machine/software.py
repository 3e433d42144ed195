"""Read the software that a figure depends on: versions, thread pools, torch's build, environment variables, git."""

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
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|VECLIB|NUMEXPR|DNNL|ONEDNN|ATEN|TORCH|TORCHINDUCTOR|PYTORCH|MALLOC)_[A-Z0-9_]+_?"
    r"|CUDA_(VISIBLE_DEVICES|LAUNCH_BLOCKING|MODULE_LOADING|DEVICE_ORDER)|NVIDIA_TF32_OVERRIDE"
    r"|LD_PRELOAD|GLIBC_TUNABLES|PYTHONMALLOC|LOKY_MAX_CPU_COUNT"
)
# A value is shown where it consists of numbers and of words from the manuals of these variables (OpenMP 5.2, chapter
# 21; libgomp; Intel OpenMP and oneMKL; OpenBLAS's core types; oneDNN's ISA names; torch's allocator). Any other word
# could name a user, a host or a file.
WORDS = """
true false yes no on off none default auto disabled enabled
close spread master primary static dynamic guided nonmonotonic monotonic active passive mandatory
cores threads sockets ll_caches numa_domains
granularity fine core thread compact scatter balanced explicit proclist respect norespect verbose noverbose
warnings nowarnings infinite serial turnaround throughput
intel gnu tbb sequential lp64 ilp64 sse4_2 avx avx2 avx512 avx512_e1 avx512_e2 avx512_e3 avx512_e4 cbwr compatible
sse41 avx2_vnni avx2_vnni_2 avx512_core avx512_core_vnni avx512_core_bf16 avx512_core_fp16 avx512_core_amx
avx512_core_amx_fp16 avx10_1_512 avx10_1_512_amx all strict bf16 tf32 fp16 any
prescott core2 penryn dunnington nehalem sandybridge haswell skylakex cooperlake sapphirerapids atom barcelona
bulldozer piledriver steamroller excavator zen generic
armv8 armv8sve cortexa53 cortexa57 cortexa72 cortexa73 cortexa76 neoversen1 neoversen2 neoversev1 thunderx2t99
vortex vortexm4
max_split_size_mb garbage_collection_threshold expandable_segments roundup_power2_divisions backend native
cudamallocasync pinned_use_background_threads lazy eager fastest_first pci_bus_id
malloc malloc_debug pymalloc pymalloc_debug debug
"""
KNOWN_WORDS = frozenset(WORDS.split())
WORD = re.compile(r"[A-Za-z0-9_.]+")
SEPARATORS = re.compile(r"[,:;= \[\]*+-]*")
NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?[kKmMgGbB]?")
NEVER_SHOWN = ("LD_PRELOAD", "GLIBC_TUNABLES")
WITHHELD = "set (value withheld)"


def library_versions(names: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Return the versions of the installed libraries, from their metadata: none is imported."""
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def torch_build() -> dict[str, str]:
    """Return the libraries that torch was built with and uses here; this imports torch.

    Names are such as "version", "CPU capability", "oneDNN", "MKL", "OpenMP", "CUDA", where torch reports them.
    """
    import torch

    uses_onednn = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    told = parse_torch_build(torch.__config__.show())
    return {"version": str(torch.__version__), **told, "oneDNN in use": "yes" if uses_onednn else "no"}


def parse_torch_build(text: str) -> dict[str, str]:
    """Return the values in `torch.__config__.show()` that affect speed."""
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
