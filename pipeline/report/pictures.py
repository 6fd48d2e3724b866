"""Pixels as pictures inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from pipeline.report.markup import Markup, tag

MIN_PICTURE_PIXELS = 96
"""Side in screen pixels that small images are enlarged to, each of their pixels a visible square."""


def picture(pixels: Sequence[Sequence[Sequence[float]]], description: str) -> Markup:
    """Returns an image element that carries its pixels with it.

    Args:
        pixels: (height, width, channels) of 1 or 3 channels; integers from 0 to 255, or floats in [0, 1].
        description: the text for those who cannot see it.

    Returns:
        An `img` with a PNG data URI; equal pixels give equal text.
    """
    values = np.asarray(pixels)
    if values.dtype.kind == "f" and values.max(initial=0.0) <= 1.0:
        values = values * 255.0
    stored = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    image = Image.fromarray(stored[..., 0] if stored.shape[-1] == 1 else stored)
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    address = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    height, width = stored.shape[:2]
    scale = max(1, round(MIN_PICTURE_PIXELS / max(height, width)))
    return tag(
        "img", src=address, alt=description, width=str(width * scale), height=str(height * scale), class_="pixels"
    )
