"""Build the simulated device against the installed torch: once for each source, torch and interpreter."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

SOURCE = Path(__file__).with_name("simgpu.cpp")
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "simulated_device"


class NoCompiler(Exception):
    """There is no C++ compiler on this machine."""


def compiler() -> str:
    """The C++ compiler: $CXX, else c++ or g++ on the path. Raises NoCompiler."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            return name
    raise NoCompiler(
        "simulated device: expected a C++ compiler ($CXX, c++, g++ or clang++), found none; "
        "install one (Debian: apt install g++) to test the accelerator path"
    )


def flags() -> list[str]:
    """Compiler and linker flags for an extension module of the installed torch."""
    import torch

    package = Path(torch.__file__).parent
    lib = package / "lib"
    return [
        "-O1", "-std=c++20", "-shared", "-fPIC", "-w",
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}",
        f"-I{package / 'include'}", f"-I{package / 'include' / 'torch' / 'csrc' / 'api' / 'include'}",
        f"-I{sysconfig.get_paths()['include']}",
        f"-L{lib}", f"-Wl,-rpath,{lib}", "-lc10", "-ltorch_cpu",
    ]  # fmt: skip


def build() -> Path:
    """The extension module's path, built when the cache lacks it. Raises NoCompiler, CalledProcessError."""
    import torch

    command = [compiler(), str(SOURCE), *flags()]
    identity = "\0".join([SOURCE.read_text(), torch.__version__, sys.version, *command])
    target = CACHE / hashlib.sha256(identity.encode()).hexdigest()[:16] / "simgpu.so"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(f".{os.getpid()}.tmp")
        subprocess.run([*command, "-o", str(unfinished)], check=True)
        unfinished.replace(target)
    return target
