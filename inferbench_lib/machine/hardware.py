"""Name the instruction sets, the threads per core and the microarchitecture of a CPU, whatever its operating system."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Iterable

# Instruction sets that decide how fast inference is: kernel flags of x86 and ARM (Linux: arch/x86/include/asm/
# cpufeatures.h, arch/arm64/include/uapi/asm/hwcap.h), in the order in which a page shows them.
INSTRUCTION_SETS = (
    "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_int8", "amx_bf16", "amx_fp16", "asimd", "neon", "asimddp", "asimdhp", "bf16", "i8mm", "sve", "sve2", "sme",
)  # fmt: skip


def known_instruction_sets(flags: Iterable[str]) -> tuple[str, ...]:
    """Return those of the flags that matter, in the order of `INSTRUCTION_SETS`."""
    present = frozenset(flags)
    return tuple(name for name in INSTRUCTION_SETS if name in present)


def threads_per_core(physical_cores: int | None, logical_cores: int | None) -> int | None:
    """Return the hardware threads per core, where every core has the same number."""
    if not physical_cores or not logical_cores or logical_cores % physical_cores:
        return None
    return logical_cores // physical_cores


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
