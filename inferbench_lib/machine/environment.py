"""Environment variables that change speed, with the values that may be shown."""

from __future__ import annotations

import re
from collections.abc import Mapping

SPEED_VARIABLES = re.compile(
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|VECLIB|NUMEXPR|DNNL|ONEDNN|ATEN|TORCH|TORCHINDUCTOR|PYTORCH|MALLOC)_[A-Z0-9_]+_?"
    r"|CUDA_(VISIBLE_DEVICES|LAUNCH_BLOCKING|MODULE_LOADING|DEVICE_ORDER)|NVIDIA_TF32_OVERRIDE"
    r"|LD_PRELOAD|GLIBC_TUNABLES|PYTHONMALLOC|LOKY_MAX_CPU_COUNT"
)
# A value is shown where it is made of numbers and of words that these variables have in their manuals (OpenMP 5.2,
# chapter 21; libgomp; Intel OpenMP and oneMKL; OpenBLAS's core types; oneDNN's ISA names; torch's allocator): anything
# else, even one plain word, could name a user, a host or a file.
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


def speed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that change speed; a value that could tell a path, a host or a user is withheld."""
    return {
        name: value if name not in NEVER_SHOWN and is_harmless(value) else WITHHELD
        for name, value in sorted(environment.items())
        if SPEED_VARIABLES.fullmatch(name)
    }


def is_harmless(value: str) -> bool:
    """Whether a value is made of numbers and known words alone."""
    words = WORD.findall(value)
    known = all(NUMBER.fullmatch(word) or word.lower() in KNOWN_WORDS for word in words)
    return bool(words) and len(value) <= 200 and known and bool(SEPARATORS.fullmatch(WORD.sub("", value)))
