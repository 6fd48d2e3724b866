"""Which training rows the ranges of a quantized model's activations are measured on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from data.contract import ConversionError

PIXEL_STEP_INT16 = 1 / (255 * 128)
"""Scale of a 16-bit image input: pixel p of 0 to 255 is the integer 128 p exactly, a shift by 7 bits."""


def calibration_indices(num_rows: int, count: int, seed: int) -> NDArray[np.int64]:
    """Draws which training rows to calibrate on: without replacement, depending on nothing but the arguments.

    Args:
        num_rows: rows of the training split.
        count: rows wanted; all of them where there are fewer.
        seed: seed of this use (see `derive_seed`).

    Returns:
        (min(count, num_rows),) int64, ascending, so that a memory-mapped array is read forwards.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    return np.sort(generator.permutation(num_rows)[:count]).astype(np.int64)


def calibration_rows(
    read: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    num_rows: int,
    input_range: tuple[float, float] | None,
    count: int,
    seed: int,
) -> NDArray[np.float32]:
    """Draws calibration rows that hold both ends of the input's range, where it has one.

    Args:
        read: positions -> (positions, *input_shape) float32, those training rows as the model eats them.
        num_rows: rows of the training split.
        input_range: `Schema.input_range`.
        count: rows to draw; all of them where there are fewer.
        seed: seed of this use.

    Returns:
        (count to count + 2, *input_shape) float32; see `with_range_ends` for the last two.

    Raises:
        ConversionError: there are no rows, or a value lies outside `input_range`.
    """
    if num_rows == 0:
        raise ConversionError(
            "convert.calibration_rows: expected real training rows, got none. Pass rows of the training split."
        )
    rows = read(calibration_indices(num_rows, count, seed))
    return rows if input_range is None else with_range_ends(rows, input_range)


def with_range_ends(rows: NDArray[np.float32], input_range: tuple[float, float]) -> NDArray[np.float32]:
    """Makes sure that calibration meets both ends of the input's range.

    An int8 image input is pixel - 128 exactly only if its scale is 1/255 and its zero point -128,
    which the converter chooses when the calibration rows span [0, 1]. An all-black and an
    all-white image would do so too, but they drive every layer to values real data never reaches,
    and so coarsen the steps of all activations. Here an end that is missing is put into a copy of
    the real row that comes nearest to it, at that row's extreme element: one element changes,
    and by as little as possible.

    Args:
        rows: (rows, *input_shape) float32, at least one.
        input_range: the two ends.

    Returns:
        `rows`, with no, one or two rows appended.

    Raises:
        ConversionError: a value lies outside `input_range`.
    """
    low, high = (np.float32(end) for end in input_range)
    flat = rows.reshape(len(rows), -1)
    if flat.min() < low or flat.max() > high:
        raise ConversionError(
            f"convert.calibration_rows: expected values from {low:g} to {high:g}, "
            f"got {flat.min():g} to {flat.max():g}. Look at the preprocessing."
        )
    parts = [flat]
    if flat.min() > low:
        parts.append(_with_element(flat, int(flat.argmin()), low))
    if flat.max() < high:
        parts.append(_with_element(flat, int(flat.argmax()), high))
    return np.concatenate(parts).reshape(-1, *rows.shape[1:])


def _with_element(flat: NDArray[np.float32], position: int, value: np.float32) -> NDArray[np.float32]:
    """(1, width) copy of the row that `position` falls in, with that element replaced."""
    row, column = divmod(position, flat.shape[1])
    copy = flat[row : row + 1].copy()
    copy[0, column] = value
    return copy
