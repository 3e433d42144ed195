"""Read the hardware of a Mac from `sysctl`."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from inferbench_lib.machine.hardware import known_instruction_sets, threads_per_core
from inferbench_lib.records import Machine
from inferbench_lib.timing.procfs import parse_fields, parse_number

# sysctl's names → those of the Linux kernel (Apple: "Determining Instruction Set Characteristics").
FEATURES = {
    "AVX1.0": "avx", "AVX2": "avx2", "FMA": "fma", "F16C": "f16c", "AVX512F": "avx512f", "AVX512VNNI": "avx512_vnni",
    "hw.optional.arm.FEAT_DotProd": "asimddp", "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_BF16": "bf16", "hw.optional.arm.FEAT_I8MM": "i8mm", "hw.optional.arm.FEAT_SME": "sme",
    "hw.optional.neon": "asimd", "hw.optional.arm.AdvSIMD": "asimd",
}  # fmt: skip


def read_macos() -> Machine:
    """Return the hardware of this Mac; every field is unknown where `sysctl` does not answer."""
    try:
        answer = subprocess.run(
            ["/usr/sbin/sysctl", "hw", "machdep.cpu", "kern.osproductversion", "kern.hv_vmm_present"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return Machine(operating_system="macOS")
    return machine_from_sysctl(answer.stdout)


def machine_from_sysctl(text: str) -> Machine:
    """Return the hardware that lines such as "hw.ncpu: 8" describe; caches are those of the fastest kind of core."""
    values = parse_fields(text)
    words = " ".join(values.get(f"machdep.cpu.{name}", "") for name in ("features", "leaf7_features")).split()
    words += [name for name, value in values.items() if name.startswith("hw.optional.") and value == "1"]
    version = values.get("kern.osproductversion", "")
    frequency = _number(values, "hw.cpufrequency_max", "hw.cpufrequency")
    guest = {"1": "guest", "0": "none"}.get(values.get("kern.hv_vmm_present", ""), "unknown")
    cores = _number(values, "hw.physicalcpu", "machdep.cpu.core_count")
    threads = _number(values, "hw.logicalcpu", "machdep.cpu.thread_count", "hw.ncpu")
    return Machine(
        cpu_model=values.get("machdep.cpu.brand_string") or "unknown",
        physical_cores=cores,
        logical_cores=threads,
        threads_per_core=threads_per_core(cores, threads),
        core_kinds=_core_kinds(values),
        caches=_caches(values),
        cache_shared_by=_cache_sharing(values),
        instruction_sets=known_instruction_sets(FEATURES[word] for word in words if word in FEATURES),
        frequency_hz=None if frequency is None else float(frequency),
        memory_bytes=_number(values, "hw.memsize"),
        virtualisation=guest,
        operating_system=f"macOS {version}".strip(),
    )


def _caches(values: Mapping[str, str]) -> dict[str, int]:
    names = {"L1d": "l1dcachesize", "L1i": "l1icachesize", "L2": "l2cachesize", "L3": "l3cachesize"}
    sizes = {level: _number(values, f"hw.perflevel0.{name}", f"hw.{name}") for level, name in names.items()}
    return {level: size for level, size in sizes.items() if size}


def _core_kinds(values: Mapping[str, str]) -> dict[str, int]:
    """Return the logical CPUs per performance level, where there are several; the first level is the fastest."""
    counts = {
        values.get(f"hw.perflevel{level}.name", f"level {level}").lower(): _number(
            values, f"hw.perflevel{level}.logicalcpu"
        )
        for level in range(4)
    }
    kinds = {name: count for name, count in counts.items() if count}
    return kinds if len(kinds) > 1 else {}


def _cache_sharing(values: Mapping[str, str]) -> dict[str, int]:
    """Return the logical CPUs that share one cache: of the fastest kind of core, else from `hw.cacheconfig`.

    `hw.cacheconfig` holds the logical CPUs that share memory, L1, L2 and L3, in this order (Apple: <sys/sysctl.h>).
    """
    config = values.get("hw.cacheconfig", "").split()[1:4]
    shared = {level: parse_number(word) for level, word in zip(("L1d", "L2", "L3"), config, strict=False)}
    fast = {"L2": _number(values, "hw.perflevel0.cpusperl2"), "L3": _number(values, "hw.perflevel0.cpusperl3")}
    known = shared | {level: count for level, count in fast.items() if count}
    return {level: count for level, count in known.items() if count}


def _number(values: Mapping[str, str], *names: str) -> int | None:
    return next((n for name in names if (n := parse_number(values.get(name, ""))) is not None and n > 0), None)
