"""Turns arrays of any number type into pixels of 0 to 255, where nothing is lost by it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import DataError
from data.storage import blocks

FAITHFUL_STEP = 1e-3
"""Pixels of 0 to 1 are taken for k/255 if 255 times their value is a whole number to within this."""


def check_finite(x: NDArray[Any], name: str) -> None:
    """Refuses NaN and infinity.

    Raises:
        DataError: with their number and the first row.
    """
    if x.dtype.kind != "f" or x.size == 0:
        return
    wrong, first = 0, -1
    for rows in blocks(len(x), x[:1].nbytes):
        bad = ~np.isfinite(x[rows].reshape(rows.stop - rows.start, -1))
        if bad.any() and first < 0:
            first = rows.start + int(np.flatnonzero(bad.any(axis=1))[0])
        wrong += int(bad.sum())
    if wrong:
        raise DataError(
            f"data.path: expected finite numbers, got {wrong} NaN or infinite in {name!r} (first in row {first + 1}). "
            "Correct or remove these rows."
        )


def pixel_maximum(x: NDArray[Any]) -> float | None:
    """Says in which units an array holds pixels.

    Returns:
        255 for whole numbers of 0 to 255; 1 for booleans and for floats that are k/255; None where storing
        0 to 255 would lose something.
    """
    if x.dtype == np.uint8:
        return 255.0
    if x.dtype == bool:
        return 1.0
    if x.dtype.kind not in "iuf" or x.size == 0:
        return None
    lowest, highest, whole, steps = np.inf, -np.inf, True, True
    for rows in blocks(len(x), x[:1].nbytes):
        block = x[rows].astype(np.float64)
        lowest, highest = min(lowest, float(block.min())), max(highest, float(block.max()))
        whole = whole and bool((block == np.rint(block)).all())
        steps = steps and bool((np.abs(block * 255.0 - np.rint(block * 255.0)) <= FAITHFUL_STEP).all())
        if lowest < 0.0 or highest > 255.0 or not (whole or steps):
            return None
    if x.dtype.kind == "f" and highest <= 1.0:
        return 1.0 if steps else None
    return 255.0 if whole else None


def as_pixels(x: NDArray[Any], maximum: float, where: str = "an array") -> NDArray[np.uint8]:
    """Returns uint8 pixels, `round(255 x / maximum)`; uint8 arrays are pixels already; errors name `where`.

    Raises:
        DataError: a value is outside of 0 to maximum.
    """
    if x.dtype == np.uint8:
        return x
    values = x.astype(np.float64)
    if values.size and (not np.isfinite(values).all() or values.min() < 0.0 or values.max() > maximum):
        raise DataError(
            f"input: expected pixels of 0 to {maximum:g}, or uint8 of 0 to 255, got {values.min():g} to "
            f"{values.max():g} in {where} of {x.dtype}. Scale them as the training images were."
        )
    return np.rint(values * (255.0 / maximum)).astype(np.uint8)
