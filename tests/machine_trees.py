"""Recorded machines as small text archives: a folder tree in one file, each part under a line "-- path --"."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "fixtures" / "machines"


def parts(name: str) -> dict[str, str]:
    """Path → text of each part of the archive."""
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    pieces = re.split(r"^-- (\S+) --\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(pieces[::2], pieces[1::2], strict=True))


def unpack(name: str, root: Path) -> Path:
    """Writes the archive's parts below `root`, which it returns."""
    return write_tree(root, parts(name))


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Writes each text below `root`, which it returns."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root
