"""Files that travel inside a page as links."""

from __future__ import annotations

import base64
import html


def data_link(name: str, payload: bytes, media_type: str) -> str:
    """HTML of a download that travels inside the page; display it with `IPython.display.HTML`."""
    encoded = base64.b64encode(payload).decode("ascii")
    size = f"{len(payload) / 1000:,.1f} kB" if len(payload) >= 1000 else f"{len(payload)} bytes"
    return (
        f'<a class="download" download="{html.escape(name)}" '
        f'href="data:{html.escape(media_type)};base64,{encoded}">{html.escape(name)}</a> <small>({size})</small>'
    )
