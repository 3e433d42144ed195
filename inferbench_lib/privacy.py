"""Remove the traces of this machine (its paths, user and host) from texts and executed notebooks."""

from __future__ import annotations

import base64
import getpass
import gzip
import re
import socket
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
ORDINARY = frozenset(
    {"admin", "builder", "debian", "docker", "jovyan", "linux", "local", "localhost", "main", "master", "node"}
    | {"public", "root", "runner", "server", "system", "test", "ubuntu", "user", "worker"}
)
"""Names that are ordinary words: replaced only as parts of a path."""
SHORTEST_NAME = 3
_PICTURES = frozenset({"image/png", "image/jpeg"})
_MARKUP = frozenset({"text/html", "text/markdown", "image/svg+xml"})
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")
_NEUTRAL_WORD = re.compile(r"<(repo|environment|python|home|tmp|user|host)>")
_EMBEDDED = re.compile(r"(data:(?P<media_type>[\w/.+-]+);base64,)(?P<payload>[A-Za-z0-9+/=]+)")


def scrub_text(text: str) -> str:
    """Return `text` with this machine's folders, user and host replaced: `<repo>`, `<home>`, `<user>`, `<host>` …"""
    for pattern, word in _rules(str(ROOT), str(Path.home()), _user(), socket.gethostname()):
        text = pattern.sub(word, text)
    return text


@cache
def _rules(root: str, home: str, user: str, host: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    folders = {root: "<repo>", sys.prefix: "<environment>", sys.base_prefix: "<python>", home: "<home>"}
    folders |= {tempfile.gettempdir(): "<tmp>"}
    rules = [
        (rf"(?<![\w.<-]){re.escape(folder)}(?![\w-])", word)
        for folder, word in sorted(folders.items(), key=lambda item: -len(item[0]))
        if len(Path(folder).parts) > 1
    ]
    if user:
        rules.append((rf"(?i:([/\\](?:home|users)[/\\]){re.escape(user)})(?![\w-])", r"\1<user>"))
    rules += [
        (rf"(?<![\w.-]){re.escape(name)}(?![\w-])", word)
        for name, word in ((host, "<host>"), (host.partition(".")[0], "<host>"), (user, "<user>"))
        if len(name) >= SHORTEST_NAME and name.lower() not in ORDINARY
    ]
    return tuple((re.compile(pattern), word) for pattern, word in rules)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return ""


def scrub(notebook: NotebookNode) -> None:
    """Replace this machine's paths and names in every text of the notebook, in place.

    Downloads embedded in its HTML are cleaned too. Pictures are not changed.
    """
    for name in ("input_path", "output_path"):
        notebook.metadata.get("papermill", {}).pop(name, None)
    _scrub(notebook, is_markup=False)


def _scrub(node: Any, *, is_markup: bool) -> Any:
    if isinstance(node, str):
        return _scrub_markup(node) if is_markup else _scrub_plain(node)
    if isinstance(node, list):
        node[:] = [_scrub(item, is_markup=is_markup) for item in node]
    elif isinstance(node, dict):
        is_prose = node.get("cell_type") == "markdown"
        for key, value in node.items():
            if key in _PICTURES and isinstance(value, str):
                continue  # its alternative text is cleaned with the metadata
            node[key] = _scrub(value, is_markup=key in _MARKUP or (is_prose and key == "source"))
    return node


def _scrub_plain(text: str) -> str:
    """Clean the text between colour codes: the `m` at the end of a code must not look like part of a path."""
    pieces = _COLOUR.split(text)
    return "".join(piece if _COLOUR.fullmatch(piece) else scrub_text(piece) for piece in pieces)


def _scrub_markup(text: str) -> str:
    """Clean HTML or Markdown, where a neutral word must not become a tag and pictures must not change."""
    pieces, end = [], 0
    for found in _EMBEDDED.finditer(text):
        pieces += [_visibly(text[end : found.start()]), _scrub_embedded(found)]
        end = found.end()
    return "".join([*pieces, _visibly(text[end:])])


def _visibly(text: str) -> str:
    return _NEUTRAL_WORD.sub(r"&lt;\1&gt;", scrub_text(text))


def _scrub_embedded(found: re.Match[str]) -> str:
    is_packed = found["media_type"] == "application/gzip"
    if not is_packed and not re.match(r"text/|application/json", found["media_type"]):
        return found[0]
    payload = base64.b64decode(found["payload"])
    text = (gzip.decompress(payload) if is_packed else payload).decode()
    clean = scrub_text(text).encode()
    return found[1] + base64.b64encode(gzip.compress(clean, mtime=0) if is_packed else clean).decode("ascii")
