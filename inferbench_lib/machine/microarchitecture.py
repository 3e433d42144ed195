"""The processor's microarchitecture, from archspec: the newest known one whose instruction sets are all here."""

from __future__ import annotations

import subprocess
import warnings


def microarchitecture() -> str:
    """Such as "zen3 (x86_64_v3)", with the general level of its family; "unknown" where archspec cannot tell.

    A guest that hides instruction sets is an older microarchitecture to its programs, and is named so.
    """
    try:
        import archspec.cpu

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where it finds no way to ask, and answers with the family
            host = archspec.cpu.host()
    except (ImportError, OSError, ValueError, LookupError, subprocess.SubprocessError):
        return "unknown"
    level = host.generic.name
    return host.name if host.name == level else f"{host.name} ({level})"
