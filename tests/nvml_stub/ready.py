"""The NVML stub, built where a compiler is found and kept under `.cache/`; nvidia-ml-py loads it as its library."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("nvml_stub.c")
CACHE = Path(__file__).parents[2] / ".cache" / "nvml_stub"


def build(*definitions: str) -> Path:
    """The folder that holds `libnvidia-ml.so.1`. No compiler: a skip that says so, a failure where CI=true."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        reason = "no C compiler: the NVML stub cannot be built (install gcc)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    name = hashlib.sha256(SOURCE.read_bytes() + " ".join(definitions).encode()).hexdigest()[:16]
    library = CACHE / name / "libnvidia-ml.so.1"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        unfinished = library.with_suffix(f".{os.getpid()}")
        options = ("-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", *definitions, "-o", str(unfinished))
        subprocess.run([compiler, *options, str(SOURCE)], check=True)
        unfinished.replace(library)
    return library.parent


def environment(library_folder: Path, trace: Path) -> dict[str, str]:
    """This environment, in which nvidia-ml-py finds the stub and the stub finds its trace."""
    return {**os.environ, "LD_LIBRARY_PATH": str(library_folder), "INFERBENCH_NVML_TRACE": str(trace)}
