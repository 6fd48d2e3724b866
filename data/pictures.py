"""Decodes image files to pixels of one size."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from data.contract import DataError, FrozenConfig

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 64_000_000
"""Larger images are refused before they are decoded: a file of kilobytes can ask for gigabytes."""

TOO_MANY = f"more than the {MOST_PIXELS // 10**6} million that are decoded"

STRIP_PIXELS = 2**20
"""Pixels that are converted at once."""

GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""Parts of red, green and blue in grey (ITU-R 601): what Pillow's mode L is, in fixed-point numbers."""

NUM_LISTED = 20
"""Unreadable files that an error names."""


class PictureSteps(FrozenConfig):
    """How an image file becomes pixels, step by step: `read_picture` does it."""

    exif_orientation: Literal["applied"] = "applied"
    """Whether the image is turned and mirrored as its EXIF says."""

    sixteen_bit_grey: Literal["round(value / 257)"] = "round(value / 257)"
    """How 16 bits become 8."""

    transparency: Literal["over white"] = "over white"
    """What transparent parts show."""

    color: Literal["grey", "rgb"]
    """Channels that are kept."""

    grey_weights: tuple[float, float, float] | None
    """Grey: parts of red, green and blue (ITU-R 601), summed and rounded; null for RGB."""

    size: tuple[int, int]
    """Height and width that the image is resized to, last of all."""

    resampling: Literal["bilinear"] = "bilinear"
    """Pillow's filter: a triangle as wide as two pixels of the smaller image, so that shrinking averages."""

    aspect_ratio: Literal["not kept"] = "not kept"
    """Whether height and width are scaled alike."""


class UnreadablePicture(Exception):  # noqa: N818 - a finding about a file, gathered with others into one DataError
    """A file that is no whole PNG, JPEG or BMP image; the message is the reason."""


def read_picture(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Decodes an image file.

    The orientation that EXIF records is applied; 16-bit grey is divided by 257 and rounded; transparent parts show a
    white ground; the image is resized bilinearly, its aspect ratio given up. `PictureSteps` tells it in
    `preprocessing.json`.

    Args:
        path: a PNG, JPEG or BMP file.
        shape: (height, width, channels); one channel is grey (ITU-R 601 luma), three are RGB.

    Returns:
        (height, width, channels) uint8.

    Raises:
        UnreadablePicture: the file is no image, is damaged, or is refused for its size.
    """
    import PIL.Image
    import PIL.ImageOps

    height, width, channels = shape
    try:
        with PIL.Image.open(path, formats=("PNG", "JPEG", "BMP")) as image:
            if image.width * image.height > MOST_PIXELS:
                raise UnreadablePicture(f"{image.width}x{image.height} pixels, {TOO_MANY}")
            image.load()
            upright = PIL.ImageOps.exif_transpose(image)
            plain = _plain(upright).convert("L" if channels == 1 else "RGB")
            resized = plain.resize((width, height), PIL.Image.Resampling.BILINEAR)
    except PIL.Image.DecompressionBombError as error:
        raise UnreadablePicture(TOO_MANY) from error
    except PIL.UnidentifiedImageError as error:
        raise UnreadablePicture("no PNG, JPEG or BMP image") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        reason = str(error).strip() or type(error).__name__
        raise UnreadablePicture(reason.splitlines()[0][:120]) from error
    return np.asarray(resized, np.uint8).reshape(height, width, channels)


def unreadable_error(unreadable: list[tuple[str, str]], advice: str) -> DataError:
    """Returns the error that lists unreadable files, each with its reason."""
    named = "; ".join(f"{name}: {reason}" for name, reason in unreadable[:NUM_LISTED])
    more = f"; and {len(unreadable) - NUM_LISTED} more" if len(unreadable) > NUM_LISTED else ""
    return DataError(
        f"data.path: expected readable images, got {len(unreadable)} that are not ({named}{more}). {advice}"
    )


def _plain(image: Image) -> Image:
    """Returns the image without transparency and with 8 bits a channel."""
    import PIL.Image

    if image.mode.startswith("I"):
        wide = np.asarray(image)
        narrow = np.empty(wide.shape, np.uint8)
        for rows in _strips(image):
            # Rounded: 257 is odd, so no value lies halfway.
            narrow[rows] = (wide[rows].clip(0, 65535).astype(np.uint32) + 128) // 257
        return PIL.Image.fromarray(narrow)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        opaque = PIL.Image.new("RGB", image.size)
        for rows in _strips(image):
            strip = image.crop((0, rows.start, image.width, rows.stop)).convert("RGBA")
            white = PIL.Image.new("RGBA", strip.size, (255, 255, 255, 255))
            opaque.paste(PIL.Image.alpha_composite(white, strip).convert("RGB"), (0, rows.start))
        return opaque
    return image


def _strips(image: Image) -> Iterator[slice]:
    """Yields ranges of rows that are together the image: copies of all of a large one would not fit into memory."""
    height = max(1, STRIP_PIXELS // max(1, image.width))
    for start in range(0, image.height, height):
        yield slice(start, min(start + height, image.height))
