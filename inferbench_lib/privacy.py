"""Remove the origin from a text: paths of this machine, the user's name and the host's become neutral words."""

from __future__ import annotations

import getpass
import re
import socket
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
ORDINARY = frozenset(
    {"admin", "builder", "debian", "docker", "jovyan", "linux", "local", "localhost", "main", "master", "node"}
    | {"public", "root", "runner", "server", "system", "test", "ubuntu", "user", "worker"}
)
"""Names that are ordinary words: replaced only as parts of a path."""
SHORTEST_NAME = 3


def scrub_text(text: str) -> str:
    """Return `text` with this machine's folders, user and host replaced: `<repo>`, `<home>`, `<user>`, `<host>` …"""
    for replace in _rules(str(ROOT), str(Path.home()), _user(), socket.gethostname()):
        text = replace(text)
    return text


@cache
def _rules(root: str, home: str, user: str, host: str) -> tuple[Callable[[str], str], ...]:
    folders = {root: "<repo>", sys.prefix: "<environment>", sys.base_prefix: "<python>", home: "<home>"}
    folders |= {tempfile.gettempdir(): "<tmp>"}
    rules = [
        _folder(folder, word)
        for folder, word in sorted(folders.items(), key=lambda item: -len(item[0]))
        if len(Path(folder).parts) > 1
    ]
    if user:
        rules.append(_pattern(rf"(?i:([/\\](?:home|users)[/\\]){re.escape(user)})(?![\w-])", r"\1<user>"))
    rules += [
        _pattern(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", word)
        for name, word in ((host, "<host>"), (host.partition(".")[0], "<host>"), (user, "<user>"))
        if len(name) >= SHORTEST_NAME and name.lower() not in ORDINARY
    ]
    return tuple(rules)


def _folder(folder: str, word: str) -> Callable[[str], str]:
    return _pattern(rf"(?<![\w.<-]){re.escape(folder)}(?![\w-])", word)


def _pattern(pattern: str, word: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)
    return lambda text: compiled.sub(word, text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return ""
