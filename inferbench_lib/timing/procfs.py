"""Read the small files of `/proc` and `/sys`: a missing or forbidden file is empty, never an error."""

from __future__ import annotations

import re
from pathlib import Path


def read_text(path: Path) -> str:
    """Return the file's text without surrounding white space; empty where it is missing or forbidden."""
    try:
        return path.read_bytes().decode(errors="replace").strip()
    except OSError:
        return ""


def read_number(path: Path) -> int | None:
    """Return the file's one whole number, or None where it holds none."""
    return parse_number(read_text(path))


def parse_number(text: str) -> int | None:
    """Return a whole number of at most 20 digits, or None for anything else."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else None


def parse_cpu_list(text: str) -> frozenset[int]:
    """Return the CPU numbers of a kernel list such as "0-3,8,10-11"; none where the text is no such list."""
    text = text.strip()
    if not re.fullmatch(r"([0-9]{1,5}(-[0-9]{1,5})?(,|$))*", text):
        return frozenset()
    spans = (part.partition("-") for part in text.split(",") if part)
    return frozenset(cpu for first, _, last in spans for cpu in range(int(first), int(last or first) + 1))


def parse_fields(text: str) -> dict[str, str]:
    """Return the values of lines such as "Name:  value" by name; the first line of a name counts."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, separator, value = line.partition(":")
        if separator:
            fields.setdefault(name.strip(), value.strip())
    return fields
