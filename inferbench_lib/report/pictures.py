"""Pictures as bytes: a figure as PNG, and the smallest form in which a page can carry a picture."""

from __future__ import annotations

import base64
import struct
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

DPI = 144
CSS_PIXELS_PER_INCH = 96
NEAR = 16
"""Colours that differ by no more, of 255 in each of red, green and blue, become the commonest of them: flat colours
with smoothed edges lose nothing to the eye, and a picture has a quarter of the size that it has in full colour."""
MOST_COLOURS = 256  # of a PNG's palette


def png(figure: Figure) -> bytes:
    """The figure's picture in a palette of its own, the same bytes for the same figure."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas, packed = FigureCanvasAgg(figure), BytesIO()
    canvas.draw()
    numbers, colours = few_colours(np.asarray(canvas.buffer_rgba())[..., :3])
    flat = Image.fromarray(numbers)
    flat.putpalette(colours.tobytes())
    flat.save(packed, format="PNG", optimize=True, dpi=(figure.dpi, figure.dpi))
    return packed.getvalue()


def few_colours(pixels: NDArray[np.uint8], near: int = NEAR) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The number of each pixel's colour (height × width), and those colours (n × 3), from height × width × 3.

    A colour becomes the commonest one within `near` of it, or within twice as much where 256 colours do not suffice.
    """
    import numpy as np

    packed = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
    values, where, counts = np.unique(packed, return_inverse=True, return_counts=True)
    seen = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1)
    becomes = np.full(len(values), -1)
    chosen: list[NDArray[np.int32]] = []
    for place in np.argsort(-counts, kind="stable"):
        if becomes[place] < 0:
            is_near = np.abs(seen - seen[place]).max(axis=1) <= near
            becomes[is_near & (becomes < 0)] = len(chosen)
            chosen.append(seen[place])
    if len(chosen) > MOST_COLOURS:
        return few_colours(pixels, 2 * near)
    return becomes.astype(np.uint8)[where].reshape(pixels.shape[:2]), np.array(chosen, dtype=np.uint8)


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
