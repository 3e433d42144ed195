"""Reading the small files of `/proc` and `/sys`: missing and forbidden ones are None, never an error."""

from __future__ import annotations

import re
from pathlib import Path


def read_text(path: Path) -> str | None:
    """The file's text without the white space around it, or None where it is not there or may not be read."""
    try:
        return path.read_bytes().decode(errors="replace").strip()
    except OSError:
        return None


def read_number(path: Path) -> int | None:
    """The file's one whole number, or None where there is none."""
    return parse_number(read_text(path) or "")


def parse_number(text: str) -> int | None:
    """A whole number of at most 20 digits, or None for anything else."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else None


def parse_cpu_list(text: str) -> frozenset[int]:
    """CPU numbers of a kernel list such as "0-3,8,10-11"; none where the text is no such list."""
    text = text.strip()
    if not re.fullmatch(r"([0-9]{1,5}(-[0-9]{1,5})?(,|$))*", text):
        return frozenset()
    spans = (part.partition("-") for part in text.split(",") if part)
    return frozenset(cpu for first, _, last in spans for cpu in range(int(first), int(last or first) + 1))


def parse_fields(text: str) -> dict[str, str]:
    """Name → value of lines such as "Name:  value"; the first line of a name counts."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, separator, value = line.partition(":")
        if separator:
            fields.setdefault(name.strip(), value.strip())
    return fields
