"""Figures as PNG: small files, the same bytes for the same figure, shown by a notebook without further ado."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

DPI = 144
NEAR = 16
"""Colours that differ by at most this much, of 255 in red, green and blue, become the most frequent of them.

Flat colours with smoothed edges look the same, and a picture has a quarter of its size in full colour.
"""
MOST_COLOURS = 256  # of a PNG's palette


class PageFigure(Figure):
    """Figure that a notebook shows as the last value of a cell, with its alternative text."""

    def __init__(self, *, alt: str, **options: Any) -> None:
        super().__init__(dpi=DPI, **options)
        self.alt = alt

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        return png(self), {"alt": self.alt}


def png(figure: Figure) -> bytes:
    """Return the figure's picture with a palette of its own."""
    canvas, packed = FigureCanvasAgg(figure), BytesIO()
    canvas.draw()
    numbers, colours = few_colours(np.asarray(canvas.buffer_rgba())[..., :3])
    flat = Image.fromarray(numbers)
    flat.putpalette(colours.tobytes())
    flat.save(packed, format="PNG", optimize=True, dpi=(figure.dpi, figure.dpi))
    return packed.getvalue()


def few_colours(pixels: NDArray[np.uint8], near: int = NEAR) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the number of each pixel's colour (height × width), and those colours (n × 3), from height × width × 3.

    A colour becomes the most frequent one within `near` of it; where 256 colours do not suffice, `near` is doubled.
    """
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
