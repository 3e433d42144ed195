"""Pictures as bytes: a figure as PNG, and the smallest form in which a page can carry a picture."""

from __future__ import annotations

import base64
import struct
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 144
CSS_PIXELS_PER_INCH = 96
COLOURS = 64
"""Flat colours with smoothed edges need no more, and a picture has a third of the size that it has in full colour."""


def png(figure: Figure) -> bytes:
    """The figure's picture in a palette of its own, the same bytes for the same figure."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas, packed = FigureCanvasAgg(figure), BytesIO()
    canvas.draw()
    flat = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    flat.save(packed, format="PNG", optimize=True, dpi=(figure.dpi, figure.dpi))
    return packed.getvalue()


def data_uri(payload: str, media_type: str) -> str:
    """The picture as an address that holds it; a PNG (in base64) as lossless WebP where that is smaller."""
    payload = "".join(payload.split())
    if media_type == "image/png":
        from PIL import Image

        packed = BytesIO()
        Image.open(BytesIO(base64.b64decode(payload))).convert("RGBA").save(
            packed, format="WEBP", lossless=True, quality=80, method=3
        )
        webp = base64.b64encode(packed.getvalue()).decode("ascii")
        if len(webp) < len(payload):
            media_type, payload = "image/webp", webp
    return f"data:{media_type};base64,{payload}"


def css_size(payload: str, media_type: str) -> str:
    """Attributes with a PNG's size in CSS pixels, which keep the page from jumping; nothing for other kinds.

    Width and height are those of the PNG's header (W3C PNG specification, section 11.2.1).
    """
    if media_type != "image/png":
        return ""
    header = base64.b64decode("".join(payload[:64].split())[:32])
    width, height = (round(n * CSS_PIXELS_PER_INCH / DPI) for n in struct.unpack(">II", header[16:24]))
    return f' width="{width}" height="{height}"'
