"""An executed notebook without where it was executed."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode

from inferbench_lib.privacy import scrub_text

_PICTURES = ("image/png", "image/jpeg")


def scrub(notebook: NotebookNode) -> None:
    """Take this machine's paths and names out of every text of the notebook, in place; pictures stay as they are."""
    for name in ("input_path", "output_path"):
        notebook.metadata.get("papermill", {}).pop(name, None)
    _scrub(notebook)


def _scrub(node: Any) -> Any:
    if isinstance(node, str):
        return scrub_text(node)
    if isinstance(node, list):
        node[:] = [_scrub(item) for item in node]
    elif isinstance(node, dict):
        for key in list(node):
            if key not in _PICTURES:
                node[key] = _scrub(node[key])
    return node
