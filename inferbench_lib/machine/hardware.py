"""What every system is asked about itself, and the names that inferbench gives to instruction sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Instruction sets that decide how fast inference is: kernel flags of x86 and ARM (Linux: arch/x86/include/asm/
# cpufeatures.h, arch/arm64/include/uapi/asm/hwcap.h), in the order in which a reader wants them.
INSTRUCTION_SETS = (
    "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_int8", "amx_bf16", "amx_fp16", "asimd", "neon", "asimddp", "asimdhp", "bf16", "i8mm", "sve", "sve2", "sme",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A machine as its operating system describes it; None or "unknown" where it does not tell.

    `caches` holds the bytes of one cache of each level (L1d, L1i, L2, L3) as the first CPU sees it. `frequency_hz`
    is the highest clock that the CPU claims, or, where only that is told, the clock that it had. `cache_shared_by`
    holds the logical CPUs that share one cache of each level, `core_kinds` the logical CPUs of each kind where there
    are several, `steal_share` what a hypervisor took of the CPUs' time since they were started.
    """

    cpu_model: str = "unknown"
    physical_cores: int | None = None
    logical_cores: int | None = None
    caches: Mapping[str, int] = field(default_factory=dict)
    numa_nodes: int | None = None
    instruction_sets: tuple[str, ...] = ()
    frequency_hz: float | None = None
    governor: str = "unknown"
    memory_bytes: int | None = None
    virtualisation: str = "unknown"
    threads_per_core: int | None = None
    cache_shared_by: Mapping[str, int] = field(default_factory=dict)
    core_kinds: Mapping[str, int] = field(default_factory=dict)
    huge_pages: str = "unknown"
    steal_share: float | None = None
    operating_system: str = "unknown"


def known_instruction_sets(flags: Iterable[str]) -> tuple[str, ...]:
    """Those of the flags that matter, in the order of `INSTRUCTION_SETS`."""
    present = frozenset(flags)
    return tuple(name for name in INSTRUCTION_SETS if name in present)


def threads_per_core(physical_cores: int | None, logical_cores: int | None) -> int | None:
    """Hardware threads of a core, where every core has as many."""
    if not physical_cores or not logical_cores or logical_cores % physical_cores:
        return None
    return logical_cores // physical_cores
